"""Attention of the large networks: rotary positions, and scores that never take more than a bounded memory."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from audit_cli.models.time_features import MIN_ROWS

# Attention scores held at once: 64 MiB of float32.
SCORES_AT_ONCE = 1 << 24

Angles = tuple[Float[Tensor, "length half"], Float[Tensor, "length half"]]


def rotary_angles(length: int, head_width: int, base: float, device: torch.device) -> Angles:
    """Cosines and sines (length, head width / 2), in float32."""
    exponent = torch.arange(0, head_width, 2, dtype=torch.float32, device=device) / head_width
    angle = torch.arange(length, device=device, dtype=torch.float32)[:, None] * base**-exponent
    return angle.cos(), angle.sin()


def rotate(
    x: Float[Tensor, "rows heads length width"], cos: Float[Tensor, "length half"], sin: Float[Tensor, "length half"]
) -> Float[Tensor, "rows heads length width"]:
    """Rotary positions in the half-split (NeoX) layout, over the whole head."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin)], dim=-1
    )


def block_of_one(one: Float[Tensor, "heads width"], rows: int) -> Float[Tensor, "rows heads block width"]:
    """A key or value beside those of the tokens, at the front of a whole block, so that keys stay aligned."""
    heads, head_width = one.shape
    return F.pad(one[:, None], (0, 0, 0, MIN_ROWS - 1)).expand(rows, heads, MIN_ROWS, head_width)


def and_one_of_a_block(real: Bool[Tensor, " length"]) -> Bool[Tensor, " keys"]:
    """Where one may look once a `block_of_one` is behind the tokens: at its first place alone."""
    return torch.cat([real, torch.arange(MIN_ROWS, device=real.device) == 0])


def attend(
    q: Float[Tensor, "rows heads queries width"],
    k: Float[Tensor, "rows heads keys width"],
    v: Float[Tensor, "rows heads keys width"],
    real: Bool[Tensor, " keys"],
    scores_at_once: int,
    soft_cap: float | None = None,
) -> Float[Tensor, "rows heads queries width"]:
    """Attention with scores s, or c·tanh(s/c) under a soft cap, in pieces; `real` is true where one may look.

    Pieces cut the queries of one row alike whatever the number of rows is.
    """
    rows, heads, queries, head_width = q.shape
    keys = k.shape[2]
    at_once = max(MIN_ROWS, scores_at_once // (heads * keys) // MIN_ROWS * MIN_ROWS)
    together = max(1, scores_at_once // (heads * keys * min(at_once, queries)))
    out = torch.empty_like(q)
    for r in range(0, rows, together):
        keys_now, values_now = k[r : r + together].transpose(2, 3), v[r : r + together]
        for i in range(0, queries, at_once):
            here = slice(r, r + together), slice(None), slice(i, i + at_once)
            scores = (q[here] * head_width**-0.5) @ keys_now
            if soft_cap is not None:
                scores = soft_cap * torch.tanh(scores / soft_cap)
            out[here] = scores.masked_fill(~real, -torch.inf).softmax(-1) @ values_now
    return out
