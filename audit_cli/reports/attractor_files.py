"""Runs of `attractors` as files: rows of cells, a summary in Markdown, and provenance."""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import nsmallest
from typing import BinaryIO

from audit_cli.records import AttractorGroup, AttractorMeasurement, AttractorReport, AttractorResult, LawCheck
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports import words
from audit_cli.reports.columns import SCHEMA, Cells, Columns, cells_in_bits, columns
from audit_cli.reports.markdown_file import ROWS_SHOWN, Column, decimal, row, said, text_columns, verdict
from audit_cli.reports.metadata import dumped
from audit_cli.reports.model import law_notes
from audit_cli.reports.ranked import PLAIN, interval
from audit_cli.reports.rows import finite, shown_text
from audit_cli.safetext import for_markdown

COPIES = "What stands there speaks for itself: that a text is a fixed point of this network tells little."
NO_VERDICT = (
    "No verdict: whether a text lies deeper than unseen text of its kind, `uddm-audit basins` and `uddm-audit entropy` "
    "judge, with --heldout."
)


@dataclass(frozen=True)
class AttractorTable:
    """A row a text, in the order of the texts; each iteration reads the report's results again."""

    found: AttractorReport
    redaction: Redaction
    bits: bool = False

    @property
    def columns(self) -> Columns:
        return columns("attractors", self.bits)

    def __iter__(self) -> Iterator[Cells]:
        blank = dict.fromkeys(columns("attractors", False)) | {
            "schema": SCHEMA,
            "settings_id": self.found.run.settings_id,
        }
        for result in self.found.results:
            cells = blank | _text_cells(result, self.redaction) | _measured_cells(result, self.redaction)
            yield finite(cells_in_bits(cells) if self.bits else cells)


def _text_cells(result: AttractorResult, redaction: Redaction) -> Cells:
    return {
        "source": result.candidate.source,
        "line": result.candidate.line,
        "id": result.candidate.id,
        "fingerprint": result.fingerprint or None,
        "duplicate_of": result.duplicate_of or None,
        "windows": result.windows,
        "window_offset": result.window_offset,
        "tokens": result.tokens,
        "status": str(result.status),
        "skip_reason": result.skip_reason or None,
        "text": shown_text(redaction, result.candidate.text),
    }


def _measured_cells(result: AttractorResult, redaction: Redaction) -> Cells:
    measured, share = result.measurement, result.returned
    if measured is None:
        return {}
    survived = measured.survived
    return {
        "window_tokens": measured.tokens,
        "fixed_point": measured.fixed_point,
        "energy_nats": measured.energy,
        "energy_mean_nats": measured.energy_mean,
        "smallest_margin_nats": measured.smallest_margin,
        # Of the whole text, not of its window.
        "smallest_margin_position": (result.window_offset or 0) + measured.margin_position,
        # What the model would rather say may be somebody's text, too.
        "rival": result.rival if redaction.show is ShowText.FULL else None,
        "restarts": measured.restarts,
        "flips_survived": survived,
        "flips_survived_share": None if survived is None else survived / measured.tokens,
        "returned": measured.returned(survived) if survived else None,
        "returned_share": share.value if share else None,
        "returned_low": share.low if share else None,
        "returned_high": share.high if share else None,
        "returned_one_more": None if survived is None else measured.returned(survived + 1),
        "changed_tokens": measured.changed,
        "falls_to_tokens": measured.distance,
        "falls_to_period": measured.period,
        "nfe": measured.evaluations,
    }


def depth(result: AttractorResult) -> tuple[int, float, float]:
    """The deepest first, what was not measured last."""
    if result.measurement is None:
        return 1, 0.0, 0.0
    flips, margin = result.measurement.depth
    return 0, -flips, -margin


def notes(found: AttractorReport) -> list[str]:
    """What a person should know of the law before she reads the numbers."""
    return [*law_notes(found), *([] if found.law.check is LawCheck.CONFIRMED else [COPIES])]


