"""What the configuration inside a Lightning checkpoint says: which process the network was trained for.

Three layouts of omegaconf: DUO and the paper's fork (`algo.name`, `noise.eps`), rev_udm (`algo.model_prediction`, eps
in `training.sampling_eps`: its `noise.eps` is read by nothing) and UDLM (`diffusion`, no `algo`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.duo import DISTILLED
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import Cosine, LogLinear, Schedule

# The default of every one of the three, and what UDLM and the fork have hard-coded.
EPS = 1e-3
FAMILIES = {"duo_base": "duo", "duo": "duo", "distillation": DISTILLED, "udlm": "udlm"}
REFUSED = {
    "mdlm": "a masked diffusion model (MDLM)",
    "remdlm": "a masked diffusion model (ReMDM)",
    "d3pm": "a masked diffusion model (D3PM with an absorbing state)",
    "sedd": "a score model with an absorbing state (SEDD)",
    "audm": "an absorbing-state reformulation that is conditioned on its noise (AUDM)",
    "reaudm": "an absorbing-state reformulation that is conditioned on its noise (ReAUDM)",
    "ar": "an autoregressive model",
    "absorbing_state": "a masked diffusion model (absorbing state)",
}
WHY = "this audit is for models whose noise is uniform over the vocabulary"
# As the folders of the hub call them, and as these files do.
SIZES = {"hidden_dim": "hidden_size", "cond_dim": "cond_dim", "n_blocks": "n_blocks", "n_heads": "n_heads"}
INTERPOLATION = re.compile(r"\$\{([\w.]+)\}")


@dataclass(frozen=True)
class LightningConfig:
    """What is needed of a configuration. `sizes` are those that it states; the tensors decide.

    `packed` says that rows were text cut anywhere, between two separators. `noise_skips_mask` says that noise is drawn
    from the tokenizer's vocabulary, without the mask token that the network has besides (rev_udm with tokenizers that
    have no mask of their own).
    """

    family: str
    law: Law
    schedule: Schedule
    length: int
    sizes: Mapping[str, int]
    noise_skips_mask: bool
    tokenizer_name: str
    packed: bool = True

    def noise_without_mask(self, vocab: int, tokens: int | None) -> bool:
        """Whether the last of the network's `vocab` tokens is never drawn; `tokens` is the tokenizer's size."""
        return self.noise_skips_mask and (tokens == vocab - 1 or "gpt2" in self.tokenizer_name)


def read_lightning_config(config: Any) -> LightningConfig:
    """The configuration's meaning, from plain values. Raises ValueError, whose message is the end of a sentence."""
    if not isinstance(config, dict):
        raise ValueError("it has no configuration in its hyper_parameters, so nothing says how it was trained")
    reader = _Reader(config)
    name = str(reader.get("algo.name") or reader.get("diffusion") or "")
    if name in REFUSED:
        raise ValueError(f"this is {REFUSED[name]}, and {WHY}")
    if name != "uniform" and name not in FAMILIES:
        raise ValueError(f"unknown algorithm {brief(name)}; known: {', '.join(FAMILIES)}")
    _check_backbone(reader)
    revised = reader.get("algo.model_prediction") is not None
    length = reader.get("model.length")
    if type(length) is not int:
        raise ValueError(f"model.length must be a whole number, not {brief(length)}")
    sizes = {field: size for field, name in SIZES.items() if type(size := reader.get(f"model.{name}")) is int}
    return LightningConfig(
        family=FAMILIES.get(name, "udlm"),
        law=_law(reader),
        schedule=_schedule(reader, revised),
        length=length,
        sizes=sizes,
        noise_skips_mask=revised,
        tokenizer_name=str(reader.get("data.tokenizer_name_or_path")),
        packed=reader.get("data.wrap") is not False,
    )


class _Reader:
    """A configuration by dotted names. A value that is one `${dotted.name}` is what it points to."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config

    def get(self, name: str) -> Any:
        """The value, or None where there is none or the interpolation is more than a name."""
        for _ in range(8):
            value = self._at(name)
            if not isinstance(value, str) or "${" not in value:
                return value
            pointed = INTERPOLATION.fullmatch(value)
            if pointed is None:
                return None
            name = pointed[1]
        return None

    def _at(self, name: str) -> Any:
        value: Any = self.config
        for part in name.split("."):
            if not isinstance(value, dict):
                return None
            value = value.get(part)
        return value

    def either(self, *names: str) -> Any:
        """The first of the values that is there."""
        return next((value for name in names if (value := self.get(name)) is not None), None)


def _check_backbone(reader: _Reader) -> None:
    backbone = reader.either("algo.backbone", "backbone")
    if backbone not in (None, "dit", "hf_dit"):
        raise ValueError(f"its backbone is {brief(backbone)}, and this version knows the diffusion transformer, 'dit'")
    if reader.either("algo.causal_attention") or reader.either("algo.parameterization", "parameterization") == "ar":
        raise ValueError(f"this is an autoregressive model, and {WHY}")
    parameterization = reader.either("algo.parameterization", "parameterization")
    if parameterization in ("subs", "score"):
        raise ValueError(f"its parameterization is {brief(parameterization)}: no uniform-state model, and {WHY}")
    if reader.either("algo.time_conditioning", "time_conditioning") is False:
        raise ValueError("it is not conditioned on time, which this version does not know of this family")
    if reader.either("algo.subs_masking", "subs_masking"):
        raise ValueError(f"it never predicts its mask token (subs_masking), and {WHY}")
    if reader.get("data.num_classes") is not None and reader.get("training.guidance") is not None:
        raise ValueError("it is conditioned on a class, which this version does not know")


def _law(reader: _Reader) -> Law:
    """Trained on the plug-in ELBO: leave-one-out; the posterior where it was trained to be (arXiv 2605.22765)."""
    posterior = reader.get("algo.model_prediction") == "mean" or reader.get("training.use_simple_ce_loss")
    return Law.POSTERIOR if posterior else Law.LEAVE_ONE_OUT


def _schedule(reader: _Reader, revised: bool) -> Schedule:
    kind = reader.get("noise.type")
    eps = reader.get("training.sampling_eps" if revised else "noise.eps")
    if eps is None:
        eps = EPS
    # At eps = 0 sigma is infinite at t = 1, where every trajectory begins.
    if type(eps) is not float or not 0 < eps < 0.5:
        raise ValueError(f"the eps of its noise must be a number above 0 and below .5, not {brief(eps)}")
    if kind in ("log-linear", "loglinear"):
        return LogLinear(eps)
    if kind == "cosine" and not revised:
        return Cosine(eps)
    raise ValueError(f"its noise schedule is {brief(kind)}; known: log-linear, cosine")
