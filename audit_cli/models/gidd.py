"""The transformer of GIDD's scaled models (dvruette/gidd-unif-3b, -10b), with their parameter names.

It is told nothing of time. Attention has a learned key and value that every position may look at, normalises queries
and keys over the whole width, and caps its scores softly; norms scale by 1 + weight; the MLP is squared relu.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from audit_cli.models.attention import (
    SCORES_AT_ONCE,
    Angles,
    and_one_of_a_block,
    attend,
    block_of_one,
    rotary_angles,
    rotate,
)
from audit_cli.models.dense import Dense


@dataclass(frozen=True)
class GiddConfig:
    """Sizes; `residual_scale` is that of one layer."""

    vocab_size: int
    max_length: int
    width: int
    layers: int
    heads: int
    mlp_width: int
    residual_scale: float = 1.0
    head_scale: float = 1.0
    soft_cap: float = 30.0
    rotary_base: float = 10_000.0
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the {self.heads} heads")


class Gidd(nn.Module):
    """Tokens in, last hidden states out; `head` times `config.head_scale` turns them into logits."""

    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        self.config = config
        self.model = _Body(config)
        self.lm_head = Dense(config.width, config.vocab_size, bias=False)

    @property
    def head(self) -> Dense:
        return self.lm_head

    def forward(
        self, tokens: Int64[Tensor, "rows length"], mask: Bool[Tensor, "1 length"] | None = None
    ) -> Float[Tensor, "rows length width"]:
        """Hidden states after the last norm. `mask` is true at real tokens."""
        x = self.model.embed_tokens(tokens).float()
        length = tokens.shape[1]
        head_width = self.config.width // self.config.heads
        angles = rotary_angles(length, head_width, self.config.rotary_base, tokens.device)
        real = torch.ones(length, dtype=torch.bool, device=tokens.device) if mask is None else mask[0]
        for layer in self.model.layers:
            x = layer(x, angles, real)
        out: Tensor = self.model.norm(x)
        return out


class _Body(nn.Module):
    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = _Norm(config)


class _Norm(nn.Module):
    """Root mean square norm over the width, scaled by 1 + weight."""

    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(config.width))
        self.eps = config.norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * (1 + self.weight)


class _Layer(nn.Module):
    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        self.scale = config.residual_scale
        self.attn_layernorm = _Norm(config)
        self.self_attn = _Attention(config)
        self.mlp_layernorm = _Norm(config)
        self.mlp = _MLP(config)

    def forward(self, x: Tensor, angles: Angles, real: Tensor) -> Tensor:
        x = x + self.scale * self.self_attn(self.attn_layernorm(x), angles, real)
        out: Tensor = x + self.scale * self.mlp(self.mlp_layernorm(x))
        return out


class _MLP(nn.Module):
    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        self.up_proj = Dense(config.width, config.mlp_width)
        self.down_proj = Dense(config.mlp_width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.relu(self.up_proj(x)).square())
        return out


class _Attention(nn.Module):
    def __init__(self, config: GiddConfig) -> None:
        super().__init__()
        width, self.heads, self.soft_cap = config.width, config.heads, config.soft_cap
        self.q_proj = Dense(width, width, bias=False)
        self.k_proj = Dense(width, width, bias=False)
        self.v_proj = Dense(width, width, bias=False)
        self.o_proj = Dense(width, width, bias=False)
        self.q_norm, self.k_norm = _Norm(config), _Norm(config)
        self.k_bias = nn.Parameter(torch.zeros(self.heads, width // self.heads))
        self.v_bias = nn.Parameter(torch.zeros(self.heads, width // self.heads))

    def forward(self, x: Tensor, angles: Angles, real: Tensor) -> Tensor:
        rows, length, width = x.shape
        q, k, v = (
            y.view(rows, length, self.heads, width // self.heads).transpose(1, 2)
            for y in (self.q_norm(self.q_proj(x)), self.k_norm(self.k_proj(x)), self.v_proj(x))
        )
        k = torch.cat([rotate(k, *angles), block_of_one(self.k_bias, rows)], dim=2)
        v = torch.cat([v, block_of_one(self.v_bias, rows)], dim=2)
        attended = attend(rotate(q, *angles), k, v, and_one_of_a_block(real), SCORES_AT_ONCE, self.soft_cap)
        out: Tensor = self.o_proj(attended.transpose(1, 2).reshape(rows, length, width))
        return out
