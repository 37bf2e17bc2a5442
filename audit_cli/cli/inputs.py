"""Files that a command is given, looked at before anything heavy is loaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from audit_cli.candidates import Texts, open_texts
from audit_cli.cli import session
from audit_cli.records import Candidate, Skipped
from audit_cli.reports.files import Output, check_file, check_outputs, parse_output
from audit_cli.reports.formats import FORMATS
from audit_cli.reports.outputs import Kind

if TYPE_CHECKING:
    from audit_cli.verdicts.calibration import Calibration


@dataclass(frozen=True)
class FirstTexts:
    """The first `limit` of some texts."""

    texts: Texts
    limit: int

    @property
    def names(self) -> tuple[str, ...]:
        """Their sources."""
        return self.texts.names

    def __iter__(self) -> Iterator[Candidate | Skipped]:
        return islice(iter(self.texts), self.limit)


def opened(files: Sequence[Path], kind: str | None, text_column: str | None, limit: int | None = None) -> Texts:
    """The texts of the files, which must exist; files without any text are an error here."""
    texts = open_texts(files, kind, text_column)
    if next(iter(texts), None) is None:
        names = ", ".join(texts.names)
        session.fail(f"{names}: no candidates: the file holds no text", session.UNAUDITABLE)
    return texts if limit is None else FirstTexts(texts, limit)


def checkpoint(path: Path) -> None:
    """End with a message unless there is something at `path`, or it may be a name on the hub."""
    may_be_a_name = str(path).startswith("hf:") or (len(path.parts) == 2 and not path.parent.exists())
    if not path.exists() and not may_be_a_name:
        session.fail(f"{path}: no such file or folder", session.USAGE)


def calibration(path: Path | None) -> "Calibration | None":
    """What `calibrate` wrote there, if anything is asked for."""
    from audit_cli.verdicts.calibration import read

    return None if path is None else read(path)


def calibration_output(path: Path, read: Sequence[Path]) -> None:
    """End with a message unless a calibration can be written to `path`; `read` are the files that are read."""
    from audit_cli.verdicts.calibration import HEAD

    if path.name in ("", "-"):
        session.fail("-o: a calibration goes to a file", session.USAGE)
    check_file(path, HEAD, read)


def baseline_output(path: Path, read: Sequence[Path]) -> None:
    """End with a message unless a baseline can be written to `path`; `read` are the files that are read."""
    from audit_cli.verdicts.baseline import HEAD

    if path.name in ("", "-"):
        session.fail("BASELINE: a baseline is a file", session.USAGE)
    check_file(path, HEAD, read)


def outputs(
    given: Sequence[str] | None, second: str | None, read: Sequence[Path], formats: Mapping[str, Kind] = FORMATS
) -> list[Output]:
    """What -o names, if all of it can be written; `read` are the files and folders that are read."""
    found = [parse_output(text, formats) for text in given or ()]
    check_outputs(found, second, read, formats)
    return found
