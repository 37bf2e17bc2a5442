"""GIDD's scaled models with purely uniform noise (dvruette/gidd-unif-3b, -10b).

One configuration class serves masked, hybrid and uniform training: `noise_type` shifts the log-SNR at which noise
goes over from [MASK] to uniform tokens, and only where that lies far outside of the noise's range is the model
uniform. The mask token has a row in the head and is never noise, never predicted.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from uddm_kernels import LinearHead

from audit_cli.checkpoints.config_file import brief, real, token_of, whole
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import LoadedModel, Sampling, packed_layout
from audit_cli.checkpoints.network_denoiser import TimelessDenoiser, read_network
from audit_cli.checkpoints.refused import HYBRID, MASKED, refuse
from audit_cli.checkpoints.tokenizer_files import model_tokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import LogSnrCosine, Schedule
from audit_cli.models.gidd import Gidd, GiddConfig
from audit_cli.records import ModelInfo

MASK_ID = 3
# The largest share of masks in the noise, at the end of its range, of a model that counts as uniform.
MASKS = 1e-6
# The head may be padded to a round number.
SPARE_ROWS = 1023
LIMITS = {"vocab_size": 1 << 22, "max_position_embeddings": 1 << 17, "hidden_size": 1 << 16}
LIMITS |= {"num_hidden_layers": 1024, "num_attention_heads": 1024, "intermediate_size": 1 << 18}
# What every published model of the class has; nothing else was verified.
FIXED = {
    "is_causal": False,
    "use_qk_norm": True,
    "attention_bias": True,
    "mlp_bias": True,
    "tie_word_embeddings": False,
    "rope_scaling": None,
    "weight_scaling": 1.0,
}


class GiddDenoiser(TimelessDenoiser):
    """The network under uniform noise over all tokens but the mask; it is told nothing of time."""

    def __init__(self, network: Gidd, schedule: Schedule, mask_id: int = MASK_ID) -> None:
        weight, config = network.head.weight, network.config
        tokens = torch.arange(config.vocab_size, device=weight.device)
        head = LinearHead(weight, scale=config.head_scale, forbidden=(mask_id,))
        super().__init__(network, head, tokens[tokens != mask_id], schedule)


def check_gidd(request: Request) -> None:
    """Raise CheckpointError at the masked and hybrid models of the class, and at a damaged configuration."""
    _configured(request)


def load_gidd(request: Request) -> LoadedModel:
    """Load a GIDD folder. Raises CheckpointError."""
    schedule, config = _configured(request)
    weights = request.one_set_of_weights("published")
    network, sha256 = read_network(request, lambda: Gidd(config))
    tokenizer, source = model_tokenizer(request.folder, request.tokenizer, config.vocab_size, SPARE_ROWS)
    # Training packed documents into rows, an EOS behind each.
    layout = packed_layout(config.max_length, token_of(request.config, "eos_token_id", config.vocab_size))
    info = ModelInfo(
        name=request.name,
        family="gidd",
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=config.vocab_size,
        max_length=config.max_length,
        schedule=schedule.name,
        law=str(Law.LEAVE_ONE_OUT),
        rows="packed, text between two EOS" if layout.packed else "natural length",
        weights=weights,
        weights_sha256=sha256,
        tokenizer=source,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256(),
        backbone="gidd",
    )
    # Its grid ends where a 1e-4 of the noise is left.
    sampling = Sampling(noise_removal=False)
    return LoadedModel(GiddDenoiser(network, schedule), tokenizer, layout, info, sampling)


def _configured(request: Request) -> tuple[LogSnrCosine, GiddConfig]:
    try:
        return _schedule(request), _network_config(request.config)
    except ValueError as error:
        raise CheckpointError(f"{request.config_file}: {error}") from None


def _schedule(request: Request) -> LogSnrCosine:
    """The noise's range; refuses noise that has masks in it."""
    low, high, shift = (real(request.config, key) for key in ("min_log_snr", "max_log_snr", "noise_type"))
    schedule = LogSnrCosine(low, high)
    if _mask_share(low + shift) > MASKS:
        masked = _mask_share(high + shift) > 1 - MASKS
        refuse(request, f"GIDD with noise_type {brief(shift)}", MASKED if masked else HYBRID)
    return schedule


def _mask_share(log_snr: float) -> float:
    """1 - sigmoid: the share of masks in the noise at a shifted log-SNR."""
    return 1 / (1 + math.exp(min(log_snr, 700.0)))


def _network_config(config: Mapping[str, Any]) -> GiddConfig:
    """The network of a configuration. Raises ValueError."""
    for key, fixed in FIXED.items():
        if config.get(key, fixed) != fixed:
            raise ValueError(f"{key} is {brief(config[key])}, and every published model of this class has {fixed}")
    sizes = {key: whole(config, key, most) for key, most in LIMITS.items()}
    head_width = config.get("head_dim")
    if head_width not in (None, sizes["hidden_size"] // sizes["num_attention_heads"]):
        raise ValueError(f"head_dim is {brief(head_width)}, and the heads do not fill the width")
    if sizes["vocab_size"] <= MASK_ID + 1:
        raise ValueError(f"vocab_size must be more than {MASK_ID + 1}")
    out = GiddConfig(
        vocab_size=sizes["vocab_size"],
        max_length=sizes["max_position_embeddings"],
        width=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        mlp_width=sizes["intermediate_size"],
        residual_scale=real(config, "resid_scale") / sizes["num_hidden_layers"],
        head_scale=real(config, "head_scaling"),
        soft_cap=real(config, "attn_soft_cap"),
        rotary_base=real(config, "rope_theta"),
        norm_eps=real(config, "rms_norm_eps"),
    )
    if min(out.soft_cap, out.rotary_base, out.norm_eps) <= 0:
        raise ValueError("attn_soft_cap, rope_theta and rms_norm_eps must be positive")
    return out


FAMILY = Family("gidd", check_gidd, load_gidd, ("gidd",), ("GiddForDiffusionLM",))
