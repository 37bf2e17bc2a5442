"""A sweep for a person and as files: a row a size, where the transition lies, a curve, CSV and a picture."""

import csv
import importlib.util
import io
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import Interval, SweepCell, SweepReport, SweepRow, TransitionPoint
from audit_cli.reports import words
from audit_cli.reports.files import write_file
from audit_cli.reports.metadata import plain
from audit_cli.reports.outputs import OutputError
from audit_cli.reports.parts import RULED
from audit_cli.safetext import for_terminal

CSV, META = "sweep.csv", "sweep.meta.json"
FIGURES = ("sweep.svg", "sweep.png")
SCHEMA = "uddm-audit/sweep/1"
# Of the curve in the terminal.
HEIGHT, STEP = 10, 9
# A terminal with room for all columns.
WIDE = 100
BY_LEVEL = (
    *("recovery_train", "recovery_heldout", "unstable_train", "unstable_heldout"),
    *("returned_train", "returned_heldout", "exact_train", "exact_heldout"),
)


def sweep_lines(report: SweepReport, width: int) -> Iterator[RenderableType]:
    """The report of `uddm-audit sweep`."""
    yield Text(_run_line(report))
    for warning in report.warnings:
        yield Text(for_terminal(warning), "yellow")
    yield _table(report, width)
    if len(report.rows) > 1:
        yield _curve(report)
        yield Text()
        for point in report.points:
            yield Text.assemble((f" N_{point.name:<6}", "bold"), _told(point))
        peak = report.perplexity_peak
        yield Text.assemble((" perplexity ", "bold"), f"of held-out text is highest at {peak:,} lines")
    yield Text()
    yield Text(LEGEND.format(level=report.levels[report.deciding]))


LEGEND = """recovery  share of corrupted tokens that came back, {level:.0%} corrupted [95 %]
copies    share of what the model writes by itself that is a training text
N         lines to train on: with fewer the model memorizes. It holds for this
          corpus, network and number of steps"""


def cell_line(cell: SweepCell, deciding: int, several: bool) -> str:
    """A line about a model when it is done; `several` are there of a size."""
    train, held = (
        sum(split.recovery[deciding]) / len(split.recovery[deciding]) for split in (cell.train, cell.heldout)
    )
    seed = f" seed {cell.seed}" if several else ""
    return (
        f"{cell.size:>9,} lines{seed}: recovery {train:.2f} of training text, {held:.2f} of held-out text, "
        f"in {cell.seconds:.0f} s"
    )


def _run_line(report: SweepReport) -> str:
    s = report.run.settings
    training: Any = s["training"]
    return (
        f"Sweep  {len(report.rows)} sizes, {report.heldout:,} held-out lines, {s['backbone']} network of width "
        f"{s['width']}, {s['layers']} layers, {report.parameters:,} parameters, {s['schedule']} schedule, "
        f"{training['loss']} loss, {training['steps']:,} steps each, seed {s['seed']}"
    )


def _table(report: SweepReport, width: int) -> Table:
    """A row a size; two columns only where there is room for them."""
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    more = width >= WIDE
    names = ["lines", "recovery\ntraining", "recovery\nheld-out"]
    names += ["unstable\nheld-out", "exact\ntraining"] if more else []
    for name in (*names, "entropy, nats\ntrain  held   own", "copies", "perplexity"):
        table.add_column(name, justify="right", no_wrap=True)
    k = report.deciding
    for row in report.rows:
        entropies = (row.entropy_train, row.entropy_heldout, row.entropy_samples)
        shares = (words.share(row.unstable_heldout[k].value), words.share(row.exact_train[k].value)) if more else ()
        table.add_row(
            f"{row.size:,}",
            words.share_within(row.recovery_train[k]),
            words.share_within(row.recovery_heldout[k]),
            *shares,
            "  ".join(f"{each.value:.2f}" for each in entropies),
            f"{row.copies.value:.0%}",
            f"{row.perplexity.value:.2f}",
        )
    return table


def _told(point: TransitionPoint) -> str:
    """A size and its interval; beyond the sizes nothing is claimed."""
    n, tokens = point.sequences, point.tokens
    if point.censored == "low":
        return f"at most {n.value:,.0f} lines: {point.told} at the smallest size already"
    if point.censored == "high":
        return f"more than {n.value:,.0f} lines: {point.told} at none of the sizes"
    return f"{n.value:,.0f} lines [{n.low:,.0f}, {n.high:,.0f}], {tokens.value:,.0f} tokens: {point.told}"


def _curve(report: SweepReport) -> Text:
    """Both recoveries over the sizes, a column a size."""
    k = report.deciding
    lines = [[" "] * (STEP * len(report.rows)) for _ in range(HEIGHT + 1)]
    for number, row in enumerate(report.rows):
        at = number * STEP + STEP // 2
        train, held = (round(HEIGHT * found[k].value) for found in (row.recovery_train, row.recovery_heldout))
        lines[HEIGHT - held][at] = "o"
        lines[HEIGHT - train][at] = "*" if train != held else "@"
    out = [f" {1 - i / HEIGHT:.1f} |{''.join(line)}" for i, line in enumerate(lines)]
    axis = "".join(f"{row.size:,}".center(STEP) for row in report.rows)
    return Text("\n".join([*out, f"     {axis}", "     recovery: * training text, o held-out text, @ both"]))


