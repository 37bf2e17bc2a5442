"""What a run found, ready to be written in any format."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from audit_cli.records.judgements import Comparability, Judgement, LawCheckResult, ModelInfo, RegimeReport, Verdict
from audit_cli.records.measurements import Basin, BasinMeasurement, EntropyMeasurement, ExtractionMeasurement, Interval
from audit_cli.records.texts import Candidate


class Status(StrEnum):
    """What became of a candidate."""

    MEASURED = "measured"
    SKIPPED = "skipped"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Known:
    """A finding that a person has accepted: an entry of a baseline.

    `settings` is the id of those that it was found under. Dates are ISO 8601; `expires` is the last day on which it
    holds, empty for always.
    """

    fingerprint: str
    verdict: Verdict
    score: float
    settings: str
    reason: str
    author: str
    added: str
    expires: str = ""


@dataclass(frozen=True, slots=True)
class TextResult:
    """Everything that is reported of one candidate. Only a gate knows of `known` findings, and of `failing` ones:
    of these some were accepted, and that has `expired`."""

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
    known: Known | None = None
    failing: bool = False
    expired: Known | None = None


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
