"""The zip container of `torch.save`: checked as a whole before anything of it is used, its tensors read lazily.

Format: APPNOTE.TXT of PKWARE for zip and zip64; PyTorch's `PyTorchStreamWriter` for what is inside: one top folder
with `data.pkl`, `byteorder` and a stored member `data/KEY` for each storage. Nothing is searched for: the directory
must stand at the end, and directory, local headers and the file's size must tell one story, so that no two readers
can see two different archives in one file.
"""

import mmap
import os
import stat
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel
from audit_cli.checkpoints.inert_pickle import Unpickled, read_pickle
from audit_cli.checkpoints.inert_values import DamagedPickle, Storage, TensorRef

END, END64, LOCATOR64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q"), struct.Struct("<4sIQI")
CENTRAL, LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
FULL16, FULL32 = 0xFFFF, 0xFFFFFFFF
# Bits of the flags that change nothing of how a stored member is read: sizes behind it, and names in UTF-8.
DESCRIPTOR, HARMLESS = 0x8, 0x8 | 0x800
DESCRIPTOR_SIZES = (0, 12, 16, 20, 24)

DIRECTORY_BYTES = 64 << 20
MEMBERS = 1 << 17
PICKLE_BYTES = 64 << 20
LEGACY_MAGIC = bytes.fromhex("80028a0a6cfc9c46f9206aa85019")
WAY_OUT = (
    "only torch's zip format is read; where the file is trusted, load it with torch.load and save it again with "
    "torch.save(..., _use_new_zipfile_serialization=True)"
)
FLOATS = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
ITEM_BYTES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2} | {
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


@dataclass(frozen=True)
class Member:
    """A stored member: its bytes are `size` bytes of the file from `start` on; its header stands at `header`."""

    header: int
    start: int
    size: int


@dataclass(frozen=True)
class TorchZip:
    """A checked archive. `members` are named without the top folder; `pickled` is the contents of `data.pkl`."""

    path: Path
    identity: tuple[int, int, int]
    members: Mapping[str, Member]
    pickled: Unpickled

    def tensors(self, refs: Mapping[str, TensorRef]) -> dict[str, Tensor]:
        """The tensors of `refs` on the CPU, finite, as float32; of the file only the range that they span is mapped.

        Tensors that are stored as float32 are views of the mapping and take no memory of their own. Two tensors may
        share no bytes. Raises CheckpointError, and UnauditableModel for NaN or infinity.
        """
        self._check(refs)
        if not refs:
            return {}
        used = [self.members[f"data/{ref.storage.key}"] for ref in refs.values()]
        first = min(m.start for m in used) // mmap.ALLOCATIONGRANULARITY * mmap.ALLOCATIONGRANULARITY
        last = max(m.start + m.size for m in used)
        mapped = self._map(first, last - first)
        out = {}
        for name, ref in refs.items():
            tensor = self._view(mapped, first, ref).float()
            # The extremes need no memory, and a NaN is its own smallest and largest number.
            if not bool(torch.isfinite(torch.stack(tensor.aminmax())).all()):
                raise UnauditableModel(f"{self.path}: tensor {brief(name)} holds NaN or infinity")
            out[name] = tensor
        return out

    def _check(self, refs: Mapping[str, TensorRef]) -> None:
        """Types, extents, and that no storage is used for more numbers than it holds."""
        left = {ref.storage.key: ref.storage.numel for ref in refs.values()}
        for name, ref in refs.items():
            if ref.storage.dtype not in FLOATS:
                kind = ref.storage.dtype or "of an unknown type"
                raise CheckpointError(f"{self.path}: tensor {brief(name)} is {kind}, not floating point")
            numel, reach = _extent(ref)
            if not numel:
                raise CheckpointError(f"{self.path}: tensor {brief(name)} is empty")
            if reach > ref.storage.numel:
                raise CheckpointError(f"{self.path}: tensor {brief(name)} reaches beyond its storage")
            left[ref.storage.key] -= numel
            if left[ref.storage.key] < 0:
                raise CheckpointError(f"{self.path}: tensor {brief(name)} shares its numbers with another, or itself")

    def _map(self, first: int, size: int) -> mmap.mmap:
        try:
            with self.path.open("rb") as file:
                if _identity(file.fileno()) != self.identity:
                    raise CheckpointError(f"{self.path}: the file changes while it is read")
                # Private and writable, which torch wants of memory; nothing is written, and no write would reach the
                # file.
                return mmap.mmap(file.fileno(), size, access=mmap.ACCESS_COPY, offset=first)
        except (OSError, ValueError, OverflowError) as error:
            raise CheckpointError(f"{self.path}: cannot be mapped into memory ({brief(str(error))})") from None

    def _view(self, mapped: mmap.mmap, first: int, ref: TensorRef) -> Tensor:
        storage = ref.storage
        start = self.members[f"data/{storage.key}"].start - first
        if start % ITEM_BYTES[storage.dtype]:
            # torch aligns its storages; what is not aligned is read all the same, from a copy.
            data = bytearray(mapped[start : start + storage.numel * ITEM_BYTES[storage.dtype]])
            flat = torch.frombuffer(data, dtype=FLOATS[storage.dtype])
        else:
            flat = torch.frombuffer(mapped, dtype=FLOATS[storage.dtype], count=storage.numel, offset=start)
        return flat.as_strided(ref.shape, ref.stride, ref.offset)


def _extent(ref: TensorRef) -> tuple[int, int]:
    """How many numbers a tensor has, and how far into its storage it reaches."""
    numel, reach = 1, ref.offset + 1
    for n, step in zip(ref.shape, ref.stride, strict=True):
        numel *= n
        reach += (n - 1) * step
    return numel, reach


def open_torch_zip(path: Path) -> TorchZip:
    """Check the archive at `path` and read its pickle as data. Raises CheckpointError, which names the file."""
    try:
        # A pipe would wait for a writer forever.
        if not stat.S_ISREG(path.stat().st_mode):
            raise CheckpointError(f"{path}: not a regular file")
        with path.open("rb") as file:
            identity = _identity(file.fileno())
            members = _Directory(path, file.fileno(), identity[0]).members()
            pickled = _read_pickle(path, file.fileno(), members)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or 'cannot be read'}") from None
    for storage in pickled.storages.values():
        _check_storage(path, members, storage)
    return TorchZip(path, identity, members, pickled)


