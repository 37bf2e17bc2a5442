"""What is said of a text, and of a model."""

from dataclasses import dataclass
from enum import StrEnum

from audit_cli.records.measurements import Interval


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
