"""The diffusion transformer of DUO, UDLM and the paper's checkpoints, with their parameter names.

Adaptive layer norm conditioned on sigma = -log alpha, rotary positions over the whole head, no attention mask, an
untied head with bias. Sizes of the paper: 256 wide with 8 blocks, 768 with 12, 1024 with 24.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from audit_cli.models.attention import rotary_angles, rotate
from audit_cli.models.dense import Dense
from audit_cli.models.time_features import in_pieces, in_whole_blocks, sinusoids

SIGMA_FEATURES = 256
NORM_EPS = 1e-5
# Published files save the frequencies; they are a constant.
ROTARY_BASE = 10_000.0


@dataclass(frozen=True)
class DiTConfig:
    vocab_size: int
    max_length: int
    width: int = 256
    layers: int = 8
    heads: int = 8
    mlp_ratio: int = 4
    condition_width: int = 128

    def __post_init__(self) -> None:
        if self.width % (2 * self.heads):
            raise ValueError(f"width {self.width} is not a multiple of twice the {self.heads} heads")


class DiT(nn.Module):
    """Tokens and sigma in, modulated hidden states out; `output_layer.linear` turns them into logits."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        self.vocab_embed = _Embedding(config)
        self.sigma_map = _SigmaMap(config)
        self.blocks = nn.ModuleList(_Block(config) for _ in range(config.layers))
        self.output_layer = _OutputLayer(config)

    @property
    def head(self) -> Dense:
        return self.output_layer.linear

    def forward(
        self, tokens: Int64[Tensor, "rows length"], sigma: Float[Tensor, " rows"], mask: Tensor | None = None
    ) -> Float[Tensor, "rows length width"]:
        """Hidden states as the head sees them. `mask` is true at real tokens; published models never use one."""
        return in_pieces(self._hidden, tokens, sigma, mask)

    def _hidden(self, tokens: Tensor, sigma: Tensor, mask: Tensor | None) -> Tensor:
        x = self.vocab_embed.embedding[tokens].float()
        condition = self.sigma_map(sigma)
        cos, sin = rotary_angles(tokens.shape[1], self.config.width // self.config.heads, ROTARY_BASE, tokens.device)
        attend = None if mask is None else mask[:, None, None, :]
        for block in self.blocks:
            x = block(x, condition, cos, sin, attend)
        out: Tensor = self.output_layer(x, condition)
        return out


class _Embedding(nn.Module):
    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(config.vocab_size, config.width))
        nn.init.kaiming_uniform_(self.embedding, a=5**0.5)


class _SigmaMap(nn.Module):
    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        c = config.condition_width
        self.mlp = nn.Sequential(Dense(SIGMA_FEATURES, c), nn.SiLU(), Dense(c, c))

    def forward(self, sigma: Tensor) -> Tensor:
        return in_whole_blocks(lambda rows: F.silu(self.mlp(sinusoids(rows, SIGMA_FEATURES))), sigma)


class _Norm(nn.Module):
    """Layer norm with weight and without bias, scaled and shifted by what a row's noise says."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        # One pass over the normed activations; weight, scale and shift one after the other would take three.
        return torch.addcmul(shift, F.layer_norm(x, (x.shape[-1],), eps=NORM_EPS), self.weight * (1 + scale))


class _Block(nn.Module):
    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        width, hidden = config.width, config.mlp_ratio * config.width
        self.heads = config.heads
        self.norm1 = _Norm(width)
        self.attn_qkv = Dense(width, 3 * width, bias=False)
        self.attn_out = Dense(width, width, bias=False)
        self.norm2 = _Norm(width)
        # Published files count the activation as a layer of its own.
        self.mlp = nn.Sequential(Dense(width, hidden, gelu=True), nn.Identity(), Dense(hidden, width))
        self.adaLN_modulation = Dense(config.condition_width, 6 * width)
        nn.init.zeros_(self.adaLN_modulation.weight)
        nn.init.zeros_(self.adaLN_modulation.bias)

    def forward(self, x: Tensor, condition: Tensor, cos: Tensor, sin: Tensor, attend: Tensor | None) -> Tensor:
        rows, length, width = x.shape
        modulation = in_whole_blocks(self.adaLN_modulation, condition)[:, None]
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = modulation.chunk(6, dim=2)
        qkv = self.attn_qkv(self.norm1(x, shift_a, scale_a))
        q, k, v = qkv.view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(rotate(q, cos, sin), rotate(k, cos, sin), v, attn_mask=attend)
        attended = self.attn_out(attended.transpose(1, 2).reshape(rows, length, width))
        x = torch.addcmul(x, gate_a, attended)
        return torch.addcmul(x, gate_m, self.mlp(self.norm2(x, shift_m, scale_m)))


class _OutputLayer(nn.Module):
    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm_final = _Norm(config.width)
        self.linear = Dense(config.width, config.vocab_size)
        self.adaLN_modulation = Dense(config.condition_width, 2 * config.width)
        for module in (self.linear, self.adaLN_modulation):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:
        shift, scale = in_whole_blocks(self.adaLN_modulation, condition)[:, None].chunk(2, dim=2)
        out: Tensor = self.norm_final(x, shift, scale)
        return out
