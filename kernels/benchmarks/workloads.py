"""What is measured, and at which sizes: as large as a GPU takes, and on a CPU as large as half an hour allows."""

from collections.abc import Callable, Sequence
from typing import ClassVar, Protocol

from benchmarks.paper import LENGTH, SIZES, VOCAB
from benchmarks.timing import Timing, Variant

# Sequences of 128 tokens in a single step.
STEP_BATCH = {"cpu": 16, "cuda": 64}
# Rows on a CPU, by width: a product takes a fraction of a second.
CPU_ROWS = {4096: 128, 256: 2048, 768: 1024, 2816: 128}
# Sequences in a whole run, by the size of the network; on a GPU as many as a step has.
CPU_RUN_BATCH = {"tiny": 8, "small": 1, "medium": 1}
# Steps from pure noise to clean text: few, and as many as the paper takes.
RUN_STEPS = (16, 1000)


class Workload(Protocol):
    """A task at one size. `rivals` are the ways whose time is compared with every other's."""

    kind: ClassVar[str]
    rivals: ClassVar[tuple[str, ...]]

    @property
    def title(self) -> str: ...

    def variants(self) -> list[Variant]:
        """All ways to do it, ready to be timed."""

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """Sentences that stand below its table."""


def _linear_stats(device: str, quick: bool) -> Sequence[Workload]:
    from benchmarks.linear_stats import SHAPES, LinearStats

    shapes = [shape for shape in SHAPES if not quick or shape[1] == 256]
    if device == "cpu":
        return [LinearStats(device, CPU_ROWS[d] // (4 if quick else 1), d, v, n) for n, d, v in shapes]
    exact = [LinearStats(device, n, d, v, n) for n, d, v in shapes if d == 256]
    return [LinearStats(device, n, d, v, n, "bfloat16") for n, d, v in shapes] + exact


def _logit_stats(device: str, quick: bool) -> Sequence[Workload]:
    from benchmarks.logit_stats import LogitStats

    if device == "cpu":
        shapes = [(256, VOCAB)] if quick else [(1024, VOCAB), (256, 131072)]
        return [LogitStats(device, n, v) for n, v in shapes]
    shapes = [(16384, VOCAB)] if quick else [(16384, VOCAB), (8192, 131072)]
    return [LogitStats(device, n, v, dtype) for n, v in shapes for dtype in ("bfloat16", "float32")]


def _steps(device: str, quick: bool) -> Sequence[Workload]:
    from benchmarks.steps import Step

    if quick:
        return [Step(device, 2, 256, VOCAB)]
    return [Step(device, STEP_BATCH[device], width, VOCAB) for width, _, _ in SIZES.values()]


def _sweeps(device: str, quick: bool) -> Sequence[Workload]:
    from benchmarks.sweeps import Sweep

    if quick:
        return [Sweep(device, "tiny", 2, 16)]
    return [
        Sweep(device, size, CPU_RUN_BATCH[size] if device == "cpu" else STEP_BATCH[device], steps)
        for size in SIZES
        for steps in RUN_STEPS
    ]


def _end_to_end(device: str, quick: bool) -> Sequence[Workload]:
    from benchmarks.end_to_end import EndToEnd

    candidates = 20 if quick else 1000
    if device == "cpu":
        return [EndToEnd(device, width=64, layers=2, heads=4, vocab=1024, length=32, candidates=candidates)]
    return [EndToEnd(device, *SIZES["tiny"], VOCAB, LENGTH, candidates)]


# Imported when asked for: an audit needs packages that the kernels do without.
TABLES: dict[str, Callable[[str, bool], Sequence[Workload]]] = {
    "linear-stats": _linear_stats,
    "logit-stats": _logit_stats,
    "step": _steps,
    "sweep": _sweeps,
    "end-to-end": _end_to_end,
}
