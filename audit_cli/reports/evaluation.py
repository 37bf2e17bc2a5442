"""What `uddm-audit evaluate` says: every score side by side, as a table, as rows of cells, and as ROC curves."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import Evaluation, Interval, Operating, ScoreReport
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports import words
from audit_cli.reports.columns import EVALUATION_COLUMNS, SCHEMA, Cells, Columns
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.metadata import plain
from audit_cli.reports.model import law_words
from audit_cli.reports.outputs import Output, OutputError, check_file
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.parts import RULED
from audit_cli.reports.rows import finite
from audit_cli.safetext import for_markdown, for_terminal
from audit_cli.verdicts.recipes import ALL

# Below so many cells intervals are left out.
NO_INTERVALS_BELOW = 78
CURVES = 8
# Scores that compare with a second model.
OF_A_REFERENCE = {recipe.name for recipe in ALL if recipe.asks_reference}
# What says of a picture that it is one of ours, within so many bytes.
SVG_OURS, SVG_WITHIN = b"<dc:title>uddm-audit</dc:title>", 4096
PER_TEXT = "per-text"
PLAIN = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}
LEGEND = [
    ("AUC", "probability that a member scores above a held-out text: 1 tells all apart, .5 none"),
    (
        "TPR at 1 %",
        "share of members above the score that 1 % of held-out texts exceed; [95 %, by bootstrap over both]",
    ),
    ("too few", "fewer than 10 held-out texts decide that threshold: another sample would move it"),
    ("", "What this audit can detect in this model; another model, or another kind of text, may differ."),
]


def evaluation_report(found: Evaluation, width: int, legend: bool) -> RenderableType:
    """The table for a person at a terminal."""
    table = Table(box=RULED, pad_edge=False, show_edge=True, header_style="")
    table.add_column("score", no_wrap=True)
    intervals = width >= NO_INTERVALS_BELOW
    table.add_column("AUC", no_wrap=True)
    for rate in _rates(found):
        table.add_column(f"TPR at {100 * rate:g} %", no_wrap=True)
    best = max((report.auc.value for report in found.reports), default=0.0)
    for report in found.reports:
        table.add_row(
            Text(report.name),
            Text(_value(report.auc, intervals, 3), "bold" if report.auc.value == best else ""),
            *(Text(_point(point, intervals)) for point in report.points),
        )
    parts: list[RenderableType] = [_heading(found), table]
    missing = [name for name in found.recipes if name not in {report.name for report in found.reports}]
    asking = [name for name in missing if name in OF_A_REFERENCE and found.reference_model is None]
    others = [name for name in missing if name not in asking]
    if others:
        parts.append(Text(f" not measured: {', '.join(others)}"))
    if asking:
        parts.append(Text(f" not measured: {', '.join(asking)} (they ask a --reference-model)"))
    if legend:
        entries = [(report.name, report.told) for report in found.reports] + LEGEND
        widest = max(len(word) for word, _ in entries)
        parts += [Text(), *(Text(f"{word:{widest}}  {meaning}") for word, meaning in entries)]
    return Group(*parts)


def _heading(found: Evaluation) -> RenderableType:
    model, run = found.model, found.run
    grid = Table.grid(padding=(0, 2, 0, 0))
    check = law_words(model.law, found.law)
    grid.add_row(
        Text("Model", "bold"),
        Text(
            f"{for_terminal(model.name)}   {words.count(model.parameters)} parameters, V {model.vocab_size:,}, "
            f"L {model.max_length}, {check}, {model.weights} weights",
            overflow="fold",
        ),
    )
    left_out = [
        f"{count:,} {why}"
        for count, why in (
            (found.duplicates, "duplicates"),
            (found.near_duplicates, "held-out texts like a member"),
            (found.too_short, "too short"),
            (found.skipped, "skipped"),
        )
        if count
    ]
    settings = run.settings
    reference = "" if found.reference_model is None else f", reference model {for_terminal(found.reference_model.name)}"
    steps = "" if settings["steps"] is None else f", {settings['steps']} steps"
    grid.add_row(
        Text("Run", "bold"),
        Text(
            f"{_counted(found.members, 'member')}, {found.others:,} held-out"
            + (f" ({', '.join(left_out)} left out)" if left_out else "")
            + f"{reference}, {_counted(settings['restarts'], 'restart')}{steps}, seed {settings['seed']}, "
            + words.duration(run.seconds),
            overflow="fold",
        ),
    )
    return grid


def _counted(number: object, what: str) -> str:
    """1 member, 12 members."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def _rates(found: Evaluation) -> list[float]:
    return [point.fpr for point in found.reports[0].points] if found.reports else []


