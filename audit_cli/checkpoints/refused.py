"""Diffusion language models whose noise is not uniform: recognised, and refused with the reason."""

from typing import NoReturn

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request

MASKED = (
    "a masked diffusion model: its noise writes [MASK] and a token once written is never changed, so it cannot take "
    "back a wrong token and has no basins under uniform noise; this audit does not apply"
)
HYBRID = (
    "a hybrid of masked and uniform diffusion: its noise ends in [MASK] and the posterior of uniform noise is not its "
    "own; this audit does not apply"
)
SCORE = (
    "a score model: its network gives ratios of probabilities and not the law of a token, and the published ones have "
    "masked noise; this audit does not apply"
)


def refuse(request: Request, name: str, reason: str) -> NoReturn:
    """Say in one sentence what a checkpoint is and why it is not audited."""
    raise CheckpointError(f"{request.name}: {name} is {reason}")


def _refused(
    name: str, reason: str, model_types: tuple[str, ...], architectures: tuple[str, ...], keys: tuple[str, ...] = ()
) -> Family:
    def check(request: Request) -> NoReturn:
        refuse(request, name, reason)

    return Family(name, check, check, model_types, architectures, frozenset(keys), supported=False)


def _gidd_hybrid(request: Request) -> NoReturn:
    refuse(request, f"GIDD with p_uniform {brief(request.config.get('p_uniform'))}", HYBRID)


FAMILIES = (
    _refused("MDLM", MASKED, ("mdlm",), ("MDLM",)),
    _refused("BD3-LM", MASKED, ("bd3lm",), ("BD3LM",)),
    _refused(
        "LLaDA",
        MASKED,
        ("llada", "llada_moe", "llada2_moe"),
        ("LLaDAModelLM", "LLaDAMoEModelLM", "LLaDAMoEModel", "LLaDA2MoeModelLM"),
    ),
    _refused("Dream", MASKED, ("dream",), ("DreamModel",)),
    _refused("SDAR", MASKED, ("sdar", "sdar_moe"), ("SDARForCausalLM", "SDARMoeForCausalLM")),
    _refused("XDLM", HYBRID, ("xdlm",), ("XDLM",)),
    Family("GIDD", _gidd_hybrid, _gidd_hybrid, ("dit",), keys=frozenset({"p_uniform"}), supported=False),
    _refused("SEDD", SCORE, ("sedd",), ("SEDD",), ("graph", "noise", "model")),
)
