"""The frozen records that travel between rooms. Standard library only.

Entropies and surprises are in nats; a report converts them where another unit is asked for. `None` is "not
measured" and never zero.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

# A token whose entropy is below this is one of which the model is certain (nats).
VANISHING_NATS = 0.05


class Verdict(StrEnum):
    """What is said of one text, strongest first (see README, "What a verdict means")."""

    MEMORIZED = "memorized"
    FAMILIAR = "familiar"
    RECOVERABLE = "recoverable"
    INCONCLUSIVE = "inconclusive"
    NO_EVIDENCE = "no evidence"


class Regime(StrEnum):
    """What is said of a model."""

    MEMORIZING = "memorizing"
    UNDECIDED = "undecided"
    GENERALIZING = "generalizing"


class LawCheck(StrEnum):
    """Whether a network's own behaviour agrees with the leave-one-out law."""

    CONFIRMED = "confirmed"
    LEAKS = "leaks"
    CONTRADICTED = "contradicted"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text to audit, and where it stands: `text`, or `token_ids` to be taken as they are.

    `prompt` is a text that stands before the candidate and is never corrupted or measured. Without an `id` it gets one
    when it is given to an audit.
    """

    source: str = ""
    line: int = 0
    id: str = ""
    text: str | None = None
    token_ids: tuple[int, ...] | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that could not be measured, and why. `reason` holds no text of the candidate."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate, or a window of it, as the network sees it.

    Its own tokens are positions `start` to `stop`, the rest is layout; a window begins at the candidate's token
    `offset`. `prompt` are tokens that the network takes beside the row. Only own tokens are corrupted and measured,
    unless `whole`: then all are.
    """

    candidate: Candidate
    tokens: tuple[int, ...]
    start: int
    stop: int
    offset: int = 0
    prompt: tuple[int, ...] = ()
    whole: bool = False

    @property
    def own(self) -> tuple[int, ...]:
        return self.tokens[self.start : self.stop]

    @property
    def free(self) -> tuple[int, ...]:
        """The tokens that are corrupted and measured."""
        return self.tokens if self.whole else self.own


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with a confidence interval. `value` is None where nothing was measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TokenMeasurement:
    """One position of a text, given all others."""

    position: int
    token_id: int
    entropy: float
    surprise: float
    rank: int
    margin: float
    top_probability: float
    top_token_id: int
    token: str = ""
    top_token: str = ""


@dataclass(frozen=True, slots=True)
class EntropyMeasurement:
    """The conditional entropy and surprise of a text's tokens, averaged over `draws` corruptions at time t."""

    tokens: int
    law: str
    t: float
    draws: int
    context: str
    entropy_mean: float
    entropy_sd_draws: float | None
    entropy_max: float
    surprise_mean: float
    surprise_max: float
    margin_mean: float
    vanishing_share: float
    longest_sure_run: int
    evaluations: int
    per_token: tuple[TokenMeasurement, ...] | None = None


@dataclass(frozen=True, slots=True)
class LevelMeasurement:
    """Restarts of one text at one level of corruption."""

    level: float
    t: float
    restarts: int
    corrupted_tokens: int
    returned: int
    exact: int
    recovery_rates: tuple[float, ...]
    unstable_rates: tuple[float, ...]
    argmax_recovery_rate: float | None = None


@dataclass(frozen=True, slots=True)
class BasinMeasurement:
    """What came back of a text, level by level, and how well it is known undamaged.

    `deciding` holds the restarts, extra ones included, at the level where *returns?* is judged.
    """

    tokens: int
    levels: tuple[LevelMeasurement, ...]
    deciding: LevelMeasurement
    longest_recovered_run: int
    entropy: EntropyMeasurement
    evaluations: int

    @property
    def curve(self) -> tuple[LevelMeasurement, ...]:
        """All restarts at every level: the levels, with the deciding one's extra restarts."""
        return tuple(self.deciding if level.t == self.deciding.t else level for level in self.levels)


