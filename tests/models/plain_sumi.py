"""Sumi written out a second time, from its published configuration and tensors: float64, one head at a time."""

import torch

ROPE = {"rope_type": "default", "rope_theta": 500_000.0}


def published_config(**changes):
    """`config.json` of tohoku-nlp/sumi-7b with the sizes of a toy."""
    return {
        "architectures": ["SumiForMaskGeneration"],
        "model_type": "sumi",
        "vocab_size": 40,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "max_position_embeddings": 64,
        "rms_norm_eps": 1e-5,
        "rope_parameters": ROPE,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "add_qkv_bias": False,
        "tie_word_embeddings": False,
        "bos_token_id": 36,
        "eos_token_id": 37,
        "pad_token_id": 39,
        "dtype": "bfloat16",
    } | changes


def random_tensors(config, dtype=torch.float32, seed=0):
    """Random weights under the published names: norms near 1, scores of a few units."""
    width, mlp, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    queries, keys = (config[f"num_{kind}_heads"] * config["head_dim"] for kind in ("attention", "key_value"))
    shapes = {"model.embed_tokens.weight": (vocab, width), "model.norm.weight": (width,)}
    shapes["lm_head.weight"] = (vocab, width)
    for i in range(config["num_hidden_layers"]):
        here = f"model.layers.{i}."
        shapes |= {here + f"{norm}_layernorm.weight": (width,) for norm in ("input", "post_attention")}
        shapes |= {
            here + "self_attn.q_proj.weight": (queries, width),
            here + "self_attn.o_proj.weight": (width, queries),
        }
        shapes |= {here + f"self_attn.{name}_proj.weight": (keys, width) for name in "kv"}
        shapes |= {here + f"mlp.{name}_proj.weight": (mlp, width) for name in ("gate", "up")}
        shapes[here + "mlp.down_proj.weight"] = (width, mlp)
    generator = torch.Generator().manual_seed(seed)
    out = {name: torch.randn(shape, generator=generator) * 0.3 for name, shape in shapes.items()}
    return {name: (x + (x.ndim == 1)).to(dtype) for name, x in out.items()}


def plain_logits(config, tensors, tokens):
    """Logits (rows, length, vocab) in float64."""
    weights = {name: tensor.double() for name, tensor in tensors.items()}
    eps = config["rms_norm_eps"]
    x = weights["model.embed_tokens.weight"][tokens]
    for i in range(config["num_hidden_layers"]):
        layer = {name.removeprefix(f"model.layers.{i}."): w for name, w in weights.items() if f"layers.{i}." in name}
        x = x + _attention(config, layer, _norm(x, layer["input_layernorm.weight"], eps))
        h = _norm(x, layer["post_attention_layernorm.weight"], eps)
        gate, up = (torch.einsum("rlw,mw->rlm", h, layer[f"mlp.{name}_proj.weight"]) for name in ("gate", "up"))
        x = x + torch.einsum("rlm,wm->rlw", gate / (1 + torch.exp(-gate)) * up, layer["mlp.down_proj.weight"])
    return torch.einsum("rlw,vw->rlv", _norm(x, weights["model.norm.weight"], eps), weights["lm_head.weight"])


def _norm(x, weight, eps):
    return weight * (x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps))


def _attention(config, layer, h):
    heads, head_width = config["num_attention_heads"], config["head_dim"]
    group = heads // config["num_key_value_heads"]
    q, k, v = (
        torch.einsum("rlw,ow->rlo", h, layer[f"self_attn.{name}_proj.weight"]).unflatten(-1, (-1, head_width))
        for name in "qkv"
    )
    k, v = k.repeat_interleave(group, 2), v.repeat_interleave(group, 2)
    out = []
    for head in range(heads):
        scores = torch.einsum("rqd,rkd->rqk", _turned(q[:, :, head]), _turned(k[:, :, head])) / head_width**0.5
        out.append(torch.einsum("rqk,rkd->rqd", softmax_one(scores), v[:, :, head]))
    return torch.einsum("rlo,wo->rlw", torch.cat(out, -1), layer["self_attn.o_proj.weight"])


def _turned(x):
    """Pairs (j, j + half) as complex numbers, turned by position · base^(-j / half)."""
    length, head_width = x.shape[1:]
    half = head_width // 2
    frequency = ROPE["rope_theta"] ** -(torch.arange(half, dtype=torch.float64) / half)
    angle = torch.arange(length, dtype=torch.float64)[:, None] * frequency
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1)


def softmax_one(scores):
    """exp(s_i) / (1 + sum_j exp(s_j)), over the last axis; both sides times exp(-m), m the largest of s and 0."""
    most = scores.amax(-1, keepdim=True).clamp(min=0)
    weights = torch.exp(scores - most)
    return weights / (torch.exp(-most) + weights.sum(-1, keepdim=True))
