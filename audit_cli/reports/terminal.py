"""Reports for a person at a terminal. Gives renderables; whoever holds the console prints them."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import VANISHING_NATS, AuditReport, HeldoutQuantile, LevelMeasurement, TextResult
from audit_cli.redaction import Redaction
from audit_cli.reports import words
from audit_cli.reports.legend import BASINS_LEGEND, ENTROPY_LEGEND
from audit_cli.reports.model import regime_report
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
    verdict_width,
    width_of,
)

NO_SURPRISE_BELOW, NO_CURVE_BELOW = 90, 88
# Cells of the columns beside the text, by the first word of their header.
BASINS_WIDTHS = {"returned": 21, "basin": 16, "surprise": 10, "difference": 10, "q": 6, "verdict": 14, "": 10}
ENTROPY_WIDTHS = {
    "entropy": 10,
    "surprise": 10,
    "difference": 10,
    "vanishing tokens": 16,
    "q": 6,
    "verdict": 14,
    "": 10,
}


def basins_report(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit basins`."""
    notes = Notes()
    yield from heading(report)
    if report.counts.given:
        yield basins_table(report, shown(report, show_all), redaction, width, notes, bits)
        yield from below(report, redaction, show_all, notes)
    if legend and report.judged:
        yield legend_of(report, notes, BASINS_LEGEND)
    elif legend:
        yield no_verdict(report)


def entropy_report(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit entropy`: texts, the model's own samples, or both."""
    notes = Notes()
    yield from heading(report)
    if report.counts.given:
        yield entropy_table(report, shown(report, show_all), redaction, width, notes, bits)
        yield from below(report, redaction, show_all, notes)
        if legend and report.judged:
            yield legend_of(report, notes, ENTROPY_LEGEND)
        elif legend:
            yield no_verdict(report)
    if report.regime is not None:
        yield regime_report(report.regime, report.given_entropy, legend, bits)


def basins_table(
    report: AuditReport, rows: Sequence[TextResult], redaction: Redaction, width: int, notes: Notes, bits: bool
) -> Table:
    """The table of basins with these of the report's results, and the held-out text below them."""
    judged = report.judged
    restarts = int(str(report.run.settings["restarts"]))
    surprise, curve = width >= NO_SURPRISE_BELOW, width >= NO_CURVE_BELOW
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    if curve:
        levels = words.columns([f"{level:.0%}" for level in report.levels])
        table.add_column(f"returned, of {restarts}, after\n{levels}", no_wrap=True)
    table.add_column("basin\n[95 %]", justify="center", no_wrap=True)
    if surprise:
        table.add_column("surprise\n" + words.unit(bits) + "/token", justify="right", no_wrap=True)
    difference = report.reference_model is not None
    if difference:
        table.add_column("difference\n" + words.unit(bits) + "/token", justify="right", no_wrap=True)
    if judged:
        table.add_column("q", justify="right", vertical="bottom", no_wrap=True)
        table.add_column("verdict", vertical="bottom", no_wrap=True)
    elif report.counts.skipped:
        table.add_column("", no_wrap=True)
    returned = max(21, words.LEVEL_CELLS * len(report.levels))
    room = width - width_of(table, BASINS_WIDTHS | {"returned": returned, "verdict": verdict_width(rows)})
    for result in rows:
        m = result.basin_measurement
        cells: list[str | Text] = [name_cell(result, redaction, room, notes)]
        if m is None:
            cells += [""] * (1 + curve + surprise)
        else:
            cells += [
                *([words.columns([_returned(x, restarts) for x in m.curve])] if curve else []),
                words.basin(result.basin, report.levels),
                *([words.nats(m.entropy.surprise_mean, bits)] if surprise else []),
            ]
            notes.extended |= curve and m.deciding.restarts > restarts
        cells += _difference(result, bits) if difference else []
        table.add_row(*cells, *(verdict_cells(result, notes) if judged else skip_note(result, notes)))
    if report.heldout is not None and report.heldout.median is not None:
        table.add_section()
        for name, quantile in _quantiles(report, room):
            basin = "" if quantile.basin is None else words.share_above(quantile.basin, report.levels)
            cells = [name, *([words.columns([f"{r:g}" for r in quantile.returned])] if curve else []), basin]
            cells += [words.nats(quantile.surprise, bits)] if surprise else []
            table.add_row(*cells, *([words.nats(quantile.score, bits)] if difference else []), style="dim")
    return table


def _returned(measured: LevelMeasurement, restarts: int) -> str:
    """How many returned; of how many, where it is not the number in the header."""
    of = f"/{measured.restarts}" if measured.restarts > restarts else ""
    return f"{measured.returned}{of}"


def entropy_table(
    report: AuditReport, rows: Sequence[TextResult], redaction: Redaction, width: int, notes: Notes, bits: bool
) -> Table:
    """The table of entropies with these of the report's results, and the held-out text below them."""
    judged = report.judged
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    table.add_column("entropy\n" + words.unit(bits) + "/token", justify="right", no_wrap=True)
    table.add_column("surprise\n" + words.unit(bits) + "/token", justify="right", no_wrap=True)
    difference = report.reference_model is not None
    if difference:
        table.add_column("difference\n" + words.unit(bits) + "/token", justify="right", no_wrap=True)
    else:
        table.add_column(f"vanishing tokens\n< {words.nats(VANISHING_NATS, bits)} {words.unit(bits)}", no_wrap=True)
    if judged:
        table.add_column("q", justify="right", vertical="bottom", no_wrap=True)
        table.add_column("verdict", vertical="bottom", no_wrap=True)
    elif report.counts.skipped:
        table.add_column("", no_wrap=True)
    room = width - width_of(table, ENTROPY_WIDTHS | {"verdict": verdict_width(rows)})
    for result in rows:
        m = result.entropy
        cells: list[str | Text] = [name_cell(result, redaction, room, notes)]
        if m is None:
            cells += ["", "", ""]
        else:
            cells += [words.nats(m.entropy_mean, bits), words.nats(m.surprise_mean, bits)]
            cells += _difference(result, bits) if difference else [words.share_bar(m.vanishing_share)]
        table.add_row(*cells, *(verdict_cells(result, notes) if judged else skip_note(result, notes)))
    if report.heldout is not None and report.heldout.median is not None:
        table.add_section()
        for name, quantile in _quantiles(report, room):
            table.add_row(
                name,
                words.nats(quantile.entropy, bits),
                words.nats(quantile.surprise, bits),
                words.nats(quantile.score, bits) if difference else words.share_bar(quantile.vanishing_share),
                style="dim",
            )
    return table


def _difference(result: TextResult, bits: bool) -> list[str | Text]:
    """The score against a reference model, in nats or bits a token."""
    return ["" if result.judgement is None else words.nats(result.judgement.score, bits)]


def _quantiles(report: AuditReport, room: int) -> Iterator[tuple[str, HeldoutQuantile]]:
    held = report.heldout
    if held is not None and held.median is not None and held.best_hundredth is not None:
        names = ("held-out, median", "held-out, best 1 in 100") if room >= 23 else ("median", "best 1 %")
        yield from zip(names, (held.median, held.best_hundredth), strict=True)
