"""The bytes of a file as they were when it was opened, the same in every pass."""

import os
import stat
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from itertools import count
from pathlib import Path
from typing import IO, BinaryIO

from audit_cli.candidates.errors import CandidateError

BLOCK_BYTES = 1 << 20
DIGEST_BYTES = 16
# A stream may have no end: it is kept as far as this, and as long as so much is left free for everything else.
MAX_STREAM_BYTES = 64 << 30
SPARE_BYTES = 1 << 30
# Without O_NONBLOCK, opening a pipe that took a file's place between two passes would wait for ever.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Snapshot(ABC):
    """Bytes that are the same in every pass.

    Each block of BLOCK_BYTES is remembered by a hash the first time that it is read, and compared whenever it is read
    again, before anything in it is used.
    """

    def __init__(self, label: str) -> None:
        self.label = label
        self._digests: dict[int, bytes] = {}

    @abstractmethod
    def reach(self, end: int | None) -> int:
        """How many bytes there are, of `end` at most, or of all for None. Raises CandidateError if some are lost."""

    @abstractmethod
    def _open_descriptor(self) -> int:
        """A new file descriptor, which is then the caller's to close."""

    @contextmanager
    def opened(self) -> Iterator["View"]:
        """The bytes, for one pass. Raises CandidateError if the file is gone, or shorter than it was."""
        with self._descriptor() as descriptor:
            self._check(os.fstat(descriptor))
            yield View(self, descriptor)

    @abstractmethod
    def _check(self, now: os.stat_result) -> None:
        """Raises CandidateError unless the bytes can still be there."""

    def recognize(self, index: int, block: bytes) -> None:
        """Raises CandidateError if the block is another one than it was."""
        digest = blake2b(block, digest_size=DIGEST_BYTES).digest()
        if self._digests.setdefault(index, digest) != digest:
            raise self.changed()

    def changed(self) -> CandidateError:
        return CandidateError(f"{self.label}: the file changed while it was being audited; audit a copy of it")

    @contextmanager
    def _descriptor(self) -> Iterator[int]:
        try:
            descriptor = self._open_descriptor()
        except OSError as error:
            raise CandidateError(f"{self.label}: {_why(error)}") from None
        try:
            yield descriptor
        finally:
            os.close(descriptor)


