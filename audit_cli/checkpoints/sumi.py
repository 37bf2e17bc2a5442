"""Sumi (tohoku-nlp/sumi-7b): uniform noise over the whole vocabulary, and a network that is told nothing of time.

Training packed documents into rows, delimited by EOS, BOS. The model's own generation fills a canvas of 2048 tokens,
of which the first is BOS, and sets EOS, BOS behind the text.
"""

from collections.abc import Mapping
from typing import Any

import torch
from uddm_kernels import LinearHead

from audit_cli.checkpoints.config_file import brief, real, token_of, whole
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import Layout, LoadedModel, Sampling
from audit_cli.checkpoints.network_denoiser import TimelessDenoiser, read_network
from audit_cli.checkpoints.tokenizer_files import model_tokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import ClippedLinear, Schedule
from audit_cli.models.sumi import Sumi, SumiConfig
from audit_cli.records import ModelInfo

# The canvas of the model's own generation.
CANVAS = 2048
# The head may be padded to a round number.
SPARE_ROWS = 1023
LIMITS = {"vocab_size": 1 << 22, "max_position_embeddings": 1 << 17, "hidden_size": 1 << 16}
LIMITS |= {"num_hidden_layers": 1024, "num_attention_heads": 1024, "num_key_value_heads": 1024}
LIMITS |= {"intermediate_size": 1 << 18}
HEAD_WIDTH = 1 << 16
# What the published model has; nothing else was verified.
FIXED = {
    "attention_bias": False,
    "mlp_bias": False,
    "add_qkv_bias": False,
    "tie_word_embeddings": False,
    "hidden_act": "silu",
    "rope_scaling": None,
    "quantization_config": None,
}


class SumiDenoiser(TimelessDenoiser):
    """The network under uniform noise over all tokens."""

    def __init__(self, network: Sumi, schedule: Schedule) -> None:
        weight = network.head.weight
        tokens = torch.arange(network.config.vocab_size, device=weight.device)
        super().__init__(network, LinearHead(weight), tokens, schedule)


def check_sumi(request: Request) -> None:
    """Raise CheckpointError at a configuration that is damaged, or whose network was not verified."""
    _configured(request)


def load_sumi(request: Request) -> LoadedModel:
    """Load a Sumi folder. Raises CheckpointError."""
    config, schedule = _configured(request), ClippedLinear()
    weights = request.one_set_of_weights("published")
    network, sha256 = read_network(request, lambda: Sumi(config))
    tokenizer, source = model_tokenizer(request.folder, request.tokenizer, config.vocab_size, SPARE_ROWS)
    layout, rows = _layout(request.config, config)
    info = ModelInfo(
        name=request.name,
        family="sumi",
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=config.vocab_size,
        max_length=config.max_length,
        schedule=schedule.name,
        law=str(Law.LEAVE_ONE_OUT),
        rows=rows,
        weights=weights,
        weights_sha256=sha256,
        tokenizer=source,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256(),
        backbone="sumi",
    )
    # Its grid ends where a 1e-4 of the noise is left.
    sampling = Sampling(noise_removal=False)
    return LoadedModel(SumiDenoiser(network, schedule), tokenizer, layout, info, sampling)


def _layout(config: Mapping[str, Any], network: SumiConfig) -> tuple[Layout, str]:
    """A document of training where the configuration names its delimiters, else the text alone."""
    bos, eos = (token_of(config, key, network.vocab_size) for key in ("bos_token_id", "eos_token_id"))
    if bos is None or eos is None or network.max_length <= 3:
        return Layout(network.max_length), "natural length"
    return Layout(network.max_length - 3, None, before=(bos,), after=(eos, bos)), "BOS text EOS BOS"


def _configured(request: Request) -> SumiConfig:
    try:
        return _network_config(request.config)
    except ValueError as error:
        raise CheckpointError(f"{request.config_file}: {error}") from None


def _network_config(config: Mapping[str, Any]) -> SumiConfig:
    """The network of a configuration. Raises ValueError."""
    for key, fixed in FIXED.items():
        if config.get(key, fixed) != fixed:
            raise ValueError(f"{key} is {brief(config[key])}, and the published model of this class has {fixed}")
    sizes = {key: whole(config, key, most) for key, most in LIMITS.items()}
    filling = sizes["hidden_size"] // sizes["num_attention_heads"]
    return SumiConfig(
        vocab_size=sizes["vocab_size"],
        max_length=min(CANVAS, sizes["max_position_embeddings"]),
        width=sizes["hidden_size"],
        layers=sizes["num_hidden_layers"],
        heads=sizes["num_attention_heads"],
        kv_heads=sizes["num_key_value_heads"],
        head_width=filling if config.get("head_dim") is None else whole(config, "head_dim", HEAD_WIDTH),
        mlp_width=sizes["intermediate_size"],
        rotary_base=_rotary_base(config),
        norm_eps=real(config, "rms_norm_eps"),
    )


def _rotary_base(config: Mapping[str, Any]) -> float:
    """The base of plain rotary positions over the whole head. Raises ValueError at any other kind."""
    given = config.get("rope_parameters")
    if given is None:
        return real(config, "rope_theta")
    if not isinstance(given, dict):
        raise ValueError(f"rope_parameters must be an object, not {brief(given)}")
    if given.get("rope_type", "default") != "default":
        raise ValueError(f"rope_type is {brief(given['rope_type'])}, and the published model of this class has default")
    unknown = given.keys() - {"rope_type", "rope_theta"}
    if unknown:
        raise ValueError(f"rope_parameters has {brief(min(unknown))}, which the published model of this class has not")
    base = real(given, "rope_theta")
    if config.get("rope_theta") not in (None, base):
        raise ValueError(f"rope_theta is {brief(config['rope_theta'])}, and in rope_parameters {brief(base)}")
    return base


FAMILY = Family("sumi", check_sumi, load_sumi, ("sumi",), ("SumiForMaskGeneration",))
