"""`uddm-audit inspect`: what a checkpoint is."""

from audit_cli.audits.law import checked_law
from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.loaded import Sampling
from audit_cli.records import LawCheckResult, ModelInfo


def inspect_model(model: LoadedModel, seed: int = 0) -> tuple[ModelInfo, LawCheckResult, str]:
    """Provenance of the model, whether its network behaves as its family's law says, and the family's own dynamics."""
    return model.info, checked_law(model, seed), _dynamics(model.sampling)


def _dynamics(sampling: Sampling) -> str:
    if sampling.entropy_bound is not None:
        loop = sampling.entropy_bound
        return f"{sampling.dynamics}: at most {loop.steps} steps, {loop.bound:g} nats accepted together"
    return f"{sampling.dynamics}, {'with' if sampling.noise_removal else 'without'} a last step that removes noise"