def _value(interval: Interval, with_interval: bool, digits: int = 2) -> str:
    """.671 [.632, .709]"""

    def of(value: float) -> str:
        text = f"{value:.{digits}f}"
        return "1" if text.startswith("1") else text.removeprefix("0")

    return f"{of(interval.value)} [{of(interval.low)}, {of(interval.high)}]" if with_interval else of(interval.value)


def _point(point: Operating, with_interval: bool) -> str:
    """.29 [.22, .33], or .29 too few where the interval would promise more than there is."""
    return _value(point.tpr, with_interval and not point.too_few) + (" too few" if point.too_few else "")


@dataclass(frozen=True)
class EvaluationTable:
    """A table of `columns.EVALUATION_COLUMNS` by its name: a row a score, or a row a text and score."""

    name: str
    found: Evaluation
    redaction: Redaction

    @property
    def columns(self) -> Columns:
        return EVALUATION_COLUMNS[self.name]

    def __iter__(self) -> Iterator[Cells]:
        rows = text_rows(self.found, self.redaction) if self.name == PER_TEXT else score_rows(self.found)
        yield from map(finite, rows)


def write_table(table: EvaluationTable, format: str, file: BinaryIO) -> None:
    """Write a table in one of the formats; as Markdown only the scores, as a person reads them."""
    if format != "markdown":
        PLAIN[format](table, file)
        return
    rates = _rates(table.found)
    lines = [
        f"# uddm-audit evaluate: {for_markdown(table.found.model.name)}",
        "",
        f"{_counted(table.found.members, 'member')}, {_counted(table.found.others, 'held-out text')}, settings "
        f"{table.found.run.settings_id}, uddm-audit {table.found.run.version}.",
        "",
        "| score | what | AUC | " + " | ".join(f"TPR at {100 * rate:g} %" for rate in rates) + " |",
        "|---|---|---|" + "---|" * len(rates),
    ]
    for report in table.found.reports:
        points = " | ".join(_point(point, True) for point in report.points)
        lines.append(f"| {report.name} | {for_markdown(report.told)} | {_value(report.auc, True, 3)} | {points} |")
    lines += ["", *(f"- **{word}**: {meaning}" for word, meaning in LEGEND if word), ""]
    file.write("\n".join(lines).encode())


def score_rows(found: Evaluation) -> Iterator[Cells]:
    """The first table: a row a score."""
    for report in found.reports:
        cells: Cells = {
            "schema": SCHEMA,
            "settings_id": found.run.settings_id,
            "score": report.name,
            "members": found.members,
            "heldout": found.others,
            **_interval_cells("auc", report.auc),
        }
        for point in report.points:
            name = f"tpr_at_{_per_mille(point.fpr)}"
            cells |= _interval_cells(name, point.tpr) | {f"{name}_too_few": point.too_few}
        yield cells


def text_rows(found: Evaluation, redaction: Redaction) -> Iterator[Cells]:
    """The second table: a row a text and score, larger meaning better known."""
    for text in found.texts:
        full = redaction.show in (ShowText.EXCERPT, ShowText.FULL) and text.candidate.text is not None
        for name, score in zip(found.recipes, text.scores, strict=True):
            yield {
                "settings_id": found.run.settings_id,
                "source": for_terminal(text.candidate.source),
                "line": text.candidate.line,
                "id": text.candidate.id,
                "fingerprint": text.fingerprint or None,
                "member": text.member,
                "tokens": text.tokens,
                "score": name,
                "value": score,
                "text": redaction.text(text.candidate.text or "") if full else None,
            }


