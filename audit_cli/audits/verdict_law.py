"""Which law the verdicts may rest on."""

from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import LawCheck, LawCheckResult


def law_for_verdicts(model: LoadedModel, checked: LawCheckResult) -> LawCheck:
    """The law check's result; a family that declares another law than leave-one-out contradicts it by itself."""
    return checked.check if model.denoiser.law is Law.LEAVE_ONE_OUT else LawCheck.CONTRADICTED
