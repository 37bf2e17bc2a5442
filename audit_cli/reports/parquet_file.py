"""Tables as Parquet."""

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from audit_cli.reports.columns import Cells
from audit_cli.reports.tables import Rows
from audit_cli.safetext import encodable

GROUP_ROWS = 4096
# A row group is held in memory: a group of long texts ends before it has all its rows.
GROUP_CHARACTERS = 16_000_000


def write_parquet(table: Rows, file: BinaryIO) -> None:
    """Parquet with the types of the table's columns, whatever its first rows hold; strings as they are.

    Lone surrogates, which UTF-8 cannot hold, become visible escapes. What was not measured is null.
    """
    # Slow to load, and few runs write Parquet.
    import pyarrow as pa
    from pyarrow import parquet

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[kind]) for name, kind in table.columns.items()])
    with parquet.ParquetWriter(file, schema, compression="zstd") as writer:
        for group in _groups(table):
            writer.write_batch(pa.RecordBatch.from_pylist(group, schema=schema), row_group_size=GROUP_ROWS)


def _groups(rows: Iterable[Cells]) -> Iterator[list[Cells]]:
    """The rows, with strings that UTF-8 can hold, in lists that fit into memory."""
    group: list[Cells] = []
    characters = 0
    for row in rows:
        group.append({name: encodable(value) if isinstance(value, str) else value for name, value in row.items()})
        characters += sum(len(value) for value in row.values() if isinstance(value, str))
        if len(group) == GROUP_ROWS or characters >= GROUP_CHARACTERS:
            yield group
            group, characters = [], 0
    if group:
        yield group