def check_folder(folder: Path, names: Iterable[str], inputs: Iterable[Path]) -> None:
    """Raise OutputError unless files of these names can be written to the folder, or replaced: those that are there are
    an earlier sweep's if its `sweep.meta.json` is."""
    for path in (folder / META, *(folder / name for name in names)):
        if not os.path.lexists(path):
            continue
        if path.is_symlink() or not path.is_file():
            raise OutputError(f"{path}: is there and is no regular file")
        if any(path.samefile(other) for other in inputs if other.exists()):
            raise OutputError(f"{path}: is one of the inputs")
        try:
            ours = SCHEMA.encode() in (folder / META).read_bytes()
        except OSError:
            ours = False
        if not ours:
            raise OutputError(f"{path}: is there and was not written by uddm-audit; give another folder (-o)")


def write_sweep(report: SweepReport, folder: Path) -> list[Path]:
    """`sweep.csv`, `sweep.meta.json` and, where matplotlib is installed, a picture as SVG and PNG, in the folder."""
    written = [folder / CSV, folder / META]
    # This one first: it says whose the others are.
    write_file(folder / META, (json.dumps(plain(_facts(report)), indent=2, ensure_ascii=True) + "\n").encode())
    write_file(folder / CSV, _csv(report).encode())
    if importlib.util.find_spec("matplotlib") is not None and len(report.rows) > 1:
        for name in FIGURES:
            write_file(folder / name, _figure(report, name.rpartition(".")[2]))
            written.append(folder / name)
    return written


def _facts(report: SweepReport) -> dict[str, Any]:
    run = report.run
    return {
        "schema": SCHEMA,
        "tool": {"name": "uddm-audit", "version": run.version},
        "settings": run.settings,
        "device": run.device,
        "seconds": round(run.seconds, 1),
        "heldout": report.heldout,
        "parameters": report.parameters,
        "levels": report.levels,
        "deciding_level": report.levels[report.deciding],
        "transition": report.points,
        "perplexity_peak": report.perplexity_peak,
        "warnings": report.warnings,
    }


def _csv(report: SweepReport) -> str:
    """A row a size; a column a value, its interval beside it, and for each level its own."""
    file = io.StringIO()
    rows = [_cells(report, row) for row in report.rows]
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _cells(report: SweepReport, row: SweepRow) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for field in fields(row):
        value = getattr(row, field.name)
        if isinstance(value, Interval):
            out |= _interval(field.name, value)
        elif field.name in BY_LEVEL:
            for level, each in zip(report.levels, value, strict=True):
                out |= _interval(f"{field.name}_at_{level:g}", each)
        else:
            out[field.name] = value
    return out


def _interval(name: str, found: Interval) -> dict[str, float]:
    return {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}


def _figure(report: SweepReport, kind: str) -> bytes:
    """Recovery, entropy, perplexity and copies over the size of the training set, as "svg" or "png"."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    k = report.deciding
    sizes = [row.size for row in report.rows]
    # Text stays text, and the same report gives the same file.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "uddm-audit"}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        panels = figure.subplots(2, 2, sharex=True).ravel()
        for panel, title, lines in (
            (panels[0], f"recovery after {report.levels[k]:.0%} corruption",
             {"training text": [r.recovery_train[k] for r in report.rows],
              "held-out text": [r.recovery_heldout[k] for r in report.rows]}),
            (panels[1], "conditional entropy, nats a token",
             {"training text": [r.entropy_train for r in report.rows],
              "held-out text": [r.entropy_heldout for r in report.rows],
              "generated text": [r.entropy_samples for r in report.rows]}),
            (panels[2], "perplexity of held-out text (bound)", {"": [r.perplexity for r in report.rows]}),
            (panels[3], "share of generated text that is a copy", {"": [r.copies for r in report.rows]}),
        ):  # fmt: skip
            for number, (label, values) in enumerate(lines.items()):
                color = f"C{number}"
                panel.plot(sizes, [v.value for v in values], marker="o", markersize=4, color=color, label=label)
                panel.fill_between(sizes, [v.low for v in values], [v.high for v in values], color=color, alpha=0.2)
            panel.set_title(title, fontsize=10)
            panel.set_xscale("log")
            panel.grid(alpha=0.3)
            if len(lines) > 1:
                panel.legend(fontsize=8)
        panels[0].set_ylim(-0.02, 1.02)
        panels[2].set_yscale("log")
        for panel in panels[2:]:
            panel.set_xlabel("lines in the training set")
        meet = next((p for p in report.points if p.name == "meet" and not p.censored), None)
        if meet is not None:
            panels[0].axvline(meet.sequences.value, color="0.4", linestyle="--", linewidth=1)
            panels[0].axvspan(meet.sequences.low, meet.sequences.high, color="0.5", alpha=0.15)
        out = io.BytesIO()
        made = {"Date": None, "Creator": "uddm-audit"} if kind == "svg" else {"Software": "uddm-audit"}
        figure.savefig(out, format=kind, dpi=150, metadata=made)
    return out.getvalue()
