"""What a sweep over training-set sizes found."""

from dataclasses import dataclass

from audit_cli.records.measurements import Interval
from audit_cli.records.reports import RunInfo


@dataclass(frozen=True, slots=True)
class SplitMeasures:
    """Texts of one kind under one model, in their order: rates a level and text, entropies and surprises in nats."""

    recovery: tuple[tuple[float, ...], ...]
    unstable: tuple[tuple[float, ...], ...]
    returned: tuple[tuple[float, ...], ...]
    exact: tuple[tuple[float, ...], ...]
    entropy: tuple[float, ...]
    surprise: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SampleMeasures:
    """What a model writes by itself, text by text: its entropy in nats, and whether it is a copy of a training text."""

    entropy: tuple[float, ...]
    copy: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class SweepCell:
    """A trained model and what was measured of it. `nelbo` is in nats a token, of every held-out text."""

    size: int
    seed: int
    tokens: int
    duplicates: int
    parameters: int
    loss: float
    levels: tuple[float, ...]
    train: SplitMeasures
    heldout: SplitMeasures
    samples: SampleMeasures
    nelbo: tuple[float, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class SweepRow:
    """A size in a report: means over texts and seeds, with intervals; a value a level where there are levels."""

    size: int
    tokens: int
    seeds: int
    duplicates: int
    recovery_train: tuple[Interval, ...]
    recovery_heldout: tuple[Interval, ...]
    unstable_train: tuple[Interval, ...]
    unstable_heldout: tuple[Interval, ...]
    returned_train: tuple[Interval, ...]
    returned_heldout: tuple[Interval, ...]
    exact_train: tuple[Interval, ...]
    exact_heldout: tuple[Interval, ...]
    entropy_train: Interval
    entropy_heldout: Interval
    entropy_samples: Interval
    surprise_train: Interval
    surprise_heldout: Interval
    copies: Interval
    perplexity: Interval


@dataclass(frozen=True, slots=True)
class TransitionPoint:
    """Where a gap crosses a bound, in training sequences and tokens; `censored` is "low", "high" or empty."""

    name: str
    told: str
    sequences: Interval
    tokens: Interval
    censored: str


@dataclass(frozen=True, slots=True)
class SweepReport:
    """A sweep: rows by size, the transition, and the size with the highest held-out perplexity."""

    run: RunInfo
    levels: tuple[float, ...]
    deciding: int
    rows: tuple[SweepRow, ...]
    points: tuple[TransitionPoint, ...]
    perplexity_peak: int
    heldout: int
    parameters: int
    warnings: tuple[str, ...] = ()

    def point(self, name: str) -> TransitionPoint | None:
        """The point of a name; none of a single size."""
        return next((point for point in self.points if point.name == name), None)


@dataclass(frozen=True, slots=True)
class SweepVariant:
    """A sweep that differs from the first of several in one respect, `change`; empty for the first."""

    change: str
    report: SweepReport
