"""Tables of texts: comma- and tab-separated values with a header."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass

from audit_cli.candidates import lines
from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.plain import too_long, with_prompt, with_text
from audit_cli.records import Candidate, Skipped

# How far the end of an over-long record is looked for, before what follows is read as records again.
MAX_DROPPED_BYTES = 64 << 20
# A file without a header has a text where column names are expected: only what looks like a name is ever shown.
COLUMN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}")
NAMES_SHOWN = 20
CSV_FAULTS = {
    "unexpected end of data": "a quotation mark is not closed",
    "expected after": "a quotation mark inside a quoted field is not doubled",
    "new-line character": "a carriage return stands outside quotation marks",
}


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of a record, or what is wrong with it, and the line where it begins."""

    line: int
    fields: list[str]
    fault: str = ""


class _RecordTooLong(Exception):
    """Raised through the csv module by the lines that it asks for."""


class _RecordLines:
    """The lines of a file as the csv module takes them: decoded, with line feeds, MAX_LINE_BYTES a record at most."""

    def __init__(self, source: lines.Lines) -> None:
        self.begin = 0
        self.is_utf8 = True
        self._lines = source
        self._bytes = 0
        self._quotes = 0

    @property
    def number(self) -> int:
        """The last line that was given."""
        return self._lines.number

    def next_record(self) -> None:
        """What is asked for next begins a record: blank lines before it are passed over."""
        self._lines.skip_blank()
        self.begin = self._lines.number + 1
        self.is_utf8 = True
        self._bytes = self._quotes = 0

    def drop_open_record(self) -> None:
        """Pass over lines until the record's quotation marks are closed."""
        dropped = 0
        while self._quotes % 2 and dropped < MAX_DROPPED_BYTES:
            line = self._lines.read()
            if line is None:
                return
            dropped += lines.MAX_LINE_BYTES if isinstance(line, lines.LongLine) else len(line) + 1
            self._quotes += _quotes(line)

    def __iter__(self) -> "_RecordLines":
        return self

    def __next__(self) -> str:
        line = self._lines.read()
        if line is None:
            raise StopIteration
        self._quotes += _quotes(line)
        if isinstance(line, lines.LongLine) or self._bytes + len(line) > lines.MAX_LINE_BYTES + 1:
            raise _RecordTooLong
        self._bytes += len(line) + 1
        try:
            return line.decode() + "\n"
        except UnicodeDecodeError:
            # The fields that matter may be sound; those that are not show it by their surrogates.
            self.is_utf8 = False
            return line.decode(errors="surrogateescape") + "\n"


class _Records:
    """The records of a file, in order."""

    def __init__(self, source: lines.Lines, delimiter: str) -> None:
        # A process-wide limit, which is less than a line unless someone raised it.
        csv.field_size_limit(max(csv.field_size_limit(), 2 * lines.MAX_LINE_BYTES))
        self._lines = _RecordLines(source)
        self._reader = csv.reader(self._lines, delimiter=delimiter, strict=True)

    @property
    def is_utf8(self) -> bool:
        """Whether all bytes of the last record are."""
        return self._lines.is_utf8

    def read(self) -> Record | None:
        """The next record; None at the end of the file."""
        self._lines.next_record()
        try:
            return Record(self._lines.begin, next(self._reader))
        except StopIteration:
            return None
        except _RecordTooLong:
            self._lines.drop_open_record()
            fault = f"{too_long('record')} (lines {self._lines.begin} to {self._lines.number})"
        except csv.Error as error:
            what = next((words for start, words in CSV_FAULTS.items() if start in str(error)), "not valid CSV")
            fault = f"{what} in the record of lines {self._lines.begin} to {self._lines.number}"
        return Record(self._lines.begin, [], fault)


@dataclass(frozen=True, slots=True)
class _Header:
    width: int
    text: int
    id: int | None
    prompt: int | None


def table(
    source: lines.Lines, name: str, label: str, delimiter: str, column: str | None
) -> Iterator[Candidate | Skipped]:
    """Every record after the first, which is the header, is a candidate. `line` is where the record begins.

    Raises CandidateError, with `label` as the file's name, if the header is none or lacks the column of texts.
    """
    records = _Records(source, delimiter)
    header = _header(records.read(), label, delimiter, column)
    while (record := records.read()) is not None:
        yield _candidate(record, header, name, records.is_utf8)


def _header(record: Record | None, label: str, delimiter: str, column: str | None) -> _Header:
    if record is None:
        raise CandidateError(f"{label}: the file is empty; a header with the names of the columns is expected")
    if record.fault:
        raise CandidateError(f"{label}: the header cannot be read: {record.fault}")
    names, wanted = [name.strip() for name in record.fields], column or "text"
    if wanted not in names:
        raise CandidateError(f'{label}: no column "{wanted}"; {_columns(names, delimiter)}')
    for name in (wanted, "id", "prompt"):
        if names.count(name) > 1:
            raise CandidateError(f'{label}: {names.count(name)} columns are called "{name}"')
    identity = names.index("id") if "id" in names else None
    prompt = names.index("prompt") if "prompt" in names and wanted != "prompt" else None
    return _Header(len(names), names.index(wanted), identity, prompt)


def _columns(names: list[str], delimiter: str) -> str:
    """What the columns are, and what to do."""
    # A line of one word is no header that anybody can tell from a text: a list of passwords is such a file.
    if len(names) == 1 or not all(COLUMN_NAME.fullmatch(name) for name in names):
        other = next((c for c in ("\t", ";", ",", "|") if c != delimiter and c in names[0]), None)
        guess = f"; the separator may be {other!r} instead of {delimiter!r}" if other else ""
        return (
            "the first line must be a header with the names of the columns (not shown here, it may be a text); "
            f"choose one of them with --text-column{guess}"
        )
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return f"there are: {', '.join(names[:NAMES_SHOWN])}{more}; choose one with --text-column"


def _candidate(record: Record, header: _Header, source: str, is_utf8: bool) -> Candidate | Skipped:
    here = Candidate(source, record.line, f"{source}:{record.line}")
    if record.fault:
        return Skipped(here, record.fault)
    if len(record.fields) != header.width:
        found = f"{len(record.fields)} field{'s' if len(record.fields) > 1 else ''}"
        return Skipped(here, f"the record has {found}, the header has {header.width}")
    text = record.fields[header.text]
    name = record.fields[header.id] if header.id is not None else ""
    prompt = record.fields[header.prompt] if header.prompt is not None else ""
    if not is_utf8 and not all(map(_is_sound, (text, name, prompt))):
        return Skipped(here, "not valid UTF-8")
    return with_prompt(with_text(Candidate(source, record.line, name or here.id), text), prompt)


def _is_sound(field: str) -> bool:
    try:
        field.encode()
    except UnicodeEncodeError:
        return False
    return True


def _quotes(line: bytes | lines.LongLine) -> int:
    return line.quotes if isinstance(line, lines.LongLine) else line.count(b'"')
