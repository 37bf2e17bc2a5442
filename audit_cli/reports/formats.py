"""The formats of tables. A new one is a file with its writer, and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.markdown_file import write_markdown
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.tables import Table


@dataclass(frozen=True)
class Format:
    """The suffixes, lower case, by which a path chooses the format, its writer, and whether `OUT.meta.json` belongs to
    it."""

    suffixes: tuple[str, ...]
    write: Callable[[Table, BinaryIO], None]
    meta: bool = True


FORMATS: dict[str, Format] = {
    "csv": Format((".csv",), write_csv),
    "jsonl": Format((".jsonl",), write_jsonl),
    "parquet": Format((".parquet",), write_parquet),
    "markdown": Format((".md", ".markdown"), write_markdown),
}
