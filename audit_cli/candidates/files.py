"""Text files as streams of candidates: a line a candidate, blank lines left out, what cannot be read as `Skipped`."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from audit_cli.records import Candidate, Skipped

MAX_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"


class CandidateError(Exception):
    """A file of texts that cannot be read at all."""


def read_candidates(paths: Iterable[Path]) -> Iterator[Candidate | Skipped]:
    """All candidates of the files, in order. Raises CandidateError, before anything is yielded, on a bad path."""
    readers = [(path, _reader(path)) for path in paths]
    return (candidate for path, read in readers for candidate in _read(path, read))


def _reader(path: Path) -> "LineReader":
    """The reader for a path's suffix."""
    try:
        found = path.exists()
    except OSError as error:
        raise CandidateError(f"{path}: {error.strerror}") from None
    if not found:
        raise CandidateError(f"{path}: no such file")
    if not path.is_file():
        raise CandidateError(f"{path}: not a regular file")
    if path.suffix not in READERS:
        known = ", ".join(READERS)
        raise CandidateError(f"{path}: unknown kind of file {path.suffix!r}; known: {known}")
    return READERS[path.suffix]


def _read(path: Path, read: "LineReader") -> Iterator[Candidate | Skipped]:
    try:
        with path.open("rb") as file:
            for number, line in _lines(file):
                here = Candidate(path.name, number, f"{path.name}:{number}")
                if line is None:
                    yield Skipped(here, f"the line is longer than {MAX_LINE_BYTES} bytes")
                elif line.strip():
                    yield read(here, line)
    except OSError as error:
        raise CandidateError(f"{path}: {error.strerror}") from None


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes | None]]:
    """Numbered lines without their ends, never more than MAX_LINE_BYTES in memory; None for a longer line."""
    if file.read(len(BOM)) != BOM:
        file.seek(0)
    number = 0
    # Two bytes more than a line may have: its end.
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        end = line
        while not end.endswith(b"\n") and (end := file.readline(MAX_LINE_BYTES)):
            pass
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        yield number, line if len(line) <= MAX_LINE_BYTES else None


def _text_line(here: Candidate, line: bytes) -> Candidate | Skipped:
    try:
        return Candidate(here.source, here.line, here.id, line.decode())
    except UnicodeDecodeError as error:
        return Skipped(here, f"not valid UTF-8 (byte {error.start + 1} of the line)")


def _json_line(here: Candidate, line: bytes) -> Candidate | Skipped:
    try:
        data = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return Skipped(here, f"not valid UTF-8 (byte {error.start + 1} of the line)")
    except (ValueError, RecursionError):
        return Skipped(here, "not valid JSON")
    if not isinstance(data, dict):
        return Skipped(here, "not a JSON object")
    name = data.get("id", here.id)
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Skipped(here, '"id" is neither a string nor a whole number')
    here = Candidate(here.source, here.line, str(name))
    ids = data.get("input_ids")
    if ids is not None:
        if not isinstance(ids, list) or not all(type(i) is int and abs(i) < 1 << 31 for i in ids):
            return Skipped(here, '"input_ids" is not a list of whole numbers')
        return Candidate(here.source, here.line, here.id, None, tuple(ids))
    text = data.get("text")
    if "text" in data and not isinstance(text, str):
        return Skipped(here, '"text" is not a string')
    if not isinstance(text, str):
        return Skipped(here, 'no "text" and no "input_ids" field')
    return Candidate(here.source, here.line, here.id, text)


LineReader = Callable[[Candidate, bytes], Candidate | Skipped]
READERS: dict[str, LineReader] = {".txt": _text_line, ".jsonl": _json_line}
