"""Where tables go: what `-o` names, the files that it stands for, and whether they can be written at all."""

import errno
import os
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_cli.reports.formats import FORMATS


class OutputError(Exception):
    """An output that cannot be written; the message says which and why."""


class WriteError(OutputError):
    """An output whose writing failed: the disk is full, say. What was there before is there still."""


@dataclass(frozen=True)
class Output:
    """A table to write: the name of its format in `FORMATS`, and its path."""

    format: str
    path: Path

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


def parse_output(text: str) -> Output:
    """`[FORMAT=]PATH` as an Output: by its prefix, else by its suffix. Raises OutputError, naming what is known.

    What stands before a "=" and is no format belongs to the path.
    """
    prefix, equals, rest = text.partition("=")
    known = _by_prefix(prefix) if equals else None
    name = rest if known else text
    if name == "-":
        raise OutputError("-o -: tables go to files, and standard output has the report; give -o FILE")
    if name.endswith(("/", os.sep)) or Path(name).name in ("", ".."):
        raise OutputError(f"{text or '-o'}: names no file")
    path = Path(name)
    found = known or next((f for f, kind in FORMATS.items() if path.suffix.lower() in kind.suffixes), None)
    if found is None:
        suffixes = ", ".join(suffix for kind in FORMATS.values() for suffix in kind.suffixes)
        raise OutputError(
            f"{text}: unknown kind of output {path.suffix!r}; known: {suffixes}, or for a path of any name "
            f"{', '.join(f'{f}=PATH' for f in FORMATS)}"
        )
    return Output(found, path)


def _by_prefix(prefix: str) -> str | None:
    """The format of that name, or of that suffix without its point."""
    prefix = prefix.lower()
    return next((name for name, kind in FORMATS.items() if prefix == name or f".{prefix}" in kind.suffixes), None)


def check_outputs(outputs: Sequence[Output], second: str | None, inputs: Iterable[Path]) -> None:
    """Raise OutputError on an output that cannot be written, before any time is spent.

    `inputs` are what the run reads: files of texts, and models as files or folders; those that are not there (a
    name of a hub, "-") are none of this function's business.
    """
    read = [path for path in inputs if path.exists()]
    taken: dict[tuple[str, str], bool] = {}
    for output in outputs:
        for path, shared in _targets(output, second):
            key = os.path.realpath(path.parent), os.path.normcase(path.name)
            if key in taken and not (shared and taken[key]):
                raise OutputError(f"{path}: would be written twice")
            taken[key] = shared
            _check_target(path, output, read)
    for folder in dict.fromkeys(output.path.parent for output in outputs):
        _check_folder(folder)


def _targets(output: Output, second: str | None) -> Iterator[tuple[Path, bool]]:
    """The files that an output stands for, and whether another one may stand for the same file."""
    yield output.path, False
    yield output.meta, True
    yield output.journal, False
    if second is not None:
        yield output.second(second), False


def _check_target(path: Path, output: Output, inputs: Iterable[Path]) -> None:
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
    known = path in (output.meta, output.journal) or path.suffix.lower() in FORMATS[output.format].suffixes
    if not known and any(path.resolve().is_relative_to(folder) for folder in folders):
        raise OutputError(f"{path}: is a file in the folder of the model")
    if not _ours(path, output):
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


def _ours(path: Path, output: Output) -> bool:
    """Whether an earlier run wrote the file: its metadata lies beside it, or its journal."""
    return path == output.journal or output.journal.exists() or _is_metadata(output.meta)


def _is_metadata(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return b'"schema": "uddm-audit/' in file.read(200)
    except OSError:
        return False


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
