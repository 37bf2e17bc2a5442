"""`uddm-audit inspect`: what a checkpoint is."""

from audit_cli.audits.law import checked_law
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import LawCheckResult, ModelInfo


def inspect_model(model: LoadedModel, seed: int = 0) -> tuple[ModelInfo, LawCheckResult]:
    """Provenance of the model, and whether its network behaves as its family's law says."""
    return model.info, checked_law(model, seed)