def evaluation_metadata(found: Evaluation) -> str:
    """The provenance as JSON, ASCII only, with an end of line."""
    run = found.run
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": found.model,
        "reference_model": found.reference_model,
        "law_check": {"contrast": found.law.contrast, "result": found.law.check, "probes": found.law.probes},
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "counts": {
            "members": found.members,
            "heldout": found.others,
            "skipped": found.skipped,
            "duplicates": found.duplicates,
            "near_duplicates": found.near_duplicates,
            "too_short": found.too_short,
        },
    }
    return json.dumps(plain(facts), indent=2, ensure_ascii=True, allow_nan=False) + "\n"


def check_picture(path: Path, read: Sequence[Path], outputs: Sequence[Output]) -> None:
    """Raise OutputError unless ROC curves can be written to `path`: an SVG that is new or replaces one of ours, that is
    none of the files that are `read` and none that the `outputs` stand for."""
    if path.suffix.lower() != ".svg":
        raise OutputError(f"{path}: pictures are SVG: give a name that ends in .svg")
    check_file(path, b"", read)
    for output in outputs:
        for other in (output.path, output.meta, output.journal, output.second(PER_TEXT)):
            if (path.parent.resolve(), path.name) == (other.parent.resolve(), other.name):
                raise OutputError(f"{path}: would be written twice")
    if path.exists():
        with path.open("rb") as file:
            if SVG_OURS not in file.read(SVG_WITHIN):
                raise OutputError(f"{path}: is there and was not written by uddm-audit; give another --roc")


def write_roc(found: Evaluation, file: BinaryIO) -> None:
    """ROC curves of the scores that find most at 1 %, both axes logarithmic, as SVG; the same bytes every time.

    Raises ModuleNotFoundError without matplotlib.
    """
    import matplotlib

    matplotlib.use("svg")
    from matplotlib.figure import Figure

    # Text as text, and no ids or dates that change from run to run.
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "uddm-audit", "font.family": "sans-serif", "font.size": 9}
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(6.4, 5.2), layout="constrained")
        axes = figure.add_subplot()
        low = 1 / max(1, found.others)
        for report in sorted(found.reports, key=_strength, reverse=True)[:CURVES]:
            x, y = _floored(report.false, low), _floored(report.true, 1 / max(1, found.members))
            axes.plot(x, y, drawstyle="steps-post", linewidth=1.4, label=f"{report.name}  {report.auc.value:.3f}")
        axes.plot([low, 1], [low, 1], color="0.6", linewidth=0.8, linestyle="--", label="chance  0.500")
        shaky = 10 / max(1, found.others)
        if shaky > low:
            axes.axvspan(low, min(1.0, shaky), color="0.93", zorder=0)
            axes.text(low * 1.1, 1.02, "fewer than 10 held-out texts", fontsize=7, color="0.4", va="bottom")
        axes.set(xscale="log", yscale="log", xlim=(low, 1), ylim=(1 / max(1, found.members), 1.0))
        axes.set_xlabel(f"false positive rate, of {found.others:,} held-out texts")
        axes.set_ylabel(f"true positive rate, of {found.members:,} members")
        axes.grid(True, which="major", color="0.9", linewidth=0.6)
        axes.legend(title="score  AUC", loc="lower right", fontsize=8, frameon=False)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": "uddm-audit"})


def _strength(report: ScoreReport) -> tuple[float, float]:
    one_percent = next((p.tpr.value for p in report.points if p.fpr == 0.01), 0.0)
    return one_percent, report.auc.value


def _floored(rates: tuple[float, ...], least: float) -> list[float]:
    """Rates that a logarithmic axis can show."""
    return [max(rate, least) for rate in rates]


def _interval_cells(name: str, interval: Interval) -> Cells:
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def _per_mille(rate: float) -> str:
    """10pct, 1pct, 0p1pct."""
    return f"{100 * rate:g}pct".replace(".", "p")
