"""Tables as Markdown, for people: the summary of a build server, a comment on a change. Not meant to be read back."""

from collections.abc import Callable, Iterable, Iterator
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

# The header of a column, and what stands in a row's cell, safe in Markdown: strings through `shown`, numbers as
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
    yield row(header for header, _ in columns)
    yield row("---" for _ in columns)
    counted = _Counted(_given(table))
    ordered = table.name in STRONGEST_FIRST
    for cells in nsmallest(ROWS_SHOWN, counted, strength) if ordered else islice(counted, ROWS_SHOWN):
        yield row(show(cells) for _, show in columns)
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


def strength(cells: Cells) -> tuple[float, float, float]:
    """Verdicts as a person reads them, strongest first, then q, then score; what has none comes last."""
    order = [str(verdict) for verdict in Verdict]
    rank = order.index(cells["verdict"]) if cells["verdict"] else len(order) + (cells["status"] == "skipped")
    return rank, 1.0 if cells["q_value"] is None else cells["q_value"], -(cells["score"] or 0.0)


def row(cells: Iterable[str]) -> str:
    """A row of a table."""
    return "| " + " | ".join(cells) + " |"


def shown(text: str, most: int = CHARACTERS_SHOWN) -> str:
    """A string from outside: its beginning, safe in Markdown."""
    return for_markdown(text if len(text) <= most else text[: most - 1] + "…")


def _paragraphs(report: AuditReport, redaction: Redaction) -> Iterator[str]:
    """What is said above the table, each safe in Markdown."""
    if report.regime is not None:
        found = str(report.regime.regime or "no regime")
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
        "basins": lambda: [
            *text_columns(table.redaction),
            *_verdict_columns(table),
            *_basin_columns(table.report, unit),
        ],
        "entropy": lambda: [
            *text_columns(table.redaction),
            *_verdict_columns(table),
            (f"entropy, {unit}/token", decimal(f"entropy_{unit}")),
            (f"surprise, {unit}/token", decimal(f"surprise_{unit}")),
            *_difference_column(table.report),
        ],
        "extract": lambda: [
            *text_columns(table.redaction),
            *_verdict_columns(table),
            ("came back", lambda cells: "" if cells["exact"] is None else f"{cells['exact']} of {cells['restarts']}"),
            ("rank among fillings", said("secret_rank")),
            ("restarts for 90 %", said("restarts_for_90pct")),
            ("tokens right", percent("recovered_share")),
            ("exposure, bits", decimal("exposure_bits")),
        ],
        "per-level": lambda: [
            ("id", said("id")),
            ("level", decimal("level")),
            ("restarts", said("restarts")),
            ("returned", percent("returned")),
            ("recovery rate", percent("recovery_rate")),
            ("unstable rate", percent("unstable_rate")),
        ],
        "per-token": lambda: [
            ("id", said("id")),
            ("position", said("position")),
            ("token", said("token")),
            (f"entropy, {unit}", decimal(f"entropy_{unit}")),
            (f"surprise, {unit}", decimal(f"surprise_{unit}")),
            ("rank", said("rank")),
        ],
    }[table.name]()


def text_columns(redaction: Redaction) -> list[Column]:
    """Which text it is: its id, and what may be shown of it."""
    show = redaction.show
    if show is ShowText.NONE:
        return [("id", _id)]
    name = "fingerprint" if show is ShowText.FINGERPRINT else "text"
    return [("id", _id), (name, said(name))]


def _id(cells: Cells) -> str:
    """The id, and of a long text the first token of its strongest window."""
    at = f" +{cells['window_offset']:,}" if (cells["windows"] or 1) > 1 else ""
    return shown(str(cells["id"]) + at)


def _verdict_columns(table: Table) -> list[Column]:
    judged: list[Column] = [("q", probability("q_value"))] if table.report.judged else []
    return [("verdict" if judged else "status", verdict), *judged]


def _basin_columns(report: AuditReport, unit: str) -> list[Column]:
    def basin(cells: Cells) -> str:
        if cells["basin"] is None:
            return ""
        size = Basin(cells["basin"], cells["basin_low"], cells["basin_high"], cells["basin_censored"] or "", 0.0)
        return words.basin(size, report.levels)

    return [
        ("basin [95 %]", basin),
        ("returned", percent("returned_share")),
        (f"surprise, {unit}/token", decimal(f"surprise_{unit}")),
        *_difference_column(report),
    ]


def _difference_column(report: AuditReport) -> list[Column]:
    return [] if report.reference_model is None else [("difference, nats/token", decimal("score"))]


def verdict(cells: Cells) -> str:
    """The verdict, else what became of the text, and why."""
    said = cells["verdict"] or cells["status"]
    if said in (Verdict.MEMORIZED, Verdict.FAMILIAR):
        said = said.upper()
    if cells["duplicate_of"]:
        said += f" (same text as {shown(cells['duplicate_of'])})"
    reason = cells["skip_reason"] or cells["verdict_reason"]
    return f"{said}: {shown(reason)}" if reason else said


def said(name: str) -> Callable[[Cells], str]:
    """A cell as it is, safe in Markdown; empty where nothing was measured."""
    return lambda cells: "" if cells[name] is None else shown(str(cells[name]))


def decimal(name: str) -> Callable[[Cells], str]:
    """Two decimals."""
    return lambda cells: "" if cells[name] is None else f"{cells[name]:.2f}"


def percent(name: str) -> Callable[[Cells], str]:
    """Per cent."""
    return lambda cells: "" if cells[name] is None else f"{cells[name]:.0%}"


def probability(name: str) -> Callable[[Cells], str]:
    """Two significant digits."""
    return lambda cells: "" if cells[name] is None else words.probability(cells[name])
