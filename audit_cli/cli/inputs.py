"""Files that a command is given, looked at before anything heavy is loaded."""

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

from audit_cli.candidates import read_candidates
from audit_cli.cli import session
from audit_cli.records import Candidate, Skipped


def opened(files: Iterable[Path]) -> Iterator[Candidate | Skipped]:
    """The texts of the files, which must exist; files without any text are an error here."""
    texts = read_candidates(list(files))
    first = next(texts, None)
    if first is None:
        names = ", ".join(file.name for file in files)
        session.fail(f"{names}: no candidates: the file holds no text", session.UNAUDITABLE)
    return chain([first], texts)


def checkpoint(path: Path) -> None:
    """End with a message unless there is something at `path`."""
    if not path.exists():
        session.fail(f"{path}: no such file or folder", session.USAGE)
