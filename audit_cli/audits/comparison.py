"""What texts are compared with: held-out text, its scores, their own twins, or nothing; under one model or two."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from audit_cli.audits.twins import Slot
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Candidate, Skipped
from audit_cli.verdicts.calibration import Calibration

Texts = Iterable[Candidate | Skipped]


@dataclass(frozen=True)
class Comparison:
    """`heldout` may be read more than once. `twins` copies of every text have their `slot` redrawn. With a
    `reference` model, which has not seen the texts, the score is by how much they surprise it more. A `calibration`
    has the scores of held-out text."""

    heldout: Texts | None = None
    twins: int = 0
    slot: Slot = field(default_factory=Slot)
    reference: LoadedModel | None = None
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        other = self.heldout is not None or self.twins or self.reference is not None
        if self.calibration is not None and other:
            raise ValueError("a calibration needs no other comparison")
        if self.twins and (self.heldout is not None or self.reference is not None):
            raise ValueError("twins need no other comparison")

    @property
    def judged(self) -> bool:
        """Whether there will be verdicts."""
        return bool(self.twins) or self.heldout is not None or self.calibration is not None

    def plain(self) -> dict[str, object]:
        """The settings that decide the numbers, besides the held-out text."""
        return {
            "twins": self.twins,
            "slot": self.slot.pattern if self.twins else None,
            "reference_model_sha256": None if self.reference is None else self.reference.info.weights_sha256,
        }