class _FileSnapshot(Snapshot):
    """A file of which a pass reads the bytes that were there at first: it may grow, but not change."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self._path = path
        with self._descriptor() as descriptor:
            self._size = os.fstat(descriptor).st_size

    def reach(self, end: int | None) -> int:
        return self._size if end is None else min(end, self._size)

    def _open_descriptor(self) -> int:
        return os.open(self._path, OPEN_FLAGS)

    def _check(self, now: os.stat_result) -> None:
        if now.st_size < self._size or not stat.S_ISREG(now.st_mode):
            raise self.changed()


class _StreamSnapshot(Snapshot):
    """A stream, kept as far as a pass has read it: who wants five texts of an endless one does not wait for its end."""

    def __init__(self, stream: BinaryIO, label: str) -> None:
        super().__init__(label)
        # Without a name, nothing of it can stay behind.
        self._kept = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the snapshot)
        weakref.finalize(self, _close, self._kept)
        self._stream: BinaryIO | None = stream
        self._size = 0
        self._fault = ""

    def reach(self, end: int | None) -> int:
        while self._stream is not None and (end is None or self._size < end):
            self._keep_a_block(self._stream)
        # What is missing would be missing in the middle: no later pass may go on after it.
        if self._fault and (end is None or self._size < end):
            raise CandidateError(f"{self.label}: {self._fault}")
        return self._size if end is None else min(end, self._size)

    def _keep_a_block(self, stream: BinaryIO) -> None:
        where = tempfile.gettempdir()
        try:
            block = stream.read(BLOCK_BYTES)
            self._fault = self._no_room_for(block)
            if block and not self._fault:
                self._kept.write(block)
                self._kept.flush()
                self._size += len(block)
        except (OSError, ValueError) as error:
            self._fault = f"cannot be kept in {where} for reading: {_why(error)}"
        if self._fault or not block:
            self._stream = None

    def _no_room_for(self, block: bytes) -> str:
        size = self._size + len(block)
        if size > MAX_STREAM_BYTES:
            return f"more than {MAX_STREAM_BYTES >> 30} GiB, too large to be kept for reading; give a file, or --limit"
        volume = os.fstatvfs(self._kept.fileno())
        # Of a small volume a small stream may take half.
        if volume.f_bavail * volume.f_frsize < min(SPARE_BYTES, size):
            where = tempfile.gettempdir()
            return f"too large to be kept in {where} for reading, which is almost full; give a file, or --limit"
        return ""

    def _open_descriptor(self) -> int:
        return os.dup(self._kept.fileno())

    def _check(self, now: os.stat_result) -> None:
        pass  # Nobody else has the file.


class View:
    """The bytes of a snapshot during one pass, in blocks of BLOCK_BYTES of which only the last may be shorter."""

    def __init__(self, snapshot: Snapshot, descriptor: int) -> None:
        self.label = snapshot.label
        self._snapshot = snapshot
        self._descriptor = descriptor

    @property
    def size(self) -> int:
        """How many bytes there are; of a stream, once it has ended."""
        return self._snapshot.reach(None)

    def blocks(self) -> Iterator[bytes]:
        """All blocks, from the first to the last."""
        for index in count():
            if self._snapshot.reach((index + 1) * BLOCK_BYTES) <= index * BLOCK_BYTES:
                return
            yield self.block(index)

    def block(self, index: int) -> bytes:
        """One block. Raises CandidateError if it is not what it was, or cannot be read."""
        start = index * BLOCK_BYTES
        expected = self._snapshot.reach(start + BLOCK_BYTES) - start
        pieces, read = [], 0
        try:
            while read < expected and (piece := os.pread(self._descriptor, expected - read, start + read)):
                pieces.append(piece)
                read += len(piece)
        except OSError as error:
            raise CandidateError(f"{self.label}: {_why(error)}") from None
        if read < expected:
            raise self._snapshot.changed()
        block = b"".join(pieces)
        self._snapshot.recognize(index, block)
        return block


def snapshot_of_path(path: Path) -> Snapshot:
    """A regular file. Raises CandidateError with what the path is if it is something else."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise CandidateError(f"{path}: {_why_missing(path, error)}") from None
    if not stat.S_ISREG(mode):
        raise CandidateError(f"{path}: {_instead_of_a_file(mode)}")
    return _FileSnapshot(path)


def snapshot_of_stream(stream: BinaryIO, label: str) -> Snapshot:
    """What is left of a stream, kept as it is read in a temporary file that has no name.

    Raises CandidateError, here or in a pass, if the stream cannot be read, or is more than can be kept.
    """
    try:
        snapshot = _StreamSnapshot(stream, label)
    except OSError as error:
        raise CandidateError(f"{label}: cannot be kept in {tempfile.gettempdir()} for reading: {_why(error)}") from None
    snapshot.reach(1)
    return snapshot


def _close(kept: IO[bytes]) -> None:
    # On a full disk, what could not be written is tried again here; the fault was told.
    with suppress(OSError):
        kept.close()


def _why(error: Exception) -> str:
    if isinstance(error, PermissionError):
        return "no permission to read it"
    return getattr(error, "strerror", None) or type(error).__name__


def _why_missing(path: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return "a link to a file that does not exist" if path.is_symlink() else "no such file"
    # Python refuses a NUL in a name with a ValueError.
    return "no such file" if isinstance(error, ValueError) else _why(error)


def _instead_of_a_file(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "not a regular file but a folder; give the files in it"
    if stat.S_ISFIFO(mode):
        return "not a regular file: a pipe can be read once: use - for standard input"
    kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
    return f"not a regular file but {kind}; use - for standard input"
