"""The formats of a gate's report. A new one is a file with its writer, and a line here."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from audit_cli.records import GateReport
from audit_cli.redaction import Redaction
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.gate.json_report import write_json
from audit_cli.reports.gate.junit import write_junit
from audit_cli.reports.gate.markdown import write_gate_markdown
from audit_cli.reports.gate.sarif import write_sarif
from audit_cli.reports.gate.table import GateTable
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.tables import Rows

Write = Callable[[GateReport, Redaction, BinaryIO], None]


@dataclass(frozen=True)
class GateFormat:
    """The suffixes, lower case, by which a path chooses the format, its writer, and whether `OUT.meta.json` belongs to
    it: the other formats say themselves who wrote them, within their first `MARK_WITHIN` bytes (see outputs.py)."""

    suffixes: tuple[str, ...]
    write: Write
    meta: bool


def _table(write: Callable[[Rows, BinaryIO], None]) -> Write:
    return lambda report, redaction, file: write(GateTable(report, redaction), file)


GATE_FORMATS: dict[str, GateFormat] = {
    "csv": GateFormat((".csv",), _table(write_csv), meta=True),
    "jsonl": GateFormat((".jsonl",), _table(write_jsonl), meta=True),
    "parquet": GateFormat((".parquet",), _table(write_parquet), meta=True),
    "markdown": GateFormat((".md", ".markdown"), write_gate_markdown, meta=False),
    "json": GateFormat((".json",), write_json, meta=False),
    "sarif": GateFormat((".sarif", ".sarif.json"), write_sarif, meta=False),
    "junit": GateFormat((".xml",), write_junit, meta=False),
}
