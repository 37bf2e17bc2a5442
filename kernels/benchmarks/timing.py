"""Repeated measurements of several variants, interleaved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.quiet import Stopwatch


@dataclass(frozen=True)
class Variant:
    """One way to do a task: `call` does it, or one of the `parts` equal parts of it.

    `floor` names the variant whose time no implementation of this one can beat; `forwards` and `head_rows` count the
    sequences that pass through the backbone and the rows that pass through the head in the whole task. A variant
    that is warm already may skip its untimed first call.
    """

    name: str
    call: Callable[[], object]
    floor: str
    head_rows: int
    forwards: int = 0
    repeats: int = 7
    parts: int = 1
    warm: bool = False


@dataclass(frozen=True)
class Timing:
    """Seconds of the whole task in every repetition."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    @property
    def low(self) -> float:
        return min(self.seconds)

    @property
    def high(self) -> float:
        return max(self.seconds)


def interleaved(variants: Sequence[Variant], watch: Stopwatch) -> dict[str, Timing]:
    """Time the variants in turns, A B C A B C, so that a drift of the machine hits all of them alike.

    A variant with fewer repeats leaves the later rounds to the others.
    """
    for variant in variants:
        if not variant.warm:
            variant.call()
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for turn in range(max(variant.repeats for variant in variants)):
        for variant in variants:
            if turn < variant.repeats:
                seconds[variant.name].append(watch.seconds(variant.call) * variant.parts)
    return {name: Timing(tuple(values)) for name, values in seconds.items()}
