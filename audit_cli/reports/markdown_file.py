"""Tables as Markdown, for people: the summary of a build server, a comment on a change. Not meant to be read back."""

from collections.abc import Callable, Iterator
from heapq import nsmallest
from itertools import islice
from typing import BinaryIO

from audit_cli.records import AuditReport, Basin, Verdict
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports import words
from audit_cli.reports.columns import Cells
from audit_cli.reports.legend import BASINS_LEGEND, ENTROPY_LEGEND, EXTRACTION_LEGEND
from audit_cli.reports.model import law_notes
from audit_cli.reports.tables import Table
from audit_cli.safetext import for_markdown

ROWS_SHOWN = 1000
CHARACTERS_SHOWN = 120
# Tables of texts; the others go text by text.
STRONGEST_FIRST = ("basins", "entropy", "extract")
LEGENDS = {"basins": BASINS_LEGEND, "entropy": ENTROPY_LEGEND, "extract": EXTRACTION_LEGEND}

# The header of a column, and what stands in a row's cell, safe in Markdown: strings through `_text`, numbers as
# they are.
Column = tuple[str, Callable[[Cells], str]]


def write_markdown(table: Table, file: BinaryIO) -> None:
    """A heading, what was found in numbers, a table of the thousand strongest rows with few columns, and what its
    words mean, in UTF-8.

    The model's own samples have no rows here: what they say of the model stands above the table.
    """
    for line in _lines(table):
        file.write(f"{line}\n".encode())


def _lines(table: Table) -> Iterator[str]:
    report = table.report
    yield f"# uddm-audit {report.run.command}: {for_markdown(report.model.name)}"
    for paragraph in _paragraphs(report, table.redaction):
        yield ""
        yield paragraph
    if not report.counts.given:
        return
    yield ""
    columns = _columns(table)
    yield _row(header for header, _ in columns)
    yield _row("---" for _ in columns)
    counted = _Counted(_given(table))
    ordered = table.name in STRONGEST_FIRST
    for cells in nsmallest(ROWS_SHOWN, counted, _strength) if ordered else islice(counted, ROWS_SHOWN):
        yield _row(show(cells) for _, show in columns)
    for _ in counted:
        pass
    if (left_out := counted.number - ROWS_SHOWN) > 0:
        yield ""
        yield f"… {left_out:,} more"
    if report.judged and table.name in STRONGEST_FIRST:
        yield ""
        legend = LEGENDS[report.run.command]
        others = "its twins" if report.run.settings.get("twins") else "held-out texts"
        for word, meaning in legend:
            yield f"- **{word}**: {meaning.format(others=others)}"


class _Counted:
    """Rows, counted as they pass."""

    def __init__(self, rows: Iterator[Cells]) -> None:
        self._rows, self.number = rows, 0

    def __iter__(self) -> Iterator[Cells]:
        for row in self._rows:
            self.number += 1
            yield row


def _given(table: Table) -> Iterator[Cells]:
    return (row for row in table if row.get("origin") != "generated")


def _strength(cells: Cells) -> tuple[float, float, float]:
    """Verdicts as a person reads them, strongest first, then q, then score; what has none comes last."""
    order = [str(verdict) for verdict in Verdict]
    rank = order.index(cells["verdict"]) if cells["verdict"] else len(order) + (cells["status"] == "skipped")
    return rank, 1.0 if cells["q_value"] is None else cells["q_value"], -(cells["score"] or 0.0)


