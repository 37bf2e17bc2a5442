"""Texts in the rows of a Parquet file."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from audit_cli.candidates import lines
from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.parquet_footer import Chunk, EncryptedChunk, check_pages, row_groups
from audit_cli.candidates.plain import MAX_TOKEN_IDS, too_long, with_prompt, with_text, with_token_ids, without_content
from audit_cli.candidates.snapshot import BLOCK_BYTES, View
from audit_cli.records import Candidate, Skipped

# A few rows at a time: one may hold a million token ids.
BATCH_ROWS = 256
READ_BYTES = 1 << 18
BLOCKS_KEPT = 8
# What the wanted columns of one row group may hold. Writers make groups of some hundred MiB at most.
MAX_GROUP_BYTES = 1 << 30
MAX_GROUP_VALUES = 1 << 27
MAGIC, ENCRYPTED_MAGIC = b"PAR1", b"PARE"
# The length of the footer and the magic bytes.
TAIL_BYTES = 8
MAX_FOOTER_BYTES = 16 << 20
NAMES_SHOWN = 20
TYPE_CHARACTERS_SHOWN = 60


@dataclass(frozen=True, slots=True)
class _Columns:
    """The names of the columns that are read; at least one of `text` and `token_ids`."""

    text: str | None
    token_ids: str | None
    id: str | None
    id_is_text: bool
    prompt: str | None

    @property
    def all(self) -> list[str]:
        return [name for name in (self.text, self.token_ids, self.id, self.prompt) if name is not None]

    @property
    def texts(self) -> list[str]:
        id_text = self.id if self.id_is_text else None
        return [name for name in (self.text, id_text, self.prompt) if name is not None]


def rows(view: View, source: str, text_column: str | None) -> Iterator[Candidate | Skipped]:
    """Every row is a candidate. `line` is its number from 1.

    Raises CandidateError if the file is not Parquet, encrypted or damaged, lacks the column, or claims to be absurdly
    large.
    """
    footer = _footer(view)
    with _arrow_errors(view.label):
        columns = _columns(pq.ParquetFile(_ArrowFile(view)), view.label, text_column)
        groups = row_groups(footer, columns.all)
        _check_sizes(groups, view.label)
        check_pages([chunk for group in groups for chunk in group], _ArrowFile(view).read_at)
        kept = [name for name in columns.texts if _may_stay_dictionary(name, groups)]
        batch_rows = BATCH_ROWS if kept == columns.texts else _rows_that_fit(groups)
        file = pq.ParquetFile(_ArrowFile(view), read_dictionary=kept, buffer_size=READ_BYTES)
        batches = file.iter_batches(batch_rows, columns=columns.all, use_threads=False)
    number = 0
    while True:
        with _arrow_errors(view.label):
            batch = next(batches, None)
            results = [] if batch is None else _results(batch, columns, source, number)
        if batch is None:
            return
        yield from results
        number += batch.num_rows


@contextmanager
def _arrow_errors(label: str) -> Iterator[None]:
    """Any error of Arrow as a CandidateError without its message, which may quote the file."""
    try:
        yield
    except CandidateError:
        raise
    except EncryptedChunk:
        raise CandidateError(f"{label}: an encrypted Parquet file") from None
    # Arrow says in no one place what a damaged file can raise.
    except Exception as error:
        if "crypt" in str(error):
            raise CandidateError(f"{label}: an encrypted Parquet file") from None
        kind = type(error).__name__
        raise CandidateError(f"{label}: the Parquet file is damaged, or of a form that is unknown ({kind})") from None


def _footer(view: View) -> bytes:
    """The struct at the end of the file, before its length and the magic bytes."""
    file = _ArrowFile(view)
    file.seek(-TAIL_BYTES, io.SEEK_END)
    tail = file.read()
    length = int.from_bytes(tail[:4], "little")
    if tail[4:] != MAGIC:
        kind = "an encrypted Parquet file" if tail[4:] == ENCRYPTED_MAGIC else "not a Parquet file, or cut short"
        raise CandidateError(f"{view.label}: {kind}")
    if length > view.size - TAIL_BYTES:
        raise CandidateError(f"{view.label}: the Parquet file is damaged: its footer is cut short")
    if length > MAX_FOOTER_BYTES:
        raise CandidateError(f"{view.label}: the footer claims {length} bytes; write it with larger row groups")
    file.seek(-TAIL_BYTES - length, io.SEEK_END)
    return file.read(length)


def _columns(file: Any, label: str, text_column: str | None) -> _Columns:
    """Which columns to read. Raises CandidateError if the file has none of texts, or one of a wrong type."""
    schema = file.schema_arrow
    names = list(schema.names)
    for name in (text_column, "text", "input_ids", "id", "prompt"):
        if name and names.count(name) > 1:
            raise CandidateError(f'{label}: {names.count(name)} columns are called "{name}"')
    text = text_column or ("text" if "text" in names else None)
    token_ids = "input_ids" if not text_column and "input_ids" in names else None
    if (text is None and token_ids is None) or (text_column and text_column not in names):
        shown = ", ".join(names[:NAMES_SHOWN]) + (" …" if len(names) > NAMES_SHOWN else "")
        wanted = f'no column "{text_column or "text"}"'
        raise CandidateError(f"{label}: {wanted}; there are: {shown}; choose one with --text-column")
    if text and not _is_text(schema.field(text).type):
        raise _wrong_type(label, text, schema, "strings are")
    if token_ids and not _is_list_of_integers(schema.field(token_ids).type):
        raise _wrong_type(label, token_ids, schema, "lists of whole numbers are")
    prompt = "prompt" if "prompt" in names and text != "prompt" else None
    if prompt and not _is_text(schema.field(prompt).type):
        raise _wrong_type(label, prompt, schema, "strings are")
    if "id" not in names:
        return _Columns(text, token_ids, None, False, prompt)
    id_type = schema.field("id").type
    if not _is_text(id_type) and not pa.types.is_integer(id_type):
        raise _wrong_type(label, "id", schema, "strings or whole numbers are")
    return _Columns(text, token_ids, "id", _is_text(id_type), prompt)


def _wrong_type(label: str, name: str, schema: Any, expected: str) -> CandidateError:
    # A nested type is written out with all that is in it.
    kind = str(schema.field(name).type)[:TYPE_CHARACTERS_SHOWN]
    return CandidateError(f'{label}: the column "{name}" is of type {kind}; {expected} expected')


def _is_text(kind: Any) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_list_of_integers(kind: Any) -> bool:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return bool(is_list and pa.types.is_integer(kind.value_type))


def _check_sizes(groups: list[list[Chunk]], label: str) -> None:
    """Raises CandidateError if a row group claims more than any writer puts in one."""
    for number, group in enumerate(groups):
        sizes = [chunk.uncompressed_bytes for chunk in group]
        values = [chunk.values for chunk in group]
        if min(sizes + values) < 0 or sum(sizes) > MAX_GROUP_BYTES or max(values) > MAX_GROUP_VALUES:
            raise CandidateError(
                f"{label}: row group {number} claims {sum(sizes)} bytes and {max(values)} values, more than can be "
                "read at once; write the file with smaller row groups"
            )


def _may_stay_dictionary(name: str, groups: list[list[Chunk]]) -> bool:
    """Whether the column's values can be kept as a dictionary, so that one that is repeated takes its memory once.

    Written out, a small file could fill the memory; but Arrow makes no dictionary of the delta encodings.
    """
    return not any(chunk.has_delta_encoding for group in groups for chunk in group if chunk.path == (name,))


def _rows_that_fit(groups: list[list[Chunk]]) -> int:
    """How many rows can be written out in full within the limit of a row group: no row is larger than its group."""
    largest = max((sum(chunk.uncompressed_bytes for chunk in group) for group in groups), default=0)
    return min(BATCH_ROWS, max(1, MAX_GROUP_BYTES // max(1, largest)))


def _results(batch: Any, columns: _Columns, source: str, before: int) -> list[Candidate | Skipped]:
    texts = _text_values(batch.column(columns.text)) if columns.text else None
    lists = batch.column(columns.token_ids) if columns.token_ids else None
    prompts = _text_values(batch.column(columns.prompt)) if columns.prompt else None
    ids = None
    if columns.id:
        ids = _text_values(batch.column(columns.id)) if columns.id_is_text else batch.column(columns.id)
    out: list[Candidate | Skipped] = []
    for i in range(batch.num_rows):
        number = before + i + 1
        here = Candidate(source, number, f"{source}:{number}")
        if ids is None:
            named: Candidate | Skipped = here
        elif callable(ids):
            named = _named_by_text(here, ids(i))
        else:
            named = Candidate(source, number, str(ids[i].as_py())) if ids[i].is_valid else here
        if isinstance(named, Skipped):
            found: Candidate | Skipped = named
        elif lists is not None and lists[i].is_valid:
            found = _with_list(named, lists[i])
        else:
            found = _with_text(named, texts(i) if texts else None)
        out.append(_with_prompt(found, prompts(i)) if prompts else found)
    return out


def _text_values(column: Any) -> Callable[[int], Any]:
    """Row -> its value as a buffer of UTF-8, or None."""
    indices, values = None, column
    if pa.types.is_dictionary(column.type):
        indices, values = column.indices.to_pylist(), column.dictionary
    binary = pa.large_binary() if pa.types.is_large_string(values.type) else pa.binary()
    values = values.cast(binary)

    def value(row: int) -> Any:
        at = row if indices is None else indices[row]
        return None if at is None else values[at].as_buffer()

    return value


def _named_by_text(here: Candidate, name: Any) -> Candidate | Skipped:
    if name is None or not name.size:
        return here
    decoded = _decoded(name, here, "id")
    return decoded if isinstance(decoded, Skipped) else replace(here, id=decoded)


def _with_text(here: Candidate, text: Any) -> Candidate | Skipped:
    if text is None:
        return Skipped(here, "no text")
    decoded = _decoded(text, here, "text")
    return decoded if isinstance(decoded, Skipped) else with_text(here, decoded)


def _with_prompt(found: Candidate | Skipped, prompt: Any) -> Candidate | Skipped:
    if isinstance(found, Skipped) or prompt is None:
        return found
    decoded = _decoded(prompt, without_content(found), "prompt")
    return decoded if isinstance(decoded, Skipped) else with_prompt(found, decoded)


def _decoded(value: Any, here: Candidate, what: str) -> str | Skipped:
    """The string in a buffer of UTF-8, or what is wrong with it."""
    if value.size > lines.MAX_LINE_BYTES:
        return Skipped(here, too_long(what))
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError as error:
        return Skipped(here, f"not valid UTF-8 (byte {error.start + 1} of the {what})")


def _with_list(here: Candidate, ids: Any) -> Candidate | Skipped:
    if len(ids) > MAX_TOKEN_IDS:
        return Skipped(here, f'"input_ids" holds more than {MAX_TOKEN_IDS} token ids')
    return with_token_ids(here, ids.as_py())


class _ArrowFile(io.RawIOBase):
    """A view as a file that Arrow can read from anywhere."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._at = 0
        self._kept: dict[int, bytes] = {}

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._view.size}[whence]
        self._at = max(origin + offset, 0)
        return self._at

    def read_at(self, offset: int, size: int) -> bytes:
        """So many bytes at an offset, or as many as there are."""
        self.seek(offset)
        return self.read(size)

    def read(self, size: int = -1) -> bytes:
        """All of the bytes that are asked for, unless the file ends before: Arrow does not ask again."""
        end = self._view.size if size < 0 else min(self._at + size, self._view.size)
        pieces = []
        while self._at < end:
            index, offset = divmod(self._at, BLOCK_BYTES)
            piece = self._block(index)[offset : offset + end - self._at]
            pieces.append(piece)
            self._at += len(piece)
        return b"".join(pieces)

    def _block(self, index: int) -> bytes:
        if index not in self._kept:
            while len(self._kept) >= BLOCKS_KEPT:
                self._kept.pop(next(iter(self._kept)))
            self._kept[index] = self._view.block(index)
        return self._kept[index]