@dataclass(frozen=True, slots=True)
class Basin:
    """The share of tokens that can be destroyed while half of the restarts return.

    `censored` is "low" where not even the lowest level returns, "high" where the highest still does, else empty.
    """

    size: float
    low: float
    high: float
    censored: str
    curve_area: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict on one text, and what it rests on. p, q and verdict are None without held-out text."""

    recipe: str
    score: float
    verdict: Verdict | None
    reason: str = ""
    p_value: float | None = None
    p_value_upper95: float | None = None
    q_value: float | None = None
    references: int | None = None
    comparability: str = "not checked"


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What is known of a checkpoint: provenance for every output."""

    name: str
    family: str
    parameters: int
    vocab_size: int
    max_length: int
    schedule: str
    law: str
    rows: str
    weights: str
    weights_sha256: str
    tokenizer: str
    tokenizer_sha256: str | None
    backbone: str
    precision: str = "float32"


@dataclass(frozen=True, slots=True)
class LawCheckResult:
    """The paired logit contrast of the law check: near 0 for a leave-one-out law, large for a posterior law."""

    contrast: float
    check: LawCheck
    probes: int


@dataclass(frozen=True, slots=True)
class RegimeReport:
    """A model judged by its own samples. Entropies in nats a token."""

    regime: Regime | None
    reason: str
    samples: int
    entropy: Interval
    entropy_possible: float
    unigram_share: Interval
    vanishing_share: Interval
    distinct: int
    mean_entropies: tuple[float, ...]


class Status(StrEnum):
    """What became of a candidate."""

    MEASURED = "measured"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class TextResult:
    """Everything that is reported of one candidate."""

    candidate: Candidate
    fingerprint: str
    status: Status
    skip_reason: str = ""
    duplicate_of: str = ""
    tokens: int | None = None
    windows: int | None = None
    window_offset: int | None = None
    origin: str = "given"
    returns: bool | None = None
    entropy: EntropyMeasurement | None = None
    basin_measurement: BasinMeasurement | None = None
    basin: Basin | None = None
    judgement: Judgement | None = None


class Results(Protocol):
    """The results of a run, in the order of the texts; each iteration reads them again from where they are kept."""

    def __iter__(self) -> Iterator[TextResult]: ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the texts that were given; `verdicts` counts those measured, without duplicates."""

    given: int
    measured: int
    duplicates: int
    skipped: int
    verdicts: tuple[tuple[Verdict, int], ...] = ()
    most_references: int = 0


@dataclass(frozen=True, slots=True)
class HeldoutQuantile:
    """A held-out text at some quantile of each column: `returned` is a count a level, of `restarts`."""

    returned: tuple[float, ...]
    basin: float | None
    entropy: float
    surprise: float
    vanishing_share: float
    score: float


@dataclass(frozen=True, slots=True)
class HeldoutSummary:
    """The held-out text of a run. `references` is the smallest number that any candidate was compared with."""

    given: int
    measured: int
    skipped: int
    duplicates: int
    near_duplicates: int
    too_short: int
    used: int
    references: int
    median: HeldoutQuantile | None
    best_hundredth: HeldoutQuantile | None


@dataclass(frozen=True, slots=True)
class RunInfo:
    """How a run was done. `settings` are plain values; `settings_id` is a hash of them and of the model."""

    command: str
    version: str
    settings: dict[str, object]
    settings_id: str
    device: str
    precision: str
    # Which implementation of the kernels.
    backend: str
    seconds: float
    evaluations: int


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What a run found, ready to be written in any format."""

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    results: Results
    counts: Counts
    fdr: float
    judged: bool
    levels: tuple[float, ...] = ()
    heldout: HeldoutSummary | None = None
    regime: RegimeReport | None = None
    reference_model: ModelInfo | None = None
    given_entropy: float | None = None
    warnings: tuple[str, ...] = ()
