"""Streams of candidates that can be read as often as it takes, from files, standard input or memory."""

import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from audit_cli.candidates import plain
from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.gzipped import decompressed
from audit_cli.candidates.lines import Lines, lines_that_hold_something
from audit_cli.candidates.snapshot import Snapshot, View, snapshot_of_path, snapshot_of_stream
from audit_cli.candidates.tables import table
from audit_cli.records import Candidate, Skipped

STDIN = Path("-")
GZIP_SUFFIX = ".gz"


class Kind(StrEnum):
    """How a file holds its texts."""

    TXT = "txt"
    JSONL = "jsonl"
    CSV = "csv"
    TSV = "tsv"
    PARQUET = "parquet"


SUFFIXES = {f".{kind}": kind for kind in Kind} | {".ndjson": Kind.JSONL}


class Texts(Protocol):
    """Candidates in order, anew in every iteration; `names` are the sources that they come from."""

    @property
    def names(self) -> tuple[str, ...]: ...

    def __iter__(self) -> Iterator[Candidate | Skipped]: ...


class GivenTexts:
    """Texts in memory, with `text:1`, `text:2` and so on as their ids, and candidates as they are."""

    def __init__(self, texts: Iterable[str | Candidate]) -> None:
        """Raises TypeError for anything that is neither, a single string among it."""
        self._candidates = tuple(numbered(texts))
        self.names = tuple(dict.fromkeys(candidate.source for candidate in self._candidates))

    def __iter__(self) -> Iterator[Candidate | Skipped]:
        return iter(self._candidates)

    def __len__(self) -> int:
        return len(self._candidates)


def open_texts(paths: Sequence[str | Path], kind: str | None = None, text_column: str | None = None) -> Texts:
    """The candidates of the files, in order; `-` is standard input, of which no more is taken than a pass asks for.

    `kind` (a `Kind`) overrides the files' suffixes; `text_column` names the column, or JSON field, of the texts.
    Every file is looked at, as far as its first text, before this returns. Raises CandidateError if one cannot be
    read, here or, where its fault stands further on or it has changed since, in an iteration; TypeError for one path.
    """
    if isinstance(paths, str | Path):
        raise TypeError("a list of paths is expected, not one path")
    files = [Path(path) for path in paths]
    if kind is not None and kind not in set(Kind):
        raise CandidateError(f"unknown input format {kind!r}; known: {', '.join(Kind)}")
    if files.count(STDIN) > 1:
        raise CandidateError("standard input can be given only once")
    opened = _FileTexts(
        tuple(
            _opened(path, name, None if kind is None else Kind(kind), text_column)
            for path, name in zip(files, _names(files), strict=True)
        )
    )
    for file in opened.files:
        with closing(file.candidates()) as candidates:
            next(candidates, None)
    return opened


@dataclass(frozen=True, slots=True)
class _File:
    """One file: `read` gives the candidates of a pass."""

    name: str
    snapshot: Snapshot
    read: Callable[[View], Iterator[Candidate | Skipped]]

    def candidates(self) -> Generator[Candidate | Skipped, None, None]:
        with self.snapshot.opened() as view:
            yield from self.read(view)


@dataclass(frozen=True, slots=True)
class _FileTexts:
    files: tuple[_File, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.files)

    def __iter__(self) -> Iterator[Candidate | Skipped]:
        for file in self.files:
            yield from file.candidates()


def numbered(texts: Iterable[str | Candidate]) -> Iterator[Candidate]:
    """One pass over texts in memory, as `GivenTexts` holds them. Raises TypeError as it does, at once for a string."""
    if isinstance(texts, str):
        raise TypeError("a list of texts is expected, not one text")
    return (_given(text, number) for number, text in enumerate(texts, start=1))


def _given(text: object, number: int) -> Candidate:
    if isinstance(text, Candidate):
        return text if text.id else replace(text, source="text", line=number, id=f"text:{number}")
    if not isinstance(text, str):
        raise TypeError(f"text {number} is a {type(text).__name__}, not a string")
    return Candidate("text", number, f"text:{number}", text)


def _names(paths: Sequence[Path]) -> list[str]:
    """What the sources are called: the files' names, or their paths where different files share a name."""
    counts = Counter(path.name for path in set(paths))
    return ["stdin" if path == STDIN else path.name if counts[path.name] == 1 else str(path) for path in paths]


def _opened(path: Path, name: str, kind: Kind | None, text_column: str | None) -> _File:
    if path == STDIN:
        return _File(name, _stdin(), _reader(kind or Kind.TXT, name, False, text_column))
    snapshot = snapshot_of_path(path)
    suffixes = [suffix.lower() for suffix in path.suffixes]
    is_gzipped = suffixes[-1:] == [GZIP_SUFFIX]
    suffix = "".join(suffixes[-2:-1] if is_gzipped else suffixes[-1:])
    if kind is None and suffix not in SUFFIXES:
        known = ", ".join(SUFFIXES)
        raise CandidateError(
            f"{path}: unknown kind of file {suffix!r}; known: {known}, all but the last also with {GZIP_SUFFIX}; "
            "say with --input-format what it is"
        )
    kind = kind or SUFFIXES[suffix]
    if kind is Kind.PARQUET and is_gzipped:
        raise CandidateError(f"{path}: a Parquet file cannot be read compressed; decompress it first")
    return _File(name, snapshot, _reader(kind, name, is_gzipped, text_column))


def _stdin() -> Snapshot:
    # Python has no such stream where the shell closed it.
    if sys.stdin is None:
        raise CandidateError("standard input: it is closed")
    return snapshot_of_stream(sys.stdin.buffer, "standard input")


def _reader(
    kind: Kind, name: str, is_gzipped: bool, text_column: str | None
) -> Callable[[View], Iterator[Candidate | Skipped]]:
    def blocks(view: View) -> Iterator[bytes]:
        return decompressed(view.blocks(), view.label) if is_gzipped else view.blocks()

    def read(view: View) -> Iterator[Candidate | Skipped]:
        match kind:
            case Kind.TXT:
                return plain.texts(lines_that_hold_something(blocks(view), view.label), name)
            case Kind.JSONL:
                return plain.json_objects(lines_that_hold_something(blocks(view), view.label), name, text_column)
            case Kind.CSV:
                return table(Lines(blocks(view), view.label), name, view.label, ",", text_column)
            case Kind.TSV:
                return table(Lines(blocks(view), view.label), name, view.label, "\t", text_column)
            case Kind.PARQUET:
                # Arrow is slow to load: only who has such a file waits for it.
                from audit_cli.candidates.parquet import rows

                return rows(view, name, text_column)

    return read
