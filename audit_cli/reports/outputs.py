"""Where tables go: what `-o` names, the files that it stands for, and whether they can be written at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from audit_cli.reports.formats import FORMATS

# A file that says itself who wrote it does so by this, within so many bytes.
MARK, MARK_WITHIN = b"uddm-audit", 4096


class OutputError(Exception):
    """An output that cannot be written; the message says which and why."""


class WriteError(OutputError):
    """An output whose writing failed: the disk is full, say. What was there before is there still."""


class Kind(Protocol):
    """What is asked of a format: the suffixes that choose it, lower case, and whether `OUT.meta.json` belongs to it."""

    @property
    def suffixes(self) -> tuple[str, ...]: ...

    @property
    def meta(self) -> bool: ...


@dataclass(frozen=True)
class Output:
    """A file to write: the name of its format in a registry of formats, and its path.

    With `append` it follows what stands in the file, which may be anything, and nothing lies beside it.
    """

    format: str
    path: Path
    append: bool = False

    @property
    def meta(self) -> Path:
        """Where the provenance goes; outputs that differ in their suffix share it."""
        return self.path.with_suffix(".meta.json")

    @property
    def journal(self) -> Path:
        """Where an audit keeps its measurements until the table is whole."""
        return self.path.with_name(f"{self.path.name}.part")

    def second(self, name: str) -> Path:
        """Where the second table of that name goes: out.csv, out.per-level.csv."""
        return self.path.with_suffix(f".{name}{self.path.suffix}")


def parse_output(text: str, formats: Mapping[str, Kind] = FORMATS) -> Output:
    """`[FORMAT=]PATH` as an Output: by its prefix, else by its longest known suffix. Raises OutputError, naming what is
    known.

    What stands before a "=" and is no format belongs to the path.
    """
    prefix, equals, rest = text.partition("=")
    known = _by_prefix(prefix, formats) if equals else None
    name = rest if known else text
    if name == "-":
        raise OutputError("-o -: tables go to files, and standard output has the report; give -o FILE")
    if name.endswith(("/", os.sep)) or Path(name).name in ("", ".."):
        raise OutputError(f"{text or '-o'}: names no file")
    path = Path(name)
    found = known or _by_suffix(path, formats)
    if found is None:
        suffixes = ", ".join(suffix for kind in formats.values() for suffix in kind.suffixes)
        raise OutputError(
            f"{text}: unknown kind of output {path.suffix!r}; known: {suffixes}, or for a path of any name "
            f"{', '.join(f'{f}=PATH' for f in formats)}"
        )
    return Output(found, path)


def _by_suffix(path: Path, formats: Mapping[str, Kind]) -> str | None:
    """The format with the longest suffix that the path has: .sarif.json is more than .json."""
    fitting = [(len(s), name) for name, kind in formats.items() for s in kind.suffixes if _ends_with(path, (s,))]
    return max(fitting)[1] if fitting else None


def _ends_with(path: Path, suffixes: tuple[str, ...]) -> bool:
    """Whether the path has one of the suffixes, and a name before it."""
    return any(path.name.lower().endswith(s) and len(path.name) > len(s) for s in suffixes)


def _by_prefix(prefix: str, formats: Mapping[str, Kind]) -> str | None:
    """The format of that name, or of that suffix without its point."""
    prefix = prefix.lower()
    return next((name for name, kind in formats.items() if prefix == name or f".{prefix}" in kind.suffixes), None)


def check_outputs(
    outputs: Sequence[Output], second: str | None, inputs: Iterable[Path], formats: Mapping[str, Kind] = FORMATS
) -> None:
    """Raise OutputError on an output that cannot be written, before any time is spent.

    `inputs` are what the run reads: files of texts, and models as files or folders; those that are not there (a
    name of a hub, "-") are none of this function's business.
    """
    read = [path for path in inputs if path.exists()]
    taken: dict[tuple[str, str], bool] = {}
    for output in outputs:
        kind = formats[output.format]
        for path, shared in _targets(output, second, kind):
            key = os.path.realpath(path.parent), os.path.normcase(path.name)
            if key in taken and not (shared and taken[key]):
                raise OutputError(f"{path}: would be written twice")
            taken[key] = shared
            _check_target(path, output, read, kind)
    for folder in dict.fromkeys(output.path.parent for output in outputs):
        _check_folder(folder)


def _targets(output: Output, second: str | None, kind: Kind) -> Iterator[tuple[Path, bool]]:
    """The files that an output stands for, and whether another one may stand for the same file."""
    yield output.path, False
    if output.append:
        return
    if kind.meta:
        yield output.meta, True
    yield output.journal, False
    if second is not None:
        yield output.second(second), False


def _check_target(path: Path, output: Output, inputs: Iterable[Path], kind: Kind) -> None:
    try:
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist")
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    if not stat.S_ISREG(mode):
        raise OutputError(f"{path}: is there and is no regular file")
    if any(path.samefile(other) for other in inputs):
        raise OutputError(f"{path}: is one of the inputs")
    folders = (other.resolve() for other in inputs if other.is_dir())
    # A .json or .md of a model may well name the tool that made it: there a file cannot speak for itself.
    known = path in (output.meta, output.journal) or (kind.meta and _ends_with(path, kind.suffixes))
    if not known and any(path.resolve().is_relative_to(folder) for folder in folders):
        raise OutputError(f"{path}: is a file in the folder of the model")
    if not _ours(path, output, kind):
        raise OutputError(f"{path}: is there and was not written by uddm-audit; remove it, or give another -o")
    if not os.access(path, os.W_OK):
        raise OutputError(f"{path}: is there and is not writable")


def check_file(path: Path, head: bytes, inputs: Iterable[Path]) -> None:
    """Raise OutputError on a file that cannot be written; one that is there is replaced if it begins with `head`."""
    try:
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist")
        there = path.is_symlink() or path.exists()
        if there and (path.is_symlink() or not path.is_file()):
            raise OutputError(f"{path}: is there and is no regular file")
        if there and any(path.samefile(other) for other in inputs if other.exists()):
            raise OutputError(f"{path}: is one of the inputs")
        if there:
            with path.open("rb") as file:
                if file.read(len(head)) != head:
                    raise OutputError(f"{path}: is there and was not written by uddm-audit; give another -o")
    except (OSError, ValueError) as error:
        raise OutputError(f"{path}: {reason(error)}") from None
    if there and not os.access(path, os.W_OK):
        raise OutputError(f"{path}: is there and is not writable")
    _check_folder(path.parent)


def _ours(path: Path, output: Output, kind: Kind) -> bool:
    """Whether the file may be replaced: an earlier run's metadata lies beside it, or its journal, or it says itself who
    wrote it. An output that is appended leaves the file what it is."""
    if output.append or path == output.journal or output.journal.exists():
        return True
    if kind.meta:
        return b'"schema": "uddm-audit/' in _head(output.meta, 200)
    return path.stat().st_size == 0 or MARK in _head(path, MARK_WITHIN)


def _head(path: Path, size: int) -> bytes:
    """The file's first bytes; none if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError:
        return b""


def _check_folder(folder: Path) -> None:
    """Make a file there and remove it: permissions do not tell of full disks and read-only mounts."""
    try:
        with tempfile.NamedTemporaryFile(prefix=".uddm-audit.", dir=folder) as file:
            file.write(b"\0")
            file.flush()
    except OSError as error:
        raise OutputError(f"the folder {folder} is not writable: {reason(error)}") from None


def reason(error: Exception) -> str:
    """Why an output could not be written, in words."""
    if isinstance(error, OSError):
        # Some libraries raise errors that have no number.
        return "disk full" if error.errno == errno.ENOSPC else error.strerror or str(error)
    return str(error)
