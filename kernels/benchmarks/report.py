"""Measurements as Markdown tables."""

import datetime
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from benchmarks.timing import Measured, Timing, Variant
from benchmarks.workloads import Workload


def device_name(device: str) -> str:
    """The heading under which a device's tables stand."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"CPU: {_cpu()}, {os.cpu_count()} cores"


def circumstances(device: str, command: str) -> str:
    """What the figures depend on besides the code and the device, and when they were taken."""
    facts = [f"{datetime.datetime.now(datetime.UTC):%Y-%m-%d %H:%M} UTC", f"`{command}`"]
    if device == "cuda":
        facts += [f"torch {torch.__version__}", f"Triton {_version('triton')}", f"{_cpu()}, {os.cpu_count()} cores"]
    else:
        facts += [f"torch {torch.__version__} with {torch.get_num_threads()} threads"]
    return "; ".join([*facts, f"Python {platform.python_version()}", f"{platform.system()} {platform.machine()}"])


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def table(workload: Workload, variants: list[Variant], measured: Measured, remarks: list[str]) -> list[str]:
    """Title, table, and below it the workload's notes and the `remarks`."""
    rows = [_cells(workload, variants, variant, measured) for variant in variants]
    # A column is there if some row has something to say in it.
    header = [column for column in rows[0] if any(row[column] for row in rows)]
    lines = [heading(workload), "", _line(header), _line(["---"] + ["---:"] * (len(header) - 1))]
    lines += [_line([row[column] for column in header]) for row in rows]
    notes = [*workload.notes(variants, measured.timings), *remarks]
    return [*lines, "", " ".join(note for note in notes if note), ""]


def heading(workload: Workload) -> str:
    """The kind of the table, by which it is found again, and its title."""
    return f"## {workload.kind}: {workload.title}"


def _cells(workload: Workload, variants: list[Variant], variant: Variant, measured: Measured) -> dict[str, str]:
    """One row of the table, by column."""
    timing = measured.timings.get(variant.name)
    floor = measured.timings.get(variant.floor)
    peak = measured.peaks.get(variant.name)
    return {
        "way": variant.name,
        "sequences through the backbone": f"{variant.forwards:,}" if variant.forwards else "",
        "rows through the head": f"{variant.head_rows:,}" if variant.head_rows else "",
        "median": measured.failures.get(variant.name, "not measured") if timing is None else _seconds(timing.median),
        "min to max": "" if timing is None else f"{_seconds(timing.low)} to {_seconds(timing.high)}",
        "timed on": "" if timing is None else _repeats(variant, timing),
        "peak memory": "" if None in (timing, peak) or variant.name == variant.floor else f"{peak:,.0f} MiB",
        **{f"{name} / this": _quotient(measured.timings.get(name), timing) for name in workload.rivals},
        "this / floor": _quotient(timing, floor),
        "TFLOP/s": "" if timing is None or not variant.flops else f"{variant.flops / timing.median / 1e12:.3g}",
        "of the product's rate": "" if not variant.flops else _share(floor, timing),
        "GB/s": "" if timing is None or not variant.moved else f"{variant.moved / timing.median / 1e9:.3g}",
    }


def _repeats(variant: Variant, timing: Timing) -> str:
    repeats = len(timing.seconds)
    return f"{repeats} of {variant.parts} parts, scaled up" if variant.parts > 1 else f"{repeats} repeats"


def _line(cells: list[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _seconds(value: float) -> str:
    if value < 1:
        return f"{value * 1e3:.3g} ms"
    return f"{value:.3g} s" if value < 100 else f"{value:,.0f} s"


def _quotient(one: Timing | None, other: Timing | None) -> str:
    return "" if one is None or other is None else _ratio(one.median / other.median)


def _share(one: Timing | None, other: Timing | None) -> str:
    return "" if one is None or other is None else f"{one.median / other.median:.0%}"


def _ratio(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.0f}"