def summary(found: AttractorReport) -> list[str]:
    """What a run found, a sentence each."""
    said_of = fixed_words(found.given, "text")
    if found.heldout is not None:
        said_of += f"; {fixed_words(found.heldout, 'held-out text')}"
    gone = [f"{found.given.duplicates:,} duplicate"] if found.given.duplicates else []
    gone += [f"{found.given.skipped:,} skipped"] if found.given.skipped else []
    gone += [f"{found.heldout.skipped:,} held-out skipped"] if found.heldout and found.heldout.skipped else []
    return [f"{said_of}.", *([", ".join(gone) + "."] if gone else []), NO_VERDICT]


def fixed_words(group: AttractorGroup, what: str) -> str:
    """3 of 4 texts are fixed points, .75 [.30, .95]"""
    of = f"{group.fixed_points:,} of {group.measured:,} {what}s {'is a' if group.fixed_points == 1 else 'are'}"
    points = f"{of} fixed point{'s' * (group.fixed_points != 1)}"
    return points if group.fixed_share is None else f"{points}, {interval(group.fixed_share)}"


def falls_to(measured: AttractorMeasurement) -> str:
    """itself; 24; 24 (cycle 4); 24 (moving)"""
    if measured.fixed_point:
        return "itself"
    if measured.period is None:
        return f"{measured.distance:,} (moving)"
    return f"{measured.distance:,}" + ("" if measured.period == 1 else f" (cycle {measured.period:,})")


def flips_words(survived: int | None, tokens: int) -> str:
    """18 of 30; - for what is no fixed point"""
    return "-" if survived is None else f"{survived:,} of {tokens:,}"


def write_attractors_table(table: AttractorTable, format: str, file: BinaryIO) -> None:
    """Write the table in one of the formats; as Markdown the thousand deepest texts with few columns, in UTF-8."""
    if format != "markdown":
        PLAIN[format](table, file)
        return
    for line in _markdown(table):
        file.write(f"{line}\n".encode())


def _markdown(table: AttractorTable) -> Iterator[str]:
    found = table.found
    yield f"# uddm-audit attractors: {for_markdown(found.model.name)}"
    how = f"Settings {found.run.settings_id}, uddm-audit {found.run.version}."
    for paragraph in (*map(for_markdown, (*notes(found), *summary(found))), how):
        yield ""
        yield paragraph
    yield ""
    shown = _markdown_columns(table)
    yield row(header for header, _ in shown)
    yield row("---" for _ in shown)
    for cells in nsmallest(ROWS_SHOWN, table, _cells_depth):
        yield row(show(cells) for _, show in shown)
    if (left_out := len(found.results) - ROWS_SHOWN) > 0:
        yield ""
        yield f"… {left_out:,} more"


def _cells_depth(cells: Cells) -> tuple[int, float, float]:
    margin = next(value for name, value in cells.items() if name.startswith("smallest_margin_"))
    flips = -1 if cells["flips_survived"] is None else cells["flips_survived"]
    return cells["restarts"] is None, -flips, -(margin or 0.0)


def _markdown_columns(table: AttractorTable) -> list[Column]:
    unit = words.unit(table.bits)

    def flips(cells: Cells) -> str:
        return "" if cells["restarts"] is None else flips_words(cells["flips_survived"], cells["window_tokens"])

    def returned(cells: Cells) -> str:
        return "" if cells["returned"] is None else f"{cells['returned']} of {cells['restarts']}"

    return [
        *text_columns(table.redaction),
        ("status", _status),
        ("fixed point", said("fixed_point")),
        (f"energy, {unit}/token", decimal(f"energy_mean_{unit}")),
        (f"smallest margin, {unit}", decimal(f"smallest_margin_{unit}")),
        ("flips survived", flips),
        ("returned", returned),
        ("one step changes", said("changed_tokens")),
        ("falls to, tokens away", said("falls_to_tokens")),
        ("cycle of", said("falls_to_period")),
    ]


def _status(cells: Cells) -> str:
    return verdict(cells | {"verdict": None, "verdict_reason": None})


def attractors_metadata(found: AttractorReport) -> str:
    """The provenance as JSON, ASCII only, with an end of line."""
    run = found.run
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": found.model,
        "law_check": {"contrast": found.law.contrast, "result": found.law.check, "probes": found.law.probes},
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "texts": found.given,
        "heldout": found.heldout,
        "warnings": notes(found),
    }
    return dumped(facts, indent=2) + "\n"
