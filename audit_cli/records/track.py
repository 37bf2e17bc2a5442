"""What a training has stored, checkpoint by checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from audit_cli.records.judgements import ModelInfo
from audit_cli.records.measurements import Interval
from audit_cli.records.reports import FairnessCheck, RunInfo


@dataclass(frozen=True, slots=True)
class TrackRow:
    """A checkpoint, or why there is nothing of it (`reason`, and then no look is counted).

    `look` is its number among the looks, from 1. `gap` is the surprise of held-out texts minus that of the texts, in
    nats a token, under a reference model each minus what surprises that one; `recovery_gap` the recovery of the texts
    minus that of held-out texts. `p_value` is one-sided, of the surprise, and significant where it is at most `bound`;
    `untested` says why there is none. Means are over texts.
    """

    name: str
    look: int = 0
    reason: str = ""
    untested: str = ""
    weights_sha256: str = ""
    entropy: Interval | None = None
    entropy_text: float | None = None
    entropy_heldout: float | None = None
    surprise_text: float | None = None
    surprise_heldout: float | None = None
    gap: Interval | None = None
    recovery_text: float | None = None
    recovery_heldout: float | None = None
    recovery_gap: Interval | None = None
    p_value: float | None = None
    bound: float | None = None
    seconds: float = 0.0
    evaluations: int = 0

    @property
    def significant(self) -> bool:
        """Whether the texts are better known than held-out text, as far as this look may say so."""
        return self.p_value is not None and self.bound is not None and self.p_value <= self.bound


@dataclass(frozen=True, slots=True)
class TrackReport:
    """A run of `track`. `model` is the first checkpoint's; `planned` is the number of looks, None without a plan.

    `texts` and `heldout` are as many as were compared, at corruption `level`.
    """

    model: ModelInfo
    run: RunInfo
    rows: Sequence[TrackRow]
    alpha: float
    planned: int | None
    texts: int
    heldout: int
    level: float
    fairness: FairnessCheck
    reference_model: ModelInfo | None = None
    warnings: tuple[str, ...] = ()

    @property
    def measured(self) -> list[TrackRow]:
        """The rows of checkpoints that were measured."""
        return [row for row in self.rows if row.look]

    @property
    def first(self) -> TrackRow | None:
        """The first checkpoint at which the gap is significant."""
        return next((row for row in self.rows if row.significant), None)