def _identity(file: int) -> tuple[int, int, int]:
    """Size, place and time of an open file: what changes when it is written to or replaced."""
    found = os.fstat(file)
    return found.st_size, found.st_ino, found.st_mtime_ns


def _read_pickle(path: Path, file: int, members: Mapping[str, Member]) -> Unpickled:
    if "constants.pkl" in members or any(name.startswith("code/") for name in members):
        raise CheckpointError(f"{path}: a TorchScript program, not a checkpoint; its weights alone can be audited")
    order = members.get("byteorder")
    if order is not None and _read(file, order.start, min(order.size, 16)) != b"little":
        raise CheckpointError(f"{path}: its numbers are not in little-endian order")
    pickle = members.get("data.pkl")
    if pickle is None:
        raise CheckpointError(f"{path}: a zip archive without data.pkl, so no checkpoint of torch")
    if pickle.size > PICKLE_BYTES:
        raise CheckpointError(f"{path}: its data.pkl is larger than {PICKLE_BYTES >> 20} MiB")
    try:
        return read_pickle(_read(file, pickle.start, pickle.size))
    except DamagedPickle as error:
        raise CheckpointError(f"{path}: {error}") from None


def _check_storage(path: Path, members: Mapping[str, Member], storage: Storage) -> None:
    member = members.get(f"data/{storage.key}")
    if member is None:
        raise CheckpointError(f"{path}: its storage {brief(storage.key)} is missing")
    if storage.dtype and member.size != storage.numel * ITEM_BYTES[storage.dtype]:
        raise CheckpointError(
            f"{path}: its storage {brief(storage.key)} has {member.size} bytes, and {storage.numel} numbers "
            f"of type {storage.dtype} do not"
        )


def _read(file: int, start: int, size: int) -> bytes:
    """Exactly `size` bytes. Raises OSError where the file ends before."""
    parts = []
    while size:
        part = os.pread(file, min(size, 1 << 30), start)
        if not part:
            raise OSError(0, "the file ends too early")
        parts.append(part)
        start, size = start + len(part), size - len(part)
    return b"".join(parts)


