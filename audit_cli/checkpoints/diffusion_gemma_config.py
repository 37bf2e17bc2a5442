"""What of a DiffusionGemma configuration makes the network, each field of its type and size.

transformers looks for code, folders and the hub by other fields, asks on the terminal whether to run what it found, and
takes memory for sizes that no tensor bears out: it is given nothing but these.
"""

from collections.abc import Mapping
from typing import Any

from audit_cli.checkpoints.config_file import brief, real, token_of, whole
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Request

LIMITS = {"vocab_size": 1 << 22, "hidden_size": 1 << 16, "num_hidden_layers": 1024, "num_attention_heads": 1024}
LIMITS |= {"num_key_value_heads": 1024, "head_dim": 1 << 14, "intermediate_size": 1 << 18, "num_experts": 1 << 12}
LIMITS |= {"moe_intermediate_size": 1 << 18, "max_position_embeddings": 1 << 24, "top_k_experts": 1 << 12}
OPTIONAL = {"sliding_window": 1 << 24, "global_head_dim": 1 << 14, "num_global_key_value_heads": 1024}
REALS = {"rms_norm_eps": (1e-12, 1e-2), "final_logit_softcapping": (1e-2, 1e6)}
ACTIVATION = "gelu_pytorch_tanh"
LAYERS = ("sliding_attention", "full_attention")
TIED = "tie_word_embeddings"
CANVAS = 1 << 14


def settings(request: Request) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of the configuration makes the network, each field of its type and size: its text part, and the rest.

    The class would look for other code, other folders and the hub by what else may stand there.
    """
    config, text = request.config, request.config.get("text_config")
    try:
        for part in (config, text, config.get("vision_config")):
            if isinstance(part, dict) and part.get("quantization_config") is not None:
                raise ValueError("quantization_config is set: quantised weights are not audited")
        if not isinstance(text, dict):
            raise ValueError(f"text_config must be an object, not {brief(text)}")
        canvas = whole(config, "canvas_length", CANVAS)
        return _text_settings(text), {"canvas_length": canvas, "tie_word_embeddings": _truth(config, TIED, True)}
    except ValueError as error:
        raise CheckpointError(f"{request.config_file}: {error}") from None


def _text_settings(text: Mapping[str, Any]) -> dict[str, Any]:
    out: dict[str, Any] = {key: whole(text, key, most) for key, most in LIMITS.items()}
    out |= {key: whole(text, key, most) for key, most in OPTIONAL.items() if text.get(key) is not None}
    if out["top_k_experts"] > out["num_experts"]:
        raise ValueError("top_k_experts is more than num_experts")
    for key, (low, high) in REALS.items():
        if text.get(key) is not None:
            out[key] = real(text, key)
            if not low <= out[key] <= high:
                raise ValueError(f"{key} must be between {low:g} and {high:g}, not {brief(text[key])}")
    if text.get("hidden_activation", ACTIVATION) != ACTIVATION:
        raise ValueError(f"hidden_activation is {brief(text['hidden_activation'])}, and the published one {ACTIVATION}")
    if text.get("use_bidirectional_attention") not in (None, "vision"):
        raise ValueError(f"use_bidirectional_attention is {brief(text['use_bidirectional_attention'])}, not 'vision'")
    out |= {key: _truth(text, key, False) for key in ("attention_bias", "attention_k_eq_v") if key in text}
    out["tie_word_embeddings"] = _truth(text, TIED, True)
    for key in ("bos_token_id", "pad_token_id"):
        if key in text:
            out[key] = None if text[key] is None else token_of(text, key, out["vocab_size"])
    kinds = text.get("layer_types")
    if kinds is not None:
        if not isinstance(kinds, list) or len(kinds) != out["num_hidden_layers"] or any(k not in LAYERS for k in kinds):
            raise ValueError(f"layer_types must be {out['num_hidden_layers']} of {', '.join(LAYERS)}")
        out["layer_types"] = list(kinds)
    out |= {"rope_parameters": _rotary(text["rope_parameters"])} if text.get("rope_parameters") is not None else {}
    if text.get("per_layer_config") is not None:
        out["per_layer_config"] = _by_layer(text["per_layer_config"], out["num_hidden_layers"])
    return out


def _rotary(given: object) -> dict[str, dict[str, Any]]:
    if not isinstance(given, dict) or set(given) - set(LAYERS):
        raise ValueError(f"rope_parameters must be of {', '.join(LAYERS)}")
    out = {}
    for kind, values in given.items():
        if not isinstance(values, dict) or values.get("rope_type", "default") not in ("default", "proportional"):
            raise ValueError(f"rope_type of {kind} must be default or proportional")
        out[kind] = {"rope_type": values.get("rope_type", "default")}
        for key, low, high in (("rope_theta", 1.0, 1e9), ("partial_rotary_factor", 1e-3, 1.0)):
            if key in values:
                out[kind][key] = real(values, key)
                if not low <= out[kind][key] <= high:
                    raise ValueError(f"{key} of {kind} must be between {low:g} and {high:g}")
    return out


def _by_layer(given: object, layers: int) -> dict[int, dict[str, int]]:
    if not isinstance(given, dict) or not all(str(key).isdecimal() and int(key) < layers for key in given):
        raise ValueError("per_layer_config must be an object by number of layer")
    out = {}
    for key, values in given.items():
        if not isinstance(values, dict) or set(values) - {"head_dim", "num_key_value_heads"}:
            raise ValueError(f"per_layer_config of layer {key} holds more than head_dim and num_key_value_heads")
        out[int(key)] = {name: whole(values, name, LIMITS[name]) for name in values}
    return out


def _truth(config: Mapping[str, Any], key: str, default: bool) -> bool:
    value = config.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, not {brief(value)}")
    return value
