"""What a network predicts along the reverse process."""

from dataclasses import dataclass

from audit_cli.records.judgements import LawCheckResult, ModelInfo
from audit_cli.records.measurements import Interval
from audit_cli.records.reports import RunInfo

# In the order in which they are measured and shown.
OBSERVABLES = (
    "entropy",
    "stability_sum",
    "stability_norm",
    "interaction_norm",
    "interaction_mean",
    "top_probability",
    "spectral_gap",
)


@dataclass(frozen=True, slots=True)
class TrajectoryStep:
    """All rows before one reverse step: means over tokens, then over rows, with bootstrap intervals (95 %) over rows.

    `step` counts from 0; the last is at t = 1e-5, before noise removal. `level` is 1 - alpha(t). Of the prediction p of
    each token: `entropy` in nats; `stability_sum` Σp(1-p) and `stability_norm` sqrt(Σ(p(1-p))²); `interaction_norm`
    sqrt(½((Σp²)² - Σp⁴)) and `interaction_mean` -((Σp)² - Σp²)/(V(V-1))/2; `top_probability`, and `spectral_gap`, its
    lead over the second.
    """

    step: int
    t: float
    level: float
    entropy: Interval
    stability_sum: Interval
    stability_norm: Interval
    interaction_norm: Interval
    interaction_mean: Interval
    top_probability: Interval
    spectral_gap: Interval


@dataclass(frozen=True, slots=True)
class TrajectoryPosition:
    """One position before one reverse step: means over the `rows` that have it. As `TrajectoryStep` otherwise.

    Positions count from the first that is measured of a row.
    """

    step: int
    t: float
    level: float
    position: int
    rows: int
    entropy: float
    stability_sum: float
    stability_norm: float
    interaction_norm: float
    interaction_mean: float
    top_probability: float
    spectral_gap: float


@dataclass(frozen=True, slots=True)
class Trajectory:
    """A run of `entropy --trajectory`: `rows` rows of `tokens` tokens in all, from time `start`.

    Of texts `given` were given (0: the model wrote the rows from noise); `duplicates` were left out, and `skipped`, of
    which `reason` says why of the first.
    """

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    start: float
    steps: tuple[TrajectoryStep, ...]
    positions: tuple[TrajectoryPosition, ...]
    rows: int
    tokens: int
    given: int = 0
    duplicates: int = 0
    skipped: int = 0
    reason: str = ""
    notes: tuple[str, ...] = ()
