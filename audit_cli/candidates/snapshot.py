"""The bytes of a file as they were when it was opened, the same in every pass."""

import os
import stat
import tempfile
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from audit_cli.candidates.errors import CandidateError

BLOCK_BYTES = 1 << 20
DIGEST_BYTES = 16
# Without O_NONBLOCK, opening a pipe that took a file's place between two passes would wait for ever.
OPEN_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)


class Snapshot:
    """A file of which a pass reads the bytes that were there at first: it may grow, but not change.

    Each block of BLOCK_BYTES is remembered by a hash the first time that it is read, and compared whenever it is read
    again, before anything in it is used.
    """

    def __init__(self, label: str, open_descriptor: Callable[[], int]) -> None:
        """`open_descriptor` gives a new file descriptor at every call, which is then ours to close."""
        self.label = label
        self._open_descriptor = open_descriptor
        self._digests: dict[int, bytes] = {}
        with self._descriptor() as descriptor:
            self.size = os.fstat(descriptor).st_size

    @contextmanager
    def opened(self) -> Iterator["View"]:
        """The file, for one pass. Raises CandidateError if it is gone, or shorter than it was."""
        with self._descriptor() as descriptor:
            now = os.fstat(descriptor)
            if now.st_size < self.size or not stat.S_ISREG(now.st_mode):
                raise self.changed()
            yield View(self, descriptor)

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


class View:
    """The bytes of a snapshot during one pass, in blocks of BLOCK_BYTES of which only the last may be shorter."""

    def __init__(self, snapshot: Snapshot, descriptor: int) -> None:
        self.size = snapshot.size
        self.label = snapshot.label
        self._snapshot = snapshot
        self._descriptor = descriptor

    def blocks(self) -> Iterator[bytes]:
        """All blocks, from the first to the last."""
        return map(self.block, range(-(-self.size // BLOCK_BYTES)))

    def block(self, index: int) -> bytes:
        """One block. Raises CandidateError if it is not what it was, or cannot be read."""
        start = index * BLOCK_BYTES
        expected = min(BLOCK_BYTES, self.size - start)
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
    return Snapshot(str(path), lambda: os.open(path, OPEN_FLAGS))


def snapshot_of_stream(stream: BinaryIO, label: str) -> Snapshot:
    """What is left of a stream, kept in a temporary file that has no name, so that nothing of it can stay behind.

    Raises CandidateError if the stream cannot be read, or the temporary file cannot hold it.
    """
    kept = tempfile.TemporaryFile()  # noqa: SIM115 (the snapshot closes it)
    try:
        while block := stream.read(BLOCK_BYTES):
            kept.write(block)
        kept.flush()
    except (OSError, ValueError) as error:
        with suppress(OSError):
            kept.close()
        raise CandidateError(f"{label}: cannot be kept in {tempfile.gettempdir()} for reading: {_why(error)}") from None
    snapshot = Snapshot(label, lambda: os.dup(kept.fileno()))
    weakref.finalize(snapshot, kept.close)
    return snapshot


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
