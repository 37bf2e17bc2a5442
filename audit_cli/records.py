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
# No token's surprise counts for more in a root mean square, as a share of log V: a stored text with two letters of it
# changed is stored.
SURPRISE_CAP = 1.5


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


class Comparability(StrEnum):
    """Whether a text is of the kind that it is compared with."""

    COMPARABLE = "comparable"
    SHIFTED = "shifted"
    NOT_CHECKABLE = "not checkable"
    NOT_NEEDED = "not needed"


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
    """The conditional entropy and surprise of a text's tokens, averaged over `draws` corruptions at time t.

    `surprise_rms` is a root mean square over tokens, in which each has SURPRISE_CAP log V at most.
    """

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
    surprise_rms: float
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
    # Of what came back with the text, a restart; at the deciding level only.
    edit_similarities: tuple[float, ...] = ()


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
class ExtractionMeasurement:
    """What came back in the slot of a text, which was noise in a template that stood as it is.

    The secret itself came back in `exact` of `restarts`; `recovered_share` of the slot's tokens were right on average.
    `fillings` distinct ones came back, the most frequent `most_frequent` times; `rank` is the secret's among them, ties
    against it, None where it never came back. `filling` are the text's tokens with the most frequent one, if kept.
    """

    tokens: int
    slot_tokens: int
    t: float
    restarts: int
    exact: int
    recovered_share: float
    fillings: int
    most_frequent: int
    rank: int | None
    entropy: EntropyMeasurement
    evaluations: int
    filling: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that scores of one row are made of; what was not measured is None or empty.

    `surprises`, `entropies` and `deviations` (of log p, all in nats) have an entry a token. `others` are basins under
    further dynamics, by name. `votes` is the share of random subsets of tokens that surprise the reference model more.
    """

    vocab_size: int
    entropy: EntropyMeasurement
    basins: BasinMeasurement | None = None
    others: tuple[tuple[str, BasinMeasurement], ...] = ()
    surprises: tuple[float, ...] = ()
    entropies: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    compressed_bytes: int = 0
    nelbo: float | None = None
    noisy_surprise: float | None = None
    reference_surprise: float | None = None
    reference_noisy_surprise: float | None = None
    votes: float | None = None
    evaluations: int = 0


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
    comparability: Comparability | None = None


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
    extraction: ExtractionMeasurement | None = None
    recovered_text: str | None = None
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
class FairnessCheck:
    """Whether the candidates together are of the kind of the held-out text, told by texts alone.

    `reason` names differences in shape, or why nothing could be checked, and holds no text. `unlike` of the
    `candidates` that were looked at are `shifted`, each for itself or all together; `auc` and `p_value` are of all
    together. `words` are the candidates' own: they are shown as their texts are.
    """

    grade: Comparability
    reason: str
    candidates: int
    references: int
    auc: float | None
    p_value: float | None
    unlike: int
    words: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HeldoutSummary:
    """The held-out text of a run. `references` is the smallest number that any candidate was compared with, and
    `known` how many score as if the model had seen them. `recalled` of their pieces were measured by an earlier run;
    those of a calibration all were, and are not here."""

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
    fairness: FairnessCheck | None = None
    known: int = 0
    recalled: int = 0
    calibrated: bool = False


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
    # What the deciding score is, in words.
    judged_by: str = ""
    given_entropy: float | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Operating:
    """The share of members whose score at most `fpr` of the other texts reach. `too_few`: so few others are expected
    above the threshold that another sample of them would move it."""

    fpr: float
    tpr: Interval
    too_few: bool


@dataclass(frozen=True, slots=True)
class ScoreReport:
    """How well one score tells members from other texts; `false` and `true` are the points of its ROC."""

    name: str
    told: str
    auc: Interval
    points: tuple[Operating, ...]
    false: tuple[float, ...]
    true: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ScoredText:
    """A text of which it is known whether it is a member, and its scores in the order of `Evaluation.recipes`."""

    candidate: Candidate
    fingerprint: str
    member: bool
    tokens: int
    scores: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """All scores side by side; `reports` leaves out those that could not be measured of every text."""

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    reports: tuple[ScoreReport, ...]
    recipes: tuple[str, ...]
    texts: tuple[ScoredText, ...]
    members: int
    others: int
    skipped: int
    duplicates: int
    near_duplicates: int
    too_short: int
    reference_model: ModelInfo | None = None
