"""Weights in safetensors, one file or many: what they hold is checked before memory is taken, and written in a stream.

On a CPU, tensors of the type that is wanted stay views of the mapped file; the others are converted one at a time, so
that a large model is never held twice.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from audit_cli.checkpoints.config_file import brief, read_json_object
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel

SINGLE, INDEX, SHARDS = "model.safetensors", "model.safetensors.index.json", "model-*-of-*.safetensors"
INDEX_BYTES = 16 << 20
TYPES = {torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
FLOATS = tuple(TYPES.values())
PICKLES = ("pytorch_model.bin", "pytorch_model.bin.index.json", "model.pt", "model.pth")


@dataclass(frozen=True)
class Stored:
    """A tensor in a file: what its header says."""

    file: Path
    name: str
    shape: tuple[int, ...]
    dtype: str


def stored_tensors(folder: Path) -> dict[str, Stored]:
    """The headers of a folder's weights: `model.safetensors`, or the shards of its index. Raises CheckpointError."""
    if (folder / SINGLE).is_file():
        return file_tensors(folder / SINGLE)
    if not (folder / INDEX).is_file():
        pickled = next((name for name in PICKLES if (folder / name).is_file()), None)
        if pickled:
            raise CheckpointError(
                f"{folder / pickled}: pickled weights can run code when they are read; a folder needs {SINGLE}"
            )
        raise CheckpointError(f"{folder / SINGLE}: no such file, and no {INDEX} beside it")
    return _sharded(folder)


def _sharded(folder: Path) -> dict[str, Stored]:
    shards = _weight_map(folder / INDEX)
    strays = {path.name for path in folder.glob(SHARDS)} - shards.keys()
    if strays:
        raise CheckpointError(f"{folder}: {brief(min(strays))} is no shard of {INDEX}{_more(strays)}")
    missing = {name for name in shards if not (folder / name).is_file()}
    if missing:
        raise CheckpointError(f"{folder}: shard {brief(min(missing))} is missing{_more(missing)}")
    out: dict[str, Stored] = {}
    for shard, names in shards.items():
        found = file_tensors(folder / shard)
        _same_names(folder / shard, found.keys(), names)
        out |= found
    return out


def _weight_map(index: Path) -> dict[str, set[str]]:
    """The tensors of each shard. A shard is a file beside the index: its name leads nowhere else."""
    data = read_json_object(index, "an index of shards", INDEX_BYTES).get("weight_map")
    if not isinstance(data, dict) or not data:
        raise CheckpointError(f"{index}: weight_map must say in which file each tensor is")
    shards: dict[str, set[str]] = {}
    for tensor, shard in data.items():
        if not isinstance(shard, str) or not _plain(shard):
            raise CheckpointError(f"{index}: {brief(shard)} is no name of a safetensors file beside it")
        shards.setdefault(shard, set()).add(tensor)
    return shards


def _plain(name: str) -> bool:
    alone = PurePosixPath(name).name == name == PureWindowsPath(name).name
    return alone and name.endswith(".safetensors") and "\0" not in name


def file_tensors(file: Path) -> dict[str, Stored]:
    """The header of one safetensors file. Raises CheckpointError."""
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    try:
        with safe_open(file, framework="pt") as opened:
            pieces = {name: opened.get_slice(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
            return {n: Stored(file, n, tuple(p.get_shape()), p.get_dtype()) for n, p in pieces.items()}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from None


def check_tensors(
    where: Path, stored: Mapping[str, Stored], expected: Mapping[str, tuple[int, ...]], source: str = "configuration"
) -> None:
    """Raise CheckpointError unless `stored` are exactly the `expected` names with their shapes, in floating point."""
    _same_names(where, stored.keys(), expected.keys())
    for name, shape in expected.items():
        tensor = stored[name]
        if tensor.shape != shape:
            raise CheckpointError(
                f"{tensor.file}: tensor {name!r} has shape {tensor.shape}, and the {source} says {shape}"
            )
        if tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{tensor.file}: tensor {name!r} has type {tensor.dtype}, not floating point of 16 bits or more: "
                "quantised weights are not audited"
            )


def _same_names(where: Path, found: Iterable[str], expected: Iterable[str]) -> None:
    names, wanted = set(found), set(expected)
    for what, odd in (("is missing", wanted - names), ("does not belong", names - wanted)):
        if odd:
            raise CheckpointError(f"{where}: tensor {min(odd)[:100]!r} {what}{_more(odd)}")


def _more(odd: set[str]) -> str:
    return f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""


Types = Mapping[str, torch.dtype] | None


def load_tensors(
    stored: Mapping[str, Stored], device: torch.device, types: torch.dtype | Types = torch.float32
) -> dict[str, Tensor]:
    """The tensors, finite, on `device`, under the keys of `stored`. Raises CheckpointError.

    They are of the one type, each of its own, or, where `types` is None, as the files have them.
    """
    by_file: dict[Path, list[tuple[str, str]]] = {}
    for key, tensor in stored.items():
        by_file.setdefault(tensor.file, []).append((key, tensor.name))
    out: dict[str, Tensor] = {}
    for file, members in by_file.items():
        try:
            with safe_open(file, framework="pt", device=str(device)) as opened:
                out |= {key: _as(opened.get_tensor(name), key, types) for key, name in members}
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from None
        for key, name in members:
            # The extremes need no memory, and a NaN is its own smallest and largest number.
            if out[key].numel() and not bool(torch.isfinite(torch.stack(out[key].aminmax())).all()):
                raise UnauditableModel(f"{file}: tensor {name[:100]!r} holds NaN or infinity")
    return {key: out[key] for key in stored}


def _as(tensor: Tensor, key: str, types: torch.dtype | Types) -> Tensor:
    wanted = types.get(key) if isinstance(types, Mapping) else types
    return tensor if wanted is None else tensor.to(wanted)


def read_tensors(
    file: Path,
    expected: Mapping[str, tuple[int, ...]],
    device: torch.device,
    types: torch.dtype | Types = torch.float32,
) -> dict[str, Tensor]:
    """The tensors of a safetensors file, exactly those expected, finite. Raises CheckpointError."""
    stored = file_tensors(file)
    check_tensors(file, stored, expected)
    return load_tensors({name: stored[name] for name in expected}, device, types)


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file, one tensor after the other: of views of mapped files nothing is held in memory."""
    # Larger types first keep every tensor aligned to its own.
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in order:
        tensor = tensors[name]
        begin, end = end, end + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": TYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [begin, end]}
    head = json.dumps(header, separators=(",", ":")).encode()
    head += b" " * (-len(head) % 8)
    with file.open("wb") as out:
        out.write(len(head).to_bytes(8, "little") + head)
        for name in order:
            out.write(_bytes(tensors[name]))


def _bytes(tensor: Tensor) -> memoryview:
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data if len(flat) else memoryview(b"")


def tensors_sha256(tensors: Mapping[str, Tensor], dtype: torch.dtype | None = None) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names; as if of type `dtype`."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        tensor = tensor if dtype is None else tensor.to(dtype)
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(_bytes(tensor))
    return digest.hexdigest()
