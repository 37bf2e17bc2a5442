"""What a Parquet file claims of its column chunks and their pages, read before Arrow is let near them.

Arrow's Python package ends the process, where it should raise, when it is asked for the metadata of a damaged or
encrypted chunk, and takes as much memory as the header of a page claims. Footer and headers are structs of Thrift's
compact protocol (apache/parquet-format, parquet.thrift).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32
# Thrift's type codes.
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT, UUID = range(14)
# Field numbers of FileMetaData, RowGroup, ColumnChunk and ColumnMetaData.
ROW_GROUPS = 4
COLUMNS = 1
META_DATA, CRYPTO_METADATA = 3, 8
ENCODINGS, PATH, NUM_VALUES, UNCOMPRESSED, COMPRESSED, DATA_PAGE, DICTIONARY_PAGE = 2, 3, 5, 6, 7, 9, 11
# Of PageHeader: both sizes, and the structs of the kinds of page that hold values.
PAGE_UNCOMPRESSED, PAGE_COMPRESSED, DATA, DICTIONARY, DATA_V2 = 2, 3, 5, 7, 8
PAGE_VALUES = 1
# A header is some dozen bytes, and more only where it holds the smallest and largest value of its page.
HEADER_BYTES, LONGEST_HEADER = 1 << 12, 1 << 22
# What a header has at the most, some dozen fields; what the pages of a file are, a mebibyte each, of a large one.
HEADER_FIELDS = 256
MAX_PAGES = 1 << 18
DELTA_ENCODINGS = {6, 7}


class EncryptedChunk(Exception):
    """A column chunk that cannot be read without a key."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """One column of one row group, as the file describes it."""

    path: tuple[str, ...]
    has_delta_encoding: bool
    values: int
    uncompressed_bytes: int
    start: int
    stop: int


def row_groups(footer: bytes, columns: list[str]) -> list[list[Chunk]]:
    """The chunks of these columns, row group by row group.

    Raises EncryptedChunk, or where the footer is damaged ValueError, IndexError, KeyError or TypeError.
    """
    groups = _Compact(footer).struct()[ROW_GROUPS]
    return [[chunk for column in group[COLUMNS] if (chunk := _chunk(column, columns))] for group in groups]


def _chunk(column: dict[int, Any], columns: list[str]) -> Chunk | None:
    """The chunk, unless it belongs to another column."""
    # An encrypted chunk may hide what column it is.
    if META_DATA not in column:
        raise EncryptedChunk
    claims = column[META_DATA]
    path = tuple(part.decode() for part in claims[PATH])
    if path[0] not in columns and ".".join(path) not in columns:
        return None
    if CRYPTO_METADATA in column:
        raise EncryptedChunk
    delta = not DELTA_ENCODINGS.isdisjoint(claims[ENCODINGS])
    start = claims[DATA_PAGE]
    if 0 < claims.get(DICTIONARY_PAGE, 0) < start:
        start = claims[DICTIONARY_PAGE]
    return Chunk(path, delta, claims[NUM_VALUES], claims[UNCOMPRESSED], start, start + claims[COMPRESSED])


def check_pages(chunks: list[Chunk], read: Callable[[int, int], bytes]) -> None:
    """Raise ValueError if the pages of a chunk claim more than it does, or chunks lie over each other; and as
    `row_groups` where a header is damaged.

    `read` gives so many bytes of the file at an offset, or as many as there are.
    """
    reached = pages = 0
    for chunk in sorted(chunks, key=lambda chunk: chunk.start):
        # A page that many chunks pointed at would be read as often.
        if chunk.start < reached or chunk.stop < chunk.start:
            raise ValueError("chunks over each other")
        count, reached = _check_chunk(chunk, read, MAX_PAGES - pages)
        pages += count


def _check_chunk(chunk: Chunk, read: Callable[[int, int], bytes], most: int) -> tuple[int, int]:
    """How many pages the chunk has, of which there may be `most`, and where the last that is needed ends."""
    at, values, size = chunk.start, 0, 0
    for count in range(most):
        if values >= chunk.values or at >= chunk.stop:
            return count, at
        header, length = _page_header(at, read)
        own = header.get(DATA) or header.get(DATA_V2)
        values += own[PAGE_VALUES] if own else 0
        size += header[PAGE_UNCOMPRESSED]
        claimed = [header[PAGE_UNCOMPRESSED], header[PAGE_COMPRESSED], own[PAGE_VALUES] if own else 0]
        if min(claimed) < 0 or size > chunk.uncompressed_bytes or values > chunk.values:
            raise ValueError("its pages hold more than it says")
        if DICTIONARY in header and not 0 <= header[DICTIONARY][PAGE_VALUES] <= chunk.uncompressed_bytes:
            raise ValueError("a dictionary of more values than bytes")
        at += length + header[PAGE_COMPRESSED]
    raise ValueError("more pages than any writer makes")


def _page_header(at: int, read: Callable[[int, int], bytes]) -> tuple[dict[int, Any], int]:
    """The header at an offset, and its length."""
    reader = _Compact(read(at, HEADER_BYTES), HEADER_FIELDS)
    try:
        return reader.struct(), reader.at
    except (ValueError, IndexError):
        reader = _Compact(read(at, LONGEST_HEADER), HEADER_FIELDS)
        return reader.struct(), reader.at


class _Compact:
    """Reads values of Thrift's compact protocol, `most` at the most: a struct is a dict of its fields by number."""

    def __init__(self, data: bytes, most: int | None = None) -> None:
        self._data = data
        self._left = len(data) if most is None else most
        self.at = 0

    def struct(self, depth: int = 0) -> dict[int, Any]:
        fields: dict[int, Any] = {}
        number = 0
        while (head := self._byte()) & 15 != STOP:
            number = number + (head >> 4) if head >> 4 else self._integer()
            kind = head & 15
            fields[number] = kind == TRUE if kind in (TRUE, FALSE) else self._value(kind, depth + 1)
        return fields

    def _value(self, kind: int, depth: int) -> Any:
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise ValueError("nested too deep, or too much")
        if kind in (I16, I32, I64):
            return self._integer()
        if kind == BINARY:
            return self._take(self._varint())
        if kind == STRUCT:
            return self.struct(depth)
        if kind in (LIST, SET):
            head = self._byte()
            length = self._length(self._varint() if head >> 4 == 15 else head >> 4)
            return [self._value(head & 15, depth + 1) for _ in range(length)]
        if kind == MAP:
            length = self._length(self._varint())
            kinds = self._byte() if length else 0
            return [(self._value(kinds >> 4, depth + 1), self._value(kinds & 15, depth + 1)) for _ in range(length)]
        return self._take({TRUE: 1, FALSE: 1, BYTE: 1, DOUBLE: 8, UUID: 16}[kind])

    def _length(self, length: int) -> int:
        """The length of a list, of which every element takes a byte at least."""
        if length > len(self._data) - self.at:
            raise ValueError("longer than the file")
        return length

    def _integer(self) -> int:
        value = self._varint()
        return (value >> 1) ^ -(value & 1)

    def _varint(self) -> int:
        value = shift = 0
        while True:
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("a number too large")

    def _byte(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        return byte

    def _take(self, length: int) -> bytes:
        start = self.at
        self.at += self._length(length)
        return self._data[start : self.at]
