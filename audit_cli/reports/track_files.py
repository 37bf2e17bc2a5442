"""A track as files: a row a checkpoint, a summary in Markdown, provenance, and a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from audit_cli.records import Interval, TrackReport, TrackRow
from audit_cli.reports import words
from audit_cli.reports.columns import SCHEMA, Cells, Columns, cells_in_bits, columns
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.markdown_file import Column, decimal, probability, row, said
from audit_cli.reports.metadata import dumped, plain
from audit_cli.reports.outputs import MARK, MARK_WITHIN, Output, OutputError, check_file
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.rows import finite
from audit_cli.reports.track import conclusion, short_names
from audit_cli.safetext import for_markdown, for_terminal

PLAIN = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}
PICTURES = (".svg", ".png")


@dataclass(frozen=True)
class TrackTable:
    """The table of `columns.TRACK_COLUMNS`: a row a checkpoint."""

    found: TrackReport
    bits: bool = False

    @property
    def columns(self) -> Columns:
        return columns("track", self.bits)

    def __iter__(self) -> Iterator[Cells]:
        found = self.found
        for one in found.rows:
            cells: Cells = dict.fromkeys(columns("track", False)) | _cells(one)
            cells |= {"schema": SCHEMA, "settings_id": found.run.settings_id}
            cells |= {"texts": found.texts, "heldout": found.heldout} if one.look else {}
            yield finite(cells_in_bits(cells) if self.bits else cells)


def _cells(one: TrackRow) -> Cells:
    return {
        "checkpoint": one.name,
        "status": "measured" if one.look else "skipped",
        "skip_reason": one.reason or None,
        "weights_sha256": one.weights_sha256 or None,
        "look": one.look or None,
        **_interval("entropy", "_nats", one.entropy),
        "entropy_text_nats": one.entropy_text,
        "entropy_heldout_nats": one.entropy_heldout,
        "surprise_text_nats": one.surprise_text,
        "surprise_heldout_nats": one.surprise_heldout,
        **_interval("gap", "_nats", one.gap),
        "recovery_text": one.recovery_text,
        "recovery_heldout": one.recovery_heldout,
        **_interval("recovery_gap", "", one.recovery_gap),
        "p_value": one.p_value,
        "p_allowed": one.bound,
        "significant": one.significant if one.p_value is not None else None,
        "untested_reason": one.untested or None,
        "nfe": one.evaluations if one.look else None,
    }


def _interval(name: str, unit: str, found: Interval | None) -> Cells:
    if found is None:
        return {}
    return {f"{name}{unit}": found.value, f"{name}_low{unit}": found.low, f"{name}_high{unit}": found.high}


def write_track_table(table: TrackTable, format: str, file: BinaryIO) -> None:
    """Write the table in one of the formats; as Markdown with few columns, in UTF-8."""
    if format != "markdown":
        PLAIN[format](table, file)
        return
    for line in _markdown(table):
        file.write(f"{line}\n".encode())


def _markdown(table: TrackTable) -> Iterator[str]:
    found, unit = table.found, words.unit(table.bits)
    how = f"Settings {found.run.settings_id}, uddm-audit {found.run.version}."
    yield "# uddm-audit track"
    for paragraph in (for_markdown(conclusion(found)), *map(for_markdown, found.warnings), how):
        yield ""
        yield paragraph
    yield ""

    def known(cells: Cells) -> str:
        why = cells["skip_reason"] or cells["untested_reason"]
        return for_markdown(why) if why else "yes" if cells["significant"] else "no"

    shown: list[Column] = [
        ("checkpoint", said("checkpoint")),
        (f"own entropy, {unit}/token", decimal(f"entropy_{unit}")),
        (f"surprise of the text, {unit}/token", decimal(f"surprise_text_{unit}")),
        ("of held-out text", decimal(f"surprise_heldout_{unit}")),
        ("gap", decimal(f"gap_{unit}")),
        ("from", decimal(f"gap_low_{unit}")),
        ("to (95 %)", decimal(f"gap_high_{unit}")),
        ("recovery of the text", decimal("recovery_text")),
        ("of held-out text", decimal("recovery_heldout")),
        ("p", probability("p_value")),
        ("allowed", probability("p_allowed")),
        ("better known", known),
    ]
    yield row(header for header, _ in shown)
    yield row("---" for _ in shown)
    for cells in table:
        yield row(show(cells) for _, show in shown)


def track_metadata(found: TrackReport) -> str:
    """The provenance as JSON, ASCII only, with an end of line."""
    run, fair = found.run, found.fairness
    first = found.first
    facts: dict[str, Any] = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": found.model,
        "reference_model": found.reference_model,
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "alpha": found.alpha,
        "looks_planned": found.planned,
        "level": found.level,
        "counts": {
            "checkpoints": len(found.rows),
            "measured": len(found.measured),
            "skipped": len(found.rows) - len(found.measured),
            "texts": found.texts,
            "heldout": found.heldout,
        },
        # Its words are text, and stay out.
        "comparability": {k: v for k, v in plain(fair).items() if k != "words"},
        "first_significant": None if first is None else first.name,
        "conclusion": conclusion(found),
        "warnings": found.warnings,
    }
    return dumped(facts, indent=2) + "\n"


def check_figure(path: Path, read: Sequence[Path], outputs: Sequence[Output]) -> None:
    """Raise OutputError unless a picture can be written to `path`: an SVG or PNG that is new or replaces one of ours,
    none of the files that are `read` and none that the `outputs` stand for."""
    if path.suffix.lower() not in PICTURES:
        raise OutputError(f"{path}: pictures are SVG or PNG: give a name that ends in .svg or .png")
    check_file(path, b"", read)
    for output in outputs:
        if any(path.resolve() == other.resolve() for other in (output.path, output.meta)):
            raise OutputError(f"{path}: would be written twice")
    if path.exists():
        with path.open("rb") as file:
            if MARK not in file.read(MARK_WITHIN):
                raise OutputError(f"{path}: is there and was not written by uddm-audit; give another --figure")


def write_figure(found: TrackReport, kind: str, file: BinaryIO) -> None:
    """Gap, recovery and entropy of the checkpoints in their order, as "svg" or "png"; the same bytes every time.

    Raises ModuleNotFoundError without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    rows = [(one, name) for one, name in zip(found.rows, short_names(found.rows), strict=True) if one.look]
    at = range(len(rows))
    # Text stays text, and no ids or dates change from run to run. A name may hold what begins a formula.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "uddm-audit", "text.parse_math": False}
    with mpl.rc_context(style):
        figure = Figure(figsize=(max(6.0, min(16.0, 1.5 + 0.5 * len(rows))), 7), layout="constrained")
        panels = figure.subplots(3, 1, sharex=True)
        gaps = [one.gap for one, _ in rows if one.gap is not None]
        recovery = [[one.recovery_text for one, _ in rows], [one.recovery_heldout for one, _ in rows]]
        entropy = [one.entropy for one, _ in rows]
        panels[0].plot(at, [gap.value for gap in gaps], marker="o", markersize=4)
        panels[0].fill_between(at, [gap.low for gap in gaps], [gap.high for gap in gaps], alpha=0.2)
        panels[0].axhline(0, color="0.4", linewidth=0.8)
        panels[0].set_title("surprise of held-out text minus that of the text, nats a token", fontsize=10)
        for label, values in zip(("text", "held-out text"), recovery, strict=True):
            panels[1].plot(at, values, marker="o", markersize=4, label=label)
        panels[1].set_title(f"recovery after {found.level:.0%} corruption", fontsize=10)
        panels[1].set_ylim(-0.02, 1.02)
        panels[1].legend(fontsize=8)
        own = [float("nan") if one is None else one.value for one in entropy]
        panels[2].plot(at, own, marker="o", markersize=4)
        panels[2].set_title("entropy of the model's own texts, nats a token", fontsize=10)
        panels[2].set_xticks(at, [for_terminal(name) for _, name in rows], rotation=45, ha="right", fontsize=8)
        first = next((i for i, (one, _) in enumerate(rows) if one.significant), None)
        for panel in panels:
            panel.grid(alpha=0.3)
            if first is not None:
                panel.axvline(first, color="C3", linestyle="--", linewidth=1)
        made = {"Date": None, "Creator": "uddm-audit"} if kind == "svg" else {"Software": "uddm-audit"}
        figure.savefig(file, format=kind, dpi=150, metadata=made)