def _row(cells: Iterator[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _text(text: str) -> str:
    """A string from outside: its beginning, safe in Markdown."""
    return for_markdown(text if len(text) <= CHARACTERS_SHOWN else text[: CHARACTERS_SHOWN - 1] + "…")


def _paragraphs(report: AuditReport, redaction: Redaction) -> Iterator[str]:
    """What is said above the table, each safe in Markdown."""
    if report.regime is not None:
        found = f"{report.regime.regime} (provisional)" if report.regime.regime else "no regime"
        yield f"The model: **{found}**. {for_markdown(report.regime.reason)}"
    if report.counts.given:
        yield f"**{_counts(report)}**"
        yield _compared(report)
        if told := words.unlike(report.heldout, redaction):
            yield f"Words that set the candidates apart from the held-out text: {for_markdown(told)}."
    for warning in (*law_notes(report), *report.warnings):
        yield f"Warning: {for_markdown(warning)}"
    yield f"Seed {report.run.settings['seed']}, settings {report.run.settings_id}, uddm-audit {report.run.version}."


def _counts(report: AuditReport) -> str:
    """2 memorized, 1 no evidence, 1 skipped, of 4 texts."""
    counts = report.counts
    judged = dict(counts.verdicts)
    kinds = [(judged.get(verdict, 0), str(verdict)) for verdict in Verdict]
    kinds.append((counts.measured - sum(judged.values()), "measured"))
    kinds += [(counts.duplicates, "duplicate"), (counts.skipped, "skipped")]
    said = ", ".join(f"{number:,} {kind}" for number, kind in kinds if number > 0)
    return f"{said}, of {counts.given:,} text{'s' * (counts.given != 1)}."


def _compared(report: AuditReport) -> str:
    if not report.judged:
        return "No verdict: there was no text to compare with that the model cannot have seen."
    held = ""
    if report.heldout is not None:
        kind = "" if report.heldout.fairness is None else f" ({report.heldout.fairness.grade})"
        held = f"Compared with {report.heldout.used:,} held-out texts{kind}. "
    if report.run.settings.get("twins"):
        held = f"Each compared with {report.run.settings['twins']:,} twins. "
    if report.reference_model is not None:
        held += f"Judged by surprise under {for_markdown(report.reference_model.name)} minus surprise. "
    return f"{held}At most {report.fdr:.0%} of findings are false on average."


def _columns(table: Table) -> list[Column]:
    """The few columns that a person reads, by the name of the table."""
    unit = words.unit(table.bits)
    return {
        "basins": lambda: [*_text_columns(table), *_verdict_columns(table), *_basin_columns(table.report, unit)],
        "entropy": lambda: [
            *_text_columns(table),
            *_verdict_columns(table),
            (f"entropy, {unit}/token", _decimal(f"entropy_{unit}")),
            (f"surprise, {unit}/token", _decimal(f"surprise_{unit}")),
            *_difference_column(table.report),
        ],
        "extract": lambda: [
            *_text_columns(table),
            *_verdict_columns(table),
            ("came back", lambda cells: "" if cells["exact"] is None else f"{cells['exact']} of {cells['restarts']}"),
            ("rank among fillings", _said("secret_rank")),
            ("restarts for 90 %", _said("restarts_for_90pct")),
            ("tokens right", _percent("recovered_share")),
            ("exposure, bits", _decimal("exposure_bits")),
        ],
        "per-level": lambda: [
            ("id", _said("id")),
            ("level", _decimal("level")),
            ("restarts", _said("restarts")),
            ("returned", _percent("returned")),
            ("recovery rate", _percent("recovery_rate")),
            ("unstable rate", _percent("unstable_rate")),
        ],
        "per-token": lambda: [
            ("id", _said("id")),
            ("position", _said("position")),
            ("token", _said("token")),
            (f"entropy, {unit}", _decimal(f"entropy_{unit}")),
            (f"surprise, {unit}", _decimal(f"surprise_{unit}")),
            ("rank", _said("rank")),
        ],
    }[table.name]()


def _text_columns(table: Table) -> list[Column]:
    """Which text it is: its id, and what may be shown of it."""
    show = table.redaction.show
    if show is ShowText.NONE:
        return [("id", _id)]
    name = "fingerprint" if show is ShowText.FINGERPRINT else "text"
    return [("id", _id), (name, _said(name))]


def _id(cells: Cells) -> str:
    """The id, and of a long text the first token of its strongest window."""
    at = f" +{cells['window_offset']:,}" if (cells["windows"] or 1) > 1 else ""
    return _text(str(cells["id"]) + at)


def _verdict_columns(table: Table) -> list[Column]:
    judged: list[Column] = [("q", _probability("q_value"))] if table.report.judged else []
    return [("verdict" if judged else "status", _verdict), *judged]


def _basin_columns(report: AuditReport, unit: str) -> list[Column]:
    def basin(cells: Cells) -> str:
        if cells["basin"] is None:
            return ""
        size = Basin(cells["basin"], cells["basin_low"], cells["basin_high"], cells["basin_censored"] or "", 0.0)
        return words.basin(size, report.levels)

    return [
        ("basin [95 %]", basin),
        ("returned", _percent("returned_share")),
        (f"surprise, {unit}/token", _decimal(f"surprise_{unit}")),
        *_difference_column(report),
    ]


def _difference_column(report: AuditReport) -> list[Column]:
    return [] if report.reference_model is None else [("difference, nats/token", _decimal("score"))]


def _verdict(cells: Cells) -> str:
    """The verdict, else what became of the text, and why."""
    said = cells["verdict"] or cells["status"]
    if said in (Verdict.MEMORIZED, Verdict.FAMILIAR):
        said = said.upper()
    if cells["duplicate_of"]:
        said += f" (same text as {_text(cells['duplicate_of'])})"
    reason = cells["skip_reason"] or cells["verdict_reason"]
    return f"{said}: {_text(reason)}" if reason else said


def _said(name: str) -> Callable[[Cells], str]:
    return lambda cells: "" if cells[name] is None else _text(str(cells[name]))


def _decimal(name: str) -> Callable[[Cells], str]:
    return lambda cells: "" if cells[name] is None else f"{cells[name]:.2f}"


def _percent(name: str) -> Callable[[Cells], str]:
    return lambda cells: "" if cells[name] is None else f"{cells[name]:.0%}"


def _probability(name: str) -> Callable[[Cells], str]:
    return lambda cells: "" if cells[name] is None else words.probability(cells[name])
