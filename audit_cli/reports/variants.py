"""Several sweeps side by side: does the transition depend on the network, the schedule, the loss?"""

import csv
import importlib.util
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import SweepReport, SweepRow, SweepVariant, TransitionPoint
from audit_cli.reports import words
from audit_cli.reports.files import write_file
from audit_cli.reports.parts import RULED
from audit_cli.safetext import for_terminal

CSV = "variants.csv"
FIGURES = ("variants.svg", "variants.png")
AS_GIVEN = "as given"
POINTS = ("half", "meet", "known")

# A terminal with room for all columns.
WIDE = 120
LEGEND = """N_half    lines at which the gap in recovery has halved; N_meet: is below .05 [95 %]
recovery  share of corrupted tokens that came back, {level:.0%} corrupted,
          at {first:,} and at {last:,} lines"""
LEGEND_WIDE = """
own       entropy of what the model writes by itself, nats; copies: share of it
          that is a training text; likewise"""


def variant_lines(variants: Sequence[SweepVariant], width: int) -> Iterator[RenderableType]:
    """The table over all variants, of which there are at least two; three columns only where there is room for them."""
    more = width >= WIDE
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("variant", overflow="fold")
    names = ["parameters"] if more else []
    names += ["N_half", "N_meet", "recovery\ntraining", "recovery\nheld-out"]
    for name in (*names, *(("own", "copies") if more else ())):
        table.add_column(name, justify="right", no_wrap=True)
    for variant in variants:
        report = variant.report
        first, last, k = report.rows[0], report.rows[-1], report.deciding
        table.add_row(
            for_terminal(variant.change or AS_GIVEN),
            *((f"{report.parameters:,}",) if more else ()),
            _size(report.point("half")),
            _size(report.point("meet")),
            f"{words.share(first.recovery_train[k].value)} {words.share(last.recovery_train[k].value)}",
            f"{words.share(first.recovery_heldout[k].value)} {words.share(last.recovery_heldout[k].value)}",
            *(_own(first, last) if more else ()),
        )
    yield Text()
    yield table
    yield Text()
    of = variants[0].report
    level = of.levels[of.deciding]
    told = LEGEND.format(level=level, first=of.rows[0].size, last=of.rows[-1].size)
    yield Text(told + LEGEND_WIDE if more else told)


def _own(first: SweepRow, last: SweepRow) -> tuple[str, str]:
    """What models write by themselves: entropy and copies, at the smallest size and at the largest."""
    return (
        f"{first.entropy_samples.value:.2f} {last.entropy_samples.value:.2f}",
        f"{first.copies.value:.0%} {last.copies.value:.0%}",
    )


def _size(point: TransitionPoint | None) -> str:
    if point is None:
        return ""
    n = point.sequences
    if point.censored:
        return f"{'<=' if point.censored == 'low' else '>'} {n.value:,.0f}"
    return f"{n.value:,.0f} [{n.low:,.0f}, {n.high:,.0f}]"


def write_variants(variants: Sequence[SweepVariant], folder: Path) -> list[Path]:
    """`variants.csv`, a row a variant, and, where matplotlib is installed, a picture as SVG and PNG, in the folder."""
    written = [folder / CSV]
    write_file(folder / CSV, _csv(variants).encode())
    if importlib.util.find_spec("matplotlib") is not None and len(variants[0].report.rows) > 1:
        for name in FIGURES:
            write_file(folder / name, _figure(variants, name.rpartition(".")[2]))
            written.append(folder / name)
    return written


def _csv(variants: Sequence[SweepVariant]) -> str:
    file = io.StringIO()
    rows = [_cells(variant) for variant in variants]
    writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def _cells(variant: SweepVariant) -> dict[str, Any]:
    report = variant.report
    settings: Any = report.run.settings
    out: dict[str, Any] = {"variant": variant.change or AS_GIVEN, "parameters": report.parameters}
    out |= {name: settings[name] for name in ("backbone", "width", "layers", "heads", "schedule")}
    out |= {name: settings["training"][name] for name in ("loss", "steps", "batch_size", "learning_rate")}
    for name in POINTS:
        point = report.point(name)
        n = None if point is None else point.sequences
        out |= {
            f"lines_{name}": n and n.value,
            f"lines_{name}_low": n and n.low,
            f"lines_{name}_high": n and n.high,
            f"lines_{name}_censored": point and point.censored,
        }
    out["perplexity_peak"] = report.perplexity_peak
    for place, row in (("smallest", report.rows[0]), ("largest", report.rows[-1])):
        found = {
            "lines": row.size,
            "recovery_train": row.recovery_train[report.deciding].value,
            "recovery_heldout": row.recovery_heldout[report.deciding].value,
            "entropy_train": row.entropy_train.value,
            "entropy_heldout": row.entropy_heldout.value,
            "entropy_samples": row.entropy_samples.value,
            "copies": row.copies.value,
            "perplexity": row.perplexity.value,
        }
        out |= {f"{name}_{place}": value for name, value in found.items()}
    return out


def _figure(variants: Sequence[SweepVariant], kind: str) -> bytes:
    """Recovery of training and of held-out text over the size of the training set, a line a variant."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    def drawn(report: SweepReport, split: str) -> list[float]:
        return [getattr(row, f"recovery_{split}")[report.deciding].value for row in report.rows]

    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "uddm-audit"}):
        figure = Figure(figsize=(9, 4.5), layout="constrained")
        panels = figure.subplots(1, 2, sharex=True, sharey=True)
        for panel, split, title in zip(panels, ("train", "heldout"), ("training text", "held-out text"), strict=True):
            for number, variant in enumerate(variants):
                sizes = [row.size for row in variant.report.rows]
                style = {"color": f"C{number % 10}", "linestyle": "-" if number < 10 else "--"}
                values = drawn(variant.report, split)
                panel.plot(sizes, values, marker="o", markersize=3, label=variant.change or AS_GIVEN, **style)
            panel.set_title(f"recovery of {title}", fontsize=10)
            panel.set_xscale("log")
            panel.set_xlabel("lines in the training set")
            panel.grid(alpha=0.3)
        panels[0].set_ylim(-0.02, 1.02)
        panels[1].legend(fontsize=8)
        file = io.BytesIO()
        metadata: Any = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=120, metadata=metadata)
    return file.getvalue()