class _Directory:
    """The central directory of a zip file."""

    def __init__(self, path: Path, file: int, size: int) -> None:
        self.path = path
        self.file = file
        self.size = size

    def wrong(self, what: str) -> CheckpointError:
        return CheckpointError(f"{self.path}: {what}")

    def members(self) -> dict[str, Member]:
        """Every member by its name below the one top folder. Raises CheckpointError."""
        self._recognise()
        start, size, count = self._find()
        if size > DIRECTORY_BYTES or count > MEMBERS:
            raise self.wrong("its zip directory is too large for a checkpoint")
        data = _read(self.file, start, size)
        found: dict[str, Member] = {}
        position = 0
        for _ in range(count):
            name, member, position = self._entry(data, position, start)
            if name in found:
                raise self.wrong(f"two members of the zip archive are named {brief(name)}")
            found[name] = member
        if position != len(data):
            raise self.wrong("its zip directory is longer than its entries")
        self._check_order(found, start)
        folders = {name.split("/", 1)[0] for name in found}
        if len(folders) != 1:
            raise self.wrong(f"a checkpoint's zip archive has one top folder, and this one has {len(folders)}")
        return {name.split("/", 1)[1]: member for name, member in found.items()}

    def _recognise(self) -> None:
        """Say what a file is that is no zip archive."""
        head = _read(self.file, 0, min(self.size, 512))
        if head.startswith(b"PK\x03\x04"):
            return
        if head.startswith(LEGACY_MAGIC):
            raise self.wrong(f"a checkpoint in torch's legacy format, a row of pickles: {WAY_OUT}")
        if head[257:262] == b"ustar" or head.startswith((b"storages\0", b"tensors\0", b"sys_info\0", b"pickle\0")):
            raise self.wrong(f"a tar archive, torch's oldest format: {WAY_OUT}")
        if len(head) > 1 and head[0] == 0x80 and head[1] <= 5:
            raise self.wrong(f"a bare pickle: {WAY_OUT}")
        if head[8:9] == b"{":
            raise self.wrong("it looks like safetensors; give the folder that holds it and its config.json")
        raise self.wrong(f"not a checkpoint of torch: {WAY_OUT}")

    def _find(self) -> tuple[int, int, int]:
        """Start, size and number of entries of the directory, which must end where the end records begin."""
        end_at = self.size - END.size
        if end_at < 0:
            raise self.wrong("a zip archive that is cut off")
        magic, disk, first_disk, here, count, size, start, comment = END.unpack(_read(self.file, end_at, END.size))
        if magic != b"PK\x05\x06" or comment:
            raise self.wrong("a zip archive that is cut off, or has something behind its end")
        if disk or first_disk or here != count:
            raise self.wrong("a zip archive of several parts")
        before = end_at
        at = end_at - LOCATOR64.size
        if at >= END64.size:
            magic, disk, end64_at, disks = LOCATOR64.unpack(_read(self.file, at, LOCATOR64.size))
            if magic == b"PK\x06\x07":
                if disk or disks > 1 or end64_at != at - END64.size:
                    raise self.wrong("its zip64 end record is not where it should be")
                before = end64_at
                short = (count, size, start)
                count, size, start = self._end64(end64_at)
                # A reader that knows no zip64 must not see another directory.
                for old, new, full in zip(short, (count, size, start), (FULL16, FULL32, FULL32), strict=True):
                    if old not in (new, full):
                        raise self.wrong("its two zip directories contradict each other")
        if start + size != before or size < count * CENTRAL.size:
            raise self.wrong("its zip directory is not where it should be")
        return start, size, count

    def _end64(self, at: int) -> tuple[int, int, int]:
        fields = END64.unpack(_read(self.file, at, END64.size))
        magic, length, _, _, disk, first_disk, here, count, size, start = fields
        if magic != b"PK\x06\x06" or length != END64.size - 12 or disk or first_disk or here != count:
            raise self.wrong("its zip64 end record is damaged")
        return count, size, start

    def _entry(self, data: bytes, at: int, directory: int) -> tuple[str, Member, int]:
        """One entry of the directory, checked against the header before its member."""
        if at + CENTRAL.size > len(data):
            raise self.wrong("its zip directory is cut off")
        fields = CENTRAL.unpack_from(data, at)
        magic, _, _, flags, method, _, _, _, packed, size, name_n, extra_n, comment_n, disk, _, _, header = fields
        at += CENTRAL.size
        end = at + name_n + extra_n + comment_n
        if magic != b"PK\x01\x02" or end > len(data):
            raise self.wrong("its zip directory is damaged")
        name = self._name(data[at : at + name_n])
        size, packed, header = self._wide(name, data[at + name_n : at + name_n + extra_n], size, packed, header)
        self._check_stored(name, flags, method)
        if disk or packed != size:
            raise self.wrong(f"the sizes of the member {brief(name)} contradict each other")
        start = self._local(name, header, flags, size, directory)
        if start + size > directory:
            raise self.wrong(f"the member {brief(name)} reaches beyond the archive")
        return name, Member(header, start, size), end

    def _check_stored(self, name: str, flags: int, method: int) -> None:
        if flags & 0x2041:
            raise self.wrong(f"the member {brief(name)} is encrypted")
        if method:
            raise self.wrong(f"the member {brief(name)} is compressed, and torch stores its members as they are")
        if flags & ~HARMLESS:
            raise self.wrong(f"the member {brief(name)} has flags that torch never sets")

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise self.wrong(f"the name {brief(raw)} of a member is no UTF-8") from None
        parts = name.split("/")
        # Nothing is ever extracted; a name that would leave the folder is a sign of what the file was made for.
        if len(parts) < 2 or not all(parts) or {".", ".."} & set(parts) or any(c in name for c in "\\\0:"):
            raise self.wrong(f"the name {brief(name)} of a member is no plain path inside a folder")
        return name

    def _wide(self, name: str, extra: bytes, *fields: int) -> tuple[int, ...]:
        """Sizes and offset, those that do not fit 32 bits from the zip64 extra field (header id 1)."""
        wide = self._extra64(name, extra)
        out = []
        for value in fields:
            if value == FULL32:
                if len(wide) < 8:
                    raise self.wrong(f"the sizes of the member {brief(name)} are missing")
                value, wide = struct.unpack_from("<Q", wide)[0], wide[8:]
            out.append(value)
        return tuple(out)

    def _extra64(self, name: str, extra: bytes) -> bytes:
        found = b""
        while extra:
            if len(extra) < 4:
                raise self.wrong(f"the extra fields of the member {brief(name)} are damaged")
            kind, length = struct.unpack_from("<2H", extra)
            if 4 + length > len(extra) or (kind == 1 and found):
                raise self.wrong(f"the extra fields of the member {brief(name)} are damaged")
            if kind == 1:
                found = extra[4 : 4 + length]
            extra = extra[4 + length :]
        return found

    def _local(self, name: str, header: int, flags: int, size: int, directory: int) -> int:
        """Where the member's bytes begin. Its own header may leave its sizes out, but not contradict the directory."""
        if header + LOCAL.size > directory:
            raise self.wrong(f"the member {brief(name)} begins beyond the archive")
        fields = LOCAL.unpack(_read(self.file, header, LOCAL.size))
        magic, _, own_flags, method, _, _, _, packed, own_size, name_n, extra_n = fields
        rest = _read(self.file, header + LOCAL.size, min(name_n + extra_n, self.size - header - LOCAL.size))
        if magic != b"PK\x03\x04" or own_flags != flags or method or rest[:name_n] != name.encode():
            raise self.wrong(f"the header of the member {brief(name)} contradicts the zip directory")
        unsaid = flags & DESCRIPTOR and packed == own_size == 0
        if not unsaid:
            own_size, packed = self._wide(name, rest[name_n:], own_size, packed)
            if own_size != size or packed != size:
                raise self.wrong(f"the sizes of the member {brief(name)} contradict each other")
        return header + LOCAL.size + name_n + extra_n

    def _check_order(self, found: Mapping[str, Member], directory: int) -> None:
        """Members follow each other without overlap, and without room for anything else between them."""
        reached, first = 0, True
        for name, member in sorted(found.items(), key=lambda item: item[1].header):
            gap = member.header - reached
            if gap < 0:
                raise self.wrong(f"the member {brief(name)} overlaps another")
            if gap not in DESCRIPTOR_SIZES or (first and gap):
                raise self.wrong(f"there is something hidden before the member {brief(name)}")
            reached, first = member.start + member.size, False
        if directory - reached not in DESCRIPTOR_SIZES:
            raise self.wrong("there is something hidden before its zip directory")
