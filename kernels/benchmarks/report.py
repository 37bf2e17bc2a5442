"""Measurements as Markdown tables."""

import datetime
import os
import platform
from pathlib import Path

import torch

from benchmarks.quiet import Stopwatch
from benchmarks.sweeps import LENGTH, LEVEL
from benchmarks.timing import Timing, Variant
from benchmarks.workloads import Kind, Workload


def machine() -> list[str]:
    """What the figures depend on besides the code."""
    return [
        f"CPU: {_cpu()}, {os.cpu_count()} cores; torch {torch.__version__} with {torch.get_num_threads()} threads; "
        f"Python {platform.python_version()}; {platform.system()} {platform.machine()}",
        f"Date: {datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC",
    ]


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def section(
    workload: Workload, variants: list[Variant], timings: dict[str, Timing], peaks: dict[str, float], watch: Stopwatch
) -> list[str]:
    """Title, table, how much of a dense run's work is left, and what disturbed the measurement."""
    rows = [_cells(workload, variant, timings, peaks.get(variant.name)) for variant in variants]
    header = list(rows[0])
    lines = [f"## {_title(workload)}", "", _line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    lines += [_line(list(row.values())) for row in rows]
    notes = [_shares(variants)] if workload.kind is Kind.RUN else []
    notes.append(f"Repetitions disturbed by other programs: {watch.retaken} taken again, {watch.disturbed} kept.")
    return [*lines, "", " ".join(notes), ""]


def _title(workload: Workload) -> str:
    size = f"V = {workload.vocab}, {workload.batch} x {LENGTH} tokens"
    if workload.kind is Kind.RUN:
        return f"Sampling run from level {LEVEL:g} with noise removal, T = {workload.steps}, {size}"
    return f"One {workload.kind}, {size}, hidden width 256"


def _cells(workload: Workload, variant: Variant, timings: dict[str, Timing], peak: float | None) -> dict[str, str]:
    """One row of the table, by column."""
    timing = timings[variant.name]
    repeats = len(timing.seconds)
    backbone = {"sequences through the backbone": f"{variant.forwards:,}"} if workload.kind is Kind.RUN else {}
    return {
        "way": variant.name,
        **backbone,
        "rows through the head": f"{variant.head_rows:,}",
        "median": _seconds(timing.median),
        "min to max": f"{_seconds(timing.low)} to {_seconds(timing.high)}",
        "timed on": f"{repeats} of {variant.parts} steps, scaled up" if variant.parts > 1 else f"{repeats} repeats",
        "peak memory": "" if peak is None else f"{peak:,.0f} MiB",
        "published / this": _ratio(timings["published"].median / timing.median),
        "float32 / this": _ratio(timings["float32"].median / timing.median),
        "this / floor": _ratio(timing.median / timings[variant.floor].median),
    }


def _shares(variants: list[Variant]) -> str:
    by_name = {variant.name: variant for variant in variants}
    ours, dense = by_name["ours"], by_name["published"]
    return (
        f"Backbone passes skipped: {1 - ours.forwards / dense.forwards:.1%} of {dense.forwards:,}. "
        f"Rows through the head: {ours.head_rows / dense.head_rows:.2%} of {dense.head_rows:,}."
    )


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
