"""Texts as attractors of a model: energies, margins, how many flips a text survives, and where it falls."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from audit_cli.records.judgements import LawCheckResult, ModelInfo
from audit_cli.records.measurements import Interval
from audit_cli.records.reports import RunInfo, Status
from audit_cli.records.texts import Candidate


@dataclass(frozen=True, slots=True)
class FlipCount:
    """How many of the draws with so many `flips` ended in the very text."""

    flips: int
    returned: int


@dataclass(frozen=True, slots=True)
class AttractorMeasurement:
    """A text under the attractor dynamics x <- argmax p(x_i | all other tokens), in nats.

    `energy` is the negative log pseudo-likelihood -sum_i log p(x_i | all others). The margin of a token is its log p
    minus that of the best other token: the log odds against the flip that the model resists least. `smallest_margin`
    is of the token `margin_position` (the first of equals), whose best other token is `rival`.

    One application of the map changes `changed` tokens, none of a fixed point. Applied again and again, it ends in a
    cycle of `period` states (1 is a fixed point; None where it was on its way still), the nearest of which differs
    from the text in `distance` tokens. `survived` are the most flips from which at least half of the `restarts` draws
    return, as do those with all fewer flips that were tried (`tried`, ascending); None for a text that is no fixed
    point, to which nothing returns.
    """

    tokens: int
    energy: float
    smallest_margin: float
    margin_position: int
    rival: int
    changed: int
    period: int | None
    distance: int
    restarts: int
    survived: int | None
    tried: tuple[FlipCount, ...]
    evaluations: int

    @property
    def fixed_point(self) -> bool:
        """Whether the map leaves all tokens as they are."""
        return self.changed == 0

    @property
    def energy_mean(self) -> float:
        """The energy of a token."""
        return self.energy / self.tokens

    @property
    def depth(self) -> tuple[float, float]:
        """What texts are ordered by: flips survived (-1 for none), then the smallest margin."""
        return -1 if self.survived is None else self.survived, self.smallest_margin

    def returned(self, flips: int) -> int | None:
        """How many draws returned from so many flips; None where that was not tried."""
        return next((count.returned for count in self.tried if count.flips == flips), None)


@dataclass(frozen=True, slots=True)
class AttractorResult:
    """What is reported of one text: of one longer than the model, its deepest window (`AttractorMeasurement.depth`).

    `returned` is the share of the draws that returned from the most flips survived, a Wilson interval (95 %); None
    where it survives none. `rival` is how the tokenizer spells the token of that name.
    """

    candidate: Candidate
    fingerprint: str
    status: Status
    skip_reason: str = ""
    duplicate_of: str = ""
    tokens: int | None = None
    windows: int | None = None
    window_offset: int | None = None
    measurement: AttractorMeasurement | None = None
    returned: Interval | None = None
    rival: str | None = None


@dataclass(frozen=True, slots=True)
class AttractorGroup:
    """Texts together, each distinct one once; medians are values of a text, the lower one of two.

    What needs a measured text is None where there is none. In the median of `survived` a text
    that is no fixed point stands below those that survive no flip, and the median is None where it is such a text;
    `survived_share` is the same of the share of the text's tokens.
    """

    given: int
    measured: int
    duplicates: int
    skipped: int
    fixed_points: int
    fixed_share: Interval | None
    energy_mean: float | None
    smallest_margin: float | None
    survived: int | None
    survived_share: float | None


class AttractorResults(Protocol):
    """The results of a run, in the order of the texts; each iteration may read them again."""

    def __iter__(self) -> Iterator[AttractorResult]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class AttractorReport:
    """A run of `attractors`; `heldout` is None without held-out text."""

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    results: AttractorResults
    given: AttractorGroup
    heldout: AttractorGroup | None = None
