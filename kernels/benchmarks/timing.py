"""Repeated measurements of several variants, interleaved."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle
from statistics import median
from typing import Protocol, TypeVar

import torch

T = TypeVar("T")
# Characters of an error that a table has room for.
REASON = 120


@dataclass(frozen=True)
class Variant:
    """One way to do a task: `call` does it, or one of the `parts` equal parts of it.

    `floor` names the variant whose time no implementation of this one can beat. Of the whole task: `forwards` and
    `head_rows` count the sequences that pass through the backbone and the rows that pass through the head, `flops` the
    floating-point operations and `moved` the bytes that any way has to do and to move. A variant that is warm already
    may skip its untimed first call.
    """

    name: str
    call: Callable[[], object]
    floor: str
    head_rows: int = 0
    forwards: int = 0
    flops: int = 0
    moved: int = 0
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


@dataclass(frozen=True)
class Measured:
    """By a variant's name: its times, the memory in MiB that a call takes above what is there before (where it can be
    told), or why it has neither."""

    timings: dict[str, Timing] = field(default_factory=dict)
    peaks: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)


class Clock(Protocol):
    """How a device's time is told. `warm_ups` is how many untimed calls a variant needs."""

    warm_ups: int

    def seconds(self, call: Callable[[], object]) -> float:
        """Time of one call."""

    def remark(self) -> str:
        """What a reader should know of the measurements; may be empty."""


class Peak(Protocol):
    """How a device's memory is told, from `begin` to `end`: the largest amount in MiB above that at `begin`, or None.

    `disturbs` says that no time should be taken between the two.
    """

    disturbs: bool

    def begin(self) -> None: ...

    def end(self) -> float | None: ...


@torch.no_grad()
def interleaved(variants: Sequence[Variant], clock: Clock, peak: Peak) -> Measured:
    """Time the variants in turns, A B C A B C, so that a drift of the machine hits all of them alike.

    A variant with fewer repeats leaves the later rounds to the others; one that fails leaves all of them.
    """
    measured = Measured()
    for variant in variants:
        for _ in range(0 if variant.warm else clock.warm_ups):
            attempt(variant, variant.call, measured)
        if peak.disturbs and variant.name != variant.floor:
            attempt(variant, partial(_with_peak, variant, variant.call, peak, measured), measured)
    seconds: dict[str, list[float]] = {variant.name: [] for variant in variants}
    for turn in range(max(variant.repeats for variant in variants)):
        for variant in variants:
            if turn >= variant.repeats:
                continue
            timed = partial(clock.seconds, variant.call)
            if turn == 0 and not peak.disturbs:
                timed = partial(_with_peak, variant, timed, peak, measured)
            elapsed = attempt(variant, timed, measured)
            if elapsed is not None:
                seconds[variant.name].append(elapsed * variant.parts)
    measured.timings.update({name: Timing(tuple(s)) for name, s in seconds.items() if name not in measured.failures})
    return measured


def _with_peak(variant: Variant, call: Callable[[], T], peak: Peak, measured: Measured) -> T:
    """What the call returns; the memory that it takes is noted."""
    peak.begin()
    try:
        return call()
    finally:
        if (mib := peak.end()) is not None:
            measured.peaks[variant.name] = mib


def attempt(variant: Variant, call: Callable[[], T], measured: Measured) -> T | None:
    """What the call returns; None where it fails or has failed, which is noted."""
    if variant.name in measured.failures:
        return None
    try:
        return call()
    # Compilers, drivers and other people's packages share no base class of errors.
    except Exception as error:
        measured.failures[variant.name] = reason(error)
    # Only now does nothing hold the failed call's tensors any more.
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def reason(error: Exception) -> str:
    """An error in the words of a table's cell."""
    said = str(error)
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in said or "not enough" in said:
        return "out of memory"
    first = next((line.strip() for line in said.splitlines() if line.strip()), "")
    return f"failed: {type(error).__name__}: {first}"[:REASON].replace("|", "/")


def rotating(function: Callable[[T], object], inputs: Sequence[T]) -> Callable[[], object]:
    """A call of `function` that takes the next of the inputs each time, round and round."""
    turn = cycle(inputs)
    return lambda: function(next(turn))
