"""The tables of a report: what every format writes."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from audit_cli.records import AuditReport
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import Cells, Columns, cells_in_bits, columns
from audit_cli.reports.rows import finite, level_rows, main_rows, token_rows

_ROWS: dict[str, Callable[[AuditReport, Redaction], Iterator[Cells]]] = {
    "basins": main_rows,
    "entropy": main_rows,
    "extract": main_rows,
    "per-level": level_rows,
    "per-token": token_rows,
}


class Rows(Protocol):
    """Rows of cells under the same columns: all that most formats need of a table."""

    @property
    def columns(self) -> Columns:
        """The columns, in order."""

    def __iter__(self) -> Iterator[Cells]: ...


@dataclass(frozen=True)
class Table:
    """A table by its name in `columns.COLUMNS`; each iteration reads the report's results again.

    Every row has exactly the cells that `columns` names, in their order.
    """

    name: str
    report: AuditReport
    redaction: Redaction
    bits: bool = False

    @property
    def columns(self) -> Columns:
        return columns(self.name, self.bits)

    def __iter__(self) -> Iterator[Cells]:
        for cells in _ROWS[self.name](self.report, self.redaction):
            yield finite(cells_in_bits(cells) if self.bits else cells)
