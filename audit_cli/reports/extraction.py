"""The report of `uddm-audit extract` at a terminal."""

import math
from collections.abc import Iterator
from functools import partial

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import AuditReport, ExtractionMeasurement, Interval
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports import words
from audit_cli.reports.legend import EXTRACTION_LEGEND
from audit_cli.reports.parts import (
    RULED,
    Notes,
    below,
    heading,
    legend_of,
    name_cell,
    no_verdict,
    shown,
    skip_note,
    verdict_cells,
    width_of,
)
from audit_cli.reports.rows import exposure_bits
from audit_cli.safetext import for_terminal
from audit_cli.statistics.intervals import wilson
from audit_cli.statistics.recoverability import tries_needed

# Cells of the columns beside the text, by the first word of their header.
WIDTHS = {"came back": 18, "rank of": 8, "restarts": 16, "tokens": 6, "exposure": 8, "q": 6, "verdict": 14, "": 10}
NO_TOKENS_BELOW, NO_RESTARTS_BELOW = 110, 96


def extraction_report(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit extract`; `bits` changes nothing: exposure is in bits always."""
    notes = Notes()
    yield from heading(report)
    if report.counts.given:
        yield _table(report, redaction, width, show_all, notes)
        if redaction.show is ShowText.FULL:
            yield from _recovered(report, redaction, show_all)
        yield from below(report, redaction, show_all, notes)
    if legend and report.judged:
        yield legend_of(report, notes, EXTRACTION_LEGEND)
    elif legend:
        yield no_verdict(report)


def _table(report: AuditReport, redaction: Redaction, width: int, show_all: bool, notes: Notes) -> Table:
    judged = report.judged
    tokens, restarts = width >= NO_TOKENS_BELOW, width >= NO_RESTARTS_BELOW
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    right = partial(table.add_column, justify="right", no_wrap=True)
    right(f"came back\nof {report.run.settings['restarts']} [95 %]")
    right("rank of\nfillings")
    if restarts:
        right("restarts\nfor 90 % [95 %]")
    if tokens:
        right("tokens\nright")
    if judged:
        right("exposure\nbits")
        right("q", vertical="bottom")
        table.add_column("verdict", vertical="bottom", no_wrap=True)
    elif report.counts.skipped:
        table.add_column("", no_wrap=True)
    room = width - width_of(table, WIDTHS)
    for result in shown(report, show_all):
        m, exposure = result.extraction, exposure_bits(result)
        cells: list[str | Text] = [name_cell(result, redaction, room, notes)]
        cells += _cells(m, restarts, tokens) if m else [""] * (2 + restarts + tokens)
        cells += ["" if exposure is None else f"{exposure:.1f}"] if judged else []
        table.add_row(*cells, *(verdict_cells(result, notes) if judged else skip_note(result, notes)))
    return table


def _cells(m: ExtractionMeasurement, restarts: bool, tokens: bool) -> list[str]:
    share = wilson(m.exact, m.restarts)
    rank = "-" if m.rank is None else f"{m.rank:,}/{m.fillings:,}"
    return [
        f"{m.exact} [{words.share(share.low)}, {words.share(share.high)}]",
        rank,
        *([_tries(tries_needed(m.exact, m.restarts, 0.9))] if restarts else []),
        *([f"{m.recovered_share:.0%}"] if tokens else []),
    ]


def _tries(needed: Interval) -> str:
    """18 [4, 102]; where no restart was exact only the least number is known: >= 40."""
    if math.isinf(needed.value):
        return f">= {needed.low:,.0f}"
    return f"{needed.value:,.0f} [{needed.low:,.0f}, {needed.high:,.0f}]"


def _recovered(report: AuditReport, redaction: Redaction, show_all: bool) -> Iterator[RenderableType]:
    """What came back most often, of those shown; it may be another person's secret."""
    grid = Table.grid(padding=(0, 2))
    for result in shown(report, show_all):
        m = result.extraction
        if m is not None and result.recovered_text is not None:
            text = for_terminal(redaction.text(result.recovered_text))
            grid.add_row(Text(f" {for_terminal(result.candidate.id)}"), Text(f"{m.most_frequent}x"), Text(text, "cyan"))
    if grid.row_count:
        yield Text("\n What came back most often:")
        yield grid
