"""Numbered lines of a stream of blocks, with never more than one line and one block in memory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from audit_cli.candidates.errors import CandidateError

MAX_LINE_BYTES = 1 << 20
BOM = b"\xef\xbb\xbf"
# What a file can begin with that no text in UTF-8 does.
FOREIGN_STARTS = {
    b"\xff\xfe": "UTF-16; convert it to UTF-8 first: iconv -f UTF-16 -t UTF-8",
    b"\xfe\xff": "UTF-16; convert it to UTF-8 first: iconv -f UTF-16 -t UTF-8",
    b"\x1f\x8b": "compressed with gzip; its name must end in .gz, or decompress it first",
    b"PK\x03\x04": "a zip archive or an office document; save its texts as .txt, .csv or .jsonl",
}
SPACES = re.compile(rb"[ \t\n\r\x0b\x0c]*")


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line of more than MAX_LINE_BYTES, of which only the number of its quotation marks is kept."""

    quotes: int


class Lines:
    """Lines one after the other. Only line feeds end a line, and they are no part of it."""

    def __init__(self, blocks: Iterator[bytes], label: str) -> None:
        """`blocks` must be long, except for the last: a line is looked for anew in each.

        Raises CandidateError, with `label` as the file's name, if what begins is no text in UTF-8.
        """
        self.number = 0
        self._blocks = blocks
        self._buffer = next(blocks, b"")
        for start, kind in FOREIGN_STARTS.items():
            if self._buffer.startswith(start):
                raise CandidateError(f"{label}: the file is {kind}")
        self._at = len(BOM) if self._buffer.startswith(BOM) else 0

    def skip_blank(self) -> None:
        """Pass over blank lines, so that the next line holds something, or is too long, or there is none."""
        # Runs are measured as a whole: a file can hold millions of blank lines.
        while True:
            stop = _end_of_spaces(self._buffer, self._at)
            passed = self._buffer.rfind(b"\n", self._at, stop) + 1
            if passed:
                self.number += self._buffer.count(b"\n", self._at, passed)
                self._at = passed
            if stop < len(self._buffer) or self._is_too_long(stop):
                return
            if not self._fill():
                self._at = len(self._buffer)
                return

    def read(self) -> bytes | LongLine | None:
        """The next line, without its line feed; None at the end of the file. `number` is then its number, from 1."""
        searched = self._at
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if self._is_too_long(len(self._buffer)):
                return self._drop()
            searched = len(self._buffer) - self._at
            if not self._fill():
                end = len(self._buffer)
                if not end:
                    return None
                break
        line = self._buffer[self._at : end]
        self._at = end + 1
        self.number += 1
        return line if len(line) - line.endswith(b"\r") <= MAX_LINE_BYTES else LongLine(line.count(b'"'))

    def _is_too_long(self, end: int) -> bool:
        """Whether what lies before `end` is more than a line, with a carriage return, may be."""
        return end - self._at > MAX_LINE_BYTES + 1

    def _fill(self) -> bool:
        """Add a block to what is left of the buffer, which then begins with it. False at the end of the file."""
        block = next(self._blocks, b"")
        self._buffer = self._buffer[self._at :] + block
        self._at = 0
        return bool(block)

    def _drop(self) -> LongLine:
        """Pass over the rest of a line."""
        quotes = 0
        while (end := self._buffer.find(b"\n", self._at)) < 0:
            quotes += self._buffer.count(b'"', self._at)
            self._at = len(self._buffer)
            if not self._fill():
                break
        quotes += self._buffer.count(b'"', self._at, max(end, 0))
        self._at = end + 1
        self.number += 1
        return LongLine(quotes)


def _end_of_spaces(buffer: bytes, at: int) -> int:
    found = SPACES.match(buffer, at)
    return found.end() if found else at


def lines_that_hold_something(blocks: Iterator[bytes], label: str) -> Iterator[tuple[int, bytes | LongLine]]:
    """(number from 1, line) without the blank ones, and without a carriage return before a line feed."""
    lines = Lines(blocks, label)
    while True:
        line = lines.read()
        if line is None:
            return
        if isinstance(line, LongLine):
            yield lines.number, line
        elif not line or line.isspace():
            lines.skip_blank()
        else:
            yield lines.number, line.removesuffix(b"\r")
