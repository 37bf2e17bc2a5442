"""The table of a gate: a row a text of all sets."""

from collections.abc import Iterator
from dataclasses import dataclass

from audit_cli.records import GateReport, SetReport, TextResult
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import COLUMNS, Cells, Columns
from audit_cli.reports.gate.findings import all_texts
from audit_cli.reports.rows import finite, result_cells


@dataclass(frozen=True)
class GateTable:
    """A row a text of all sets, under the same columns whatever was measured; each iteration reads the results again.

    Entropies are in nats.
    """

    report: GateReport
    redaction: Redaction

    @property
    def columns(self) -> Columns:
        """The columns, in order."""
        return COLUMNS["check"]

    def __iter__(self) -> Iterator[Cells]:
        for one, result in all_texts(self.report):
            yield gate_cells(one, result, self.redaction)


def gate_cells(one: SetReport, result: TextResult, redaction: Redaction) -> Cells:
    """A text's row: exactly the cells of `COLUMNS["check"]`, in their order."""
    known, entropy = result.known, result.entropy
    # The cells of `basins` are empty where it did not run, but for the surprise, which `entropy` measures as well.
    cells = result_cells("basins", one.report.run.settings_id, result, redaction)
    if result.basin_measurement is None and entropy is not None:
        cells["nfe"] = entropy.evaluations
    cells |= {
        "set": one.name,
        "failing": result.failing,
        "known": known is not None,
        "known_reason": known.reason if known else None,
        "known_author": known.author if known else None,
        "known_expires": (known.expires or None) if known else None,
        "expired": result.expired is not None,
        "entropy_nats": entropy.entropy_mean if entropy else None,
    }
    return finite({name: cells[name] for name in COLUMNS["check"]})
