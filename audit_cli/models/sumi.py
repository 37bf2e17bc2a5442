"""The transformer of Sumi (tohoku-nlp/sumi-7b), with its parameter names.

It is told nothing of time. Groups of query heads share a key and value head; the softmax of attention is off by one,
exp(s_i) / (1 + Σ_j exp(s_j)): every query may look at a sink of score 0 and value 0. No layer has a bias.
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
class SumiConfig:
    """Sizes; the `heads` of `head_width` need not fill the width."""

    vocab_size: int
    max_length: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    head_width: int
    mlp_width: int
    rotary_base: float = 500_000.0
    norm_eps: float = 1e-5

    def __post_init__(self) -> None:
        sizes = (self.vocab_size, self.max_length, self.width, self.layers, self.heads, self.kv_heads, self.mlp_width)
        if min(sizes) < 1:
            raise ValueError("every size must be at least 1")
        if self.heads % self.kv_heads:
            raise ValueError(f"{self.heads} heads are not a multiple of {self.kv_heads} key and value heads")
        if self.head_width < 2 or self.head_width % 2:
            raise ValueError(f"heads of width {self.head_width} have no two halves to rotate")
        if not (self.rotary_base > 0 and self.norm_eps > 0):
            raise ValueError("the base of rotary positions and the epsilon of norms must be positive")


class Sumi(nn.Module):
    """Tokens in, last hidden states out; `head` turns them into logits."""

    def __init__(self, config: SumiConfig) -> None:
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
        angles = rotary_angles(length, self.config.head_width, self.config.rotary_base, tokens.device)
        real = torch.ones(length, dtype=torch.bool, device=tokens.device) if mask is None else mask[0]
        for layer in self.model.layers:
            x = layer(x, angles, real)
        out: Tensor = self.model.norm(x)
        return out


class _Body(nn.Module):
    def __init__(self, config: SumiConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(_Layer(config) for _ in range(config.layers))
        self.norm = _Norm(config)


class _Norm(nn.Module):
    """Root mean square norm over the width, scaled by the weight."""

    def __init__(self, config: SumiConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(config.width))
        self.eps = config.norm_eps

    def forward(self, x: Tensor) -> Tensor:
        return self.weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))


class _Layer(nn.Module):
    def __init__(self, config: SumiConfig) -> None:
        super().__init__()
        self.input_layernorm = _Norm(config)
        self.self_attn = _Attention(config)
        self.post_attention_layernorm = _Norm(config)
        self.mlp = _MLP(config)

    def forward(self, x: Tensor, angles: Angles, real: Tensor) -> Tensor:
        x = x + self.self_attn(self.input_layernorm(x), angles, real)
        out: Tensor = x + self.mlp(self.post_attention_layernorm(x))
        return out


class _MLP(nn.Module):
    def __init__(self, config: SumiConfig) -> None:
        super().__init__()
        self.gate_proj = Dense(config.width, config.mlp_width, bias=False)
        self.up_proj = Dense(config.width, config.mlp_width, bias=False)
        self.down_proj = Dense(config.mlp_width, config.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))
        return out


class _Attention(nn.Module):
    def __init__(self, config: SumiConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = config.heads, config.kv_heads, config.head_width
        self.q_proj = Dense(config.width, self.heads * self.head_width, bias=False)
        self.k_proj = Dense(config.width, self.kv_heads * self.head_width, bias=False)
        self.v_proj = Dense(config.width, self.kv_heads * self.head_width, bias=False)
        self.o_proj = Dense(self.heads * self.head_width, config.width, bias=False)

    def forward(self, x: Tensor, angles: Angles, real: Tensor) -> Tensor:
        rows, length, _ = x.shape
        q, k, v = (
            y.view(rows, length, -1, self.head_width).transpose(1, 2)
            for y in (self.q_proj(x), self.k_proj(x), self.v_proj(x))
        )
        # A key of zeros has score 0 with every query, and a value of zeros adds nothing: the sink.
        sink = block_of_one(x.new_zeros(self.kv_heads, self.head_width), rows)
        k, v = torch.cat([rotate(k, *angles), sink], dim=2), torch.cat([v, sink], dim=2)
        # The heads of a group one after the other are so many more queries of their one key and value head.
        q = rotate(q, *angles).reshape(rows, self.kv_heads, -1, self.head_width)
        attended = attend(q, k, v, and_one_of_a_block(real), SCORES_AT_ONCE)
        heads = attended.view(rows, self.heads, length, self.head_width)
        out: Tensor = self.o_proj(heads.transpose(1, 2).reshape(rows, length, -1))
        return out
