"""The reverse step in three kernels: each row's own logit, the masses of tiles of tokens, and a decision a row.

No logit is written to memory. A row that jumps to a prediction draws one of its tiles by their masses, and its program
computes that tile's logits once more to draw a token of it. Import it only where Triton is wanted.
"""

import functools

import torch
import triton
import triton.language as tl
from torch import Tensor

from uddm_kernels.fused_math import LOWEST
from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats.fused import TILE, check, epilogue, masses, own_logits
from uddm_kernels.linear_stats.fused_kernels import as_logits

# Tiles whose masses a program adds up at once, and hidden channels it multiplies at once.
TILES, CHANNELS = 512, 64


def uniform_step(
    hidden: Tensor,
    head: LinearHead,
    current: Tensor,
    alpha_t: Tensor,
    alpha_s: Tensor,
    u: Tensor,
    v: Tensor,
    noise_tokens: Tensor,
    discount: Tensor | None = None,
    failed: Tensor | None = None,
) -> Tensor:
    """See `uddm_kernels.uniform_step.uniform_step`. Raises ValueError on float64 and on a device without Triton."""
    weight = check(hidden, head)
    rows, vocab = hidden.shape[0], weight.shape[0]
    out = current.clone()
    if not rows:
        return out
    discount = None if discount is None else discount.float().contiguous()
    own = own_logits(hidden, head, current, current, discount)
    best, mass = masses(hidden, head, current, discount)
    support = noise_tokens.shape[0]
    is_noise = _membership(noise_tokens, vocab) if support < vocab else None
    flag = torch.zeros(1, dtype=torch.int32, device=hidden.device) if failed is None else failed
    hidden = hidden if hidden.stride(1) == 1 else hidden.contiguous()
    weight = weight if weight.stride(1) == 1 else weight.contiguous()
    with torch.cuda.device_of(hidden):
        _step_kernel[(rows,)](
            hidden,
            weight,
            *epilogue(head, weight),
            current.contiguous(),
            own,
            discount,
            *(x.double().contiguous() for x in (alpha_t, alpha_s, u, v)),
            noise_tokens.contiguous(),
            is_noise,
            best,
            mass,
            out,
            flag,
            vocab,
            best.shape[1],
            support,
            hidden.shape[1],
            hidden.stride(0),
            weight.stride(0),
            TILE,
            TILES,
            CHANNELS,
            num_warps=4,
            enable_fp_fusion=True,
        )
    if failed is None and bool(flag):
        raise FloatingPointError("the network's logits are not finite")
    return out


@functools.lru_cache(maxsize=4)
def _membership(noise_tokens: Tensor, vocab: int) -> Tensor:
    """Which tokens noise can draw, remembered by the very tensor: it is the same in every step."""
    out = torch.zeros(vocab, dtype=torch.int8, device=noise_tokens.device)
    out[noise_tokens] = 1
    return out


# See linear_stats/fused_kernels.py.
ROWS = ["current", "own", "discount", "alpha_t", "alpha_s", "u", "v", "best", "mass", "out"]


@triton.jit(do_not_specialize=["vocab", "tiles", "support"], do_not_specialize_on_alignment=ROWS)
def _step_kernel(
    hidden,
    weight,
    bias,
    forbidden,
    scale,
    soft_cap,
    current,
    own,
    discount,
    alpha_t,
    alpha_s,
    u,
    v,
    noise_tokens,
    is_noise,
    best,
    mass,
    out,
    failed,
    vocab,
    tiles,
    support,
    width,
    hidden_stride,
    weight_stride,
    TILE: tl.constexpr,
    TILES: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    """What becomes of row `program_id`: jumps and sums in float64, as in the other implementations."""
    # 64 bits: rows * tiles and rows * width pass 2**31.
    row = tl.program_id(0).to(tl.int64)
    best += row * tiles
    mass += row * tiles
    here = tl.load(current + row)
    lane = tl.arange(0, TILES)
    tops = tl.full([TILES], float("-inf"), tl.float32)
    for first in range(0, tiles, TILES):
        tops = tl.maximum(tops, tl.load(best + first + lane, mask=first + lane < tiles, other=float("-inf")))
    top = tl.max(tops, 0)
    known = (here >= 0) & (here < vocab)
    if known & (top > float("-inf")) & (top < float("inf")):
        total = tl.zeros([TILES], tl.float64)
        for first in range(0, tiles, TILES):
            total += _masses(best, mass, first + lane, tiles, top)
        whole = tl.sum(total, 0)
        own_share = tl.exp(tl.maximum(tl.load(own + row) - top, LOWEST)).to(tl.float64) / whole
        a = tl.load(alpha_t + row)
        s = tl.load(alpha_s + row)
        jumps = tl.load(u + row) < (s - a) / (s * (a * support * own_share + 1 - a))
        if is_noise is not None:
            jumps = jumps & (tl.load(is_noise + here) != 0)
        if jumps:
            choice = tl.load(v + row)
            if choice < s:
                token = _drawn(
                    hidden + row * hidden_stride, weight, bias, forbidden, scale, soft_cap, discount, row, here,
                    best, mass, top, whole, choice / s, vocab, tiles, width, weight_stride, TILE, TILES, CHANNELS,
                )  # fmt: skip
                tl.store(out + row, token)
            else:
                # The minimum keeps the last bit of a quotient that rounds up to 1 inside the support.
                which = ((choice - s) / (1 - s) * support).to(tl.int64)
                tl.store(out + row, tl.load(noise_tokens + tl.minimum(which, support - 1)))
    else:
        tl.store(failed, 1)


@triton.jit
def _masses(best, mass, tile, tiles, top):
    """Masses of these tiles, relative to the row's best logit."""
    there = tile < tiles
    d = tl.load(best + tile, mask=there, other=float("-inf")) - top
    share = tl.exp(tl.maximum(d, LOWEST)) * tl.load(mass + tile, mask=there, other=0.0)
    return share.to(tl.float64)


@triton.jit
def _drawn(
    hidden, weight, bias, forbidden, scale, soft_cap, discount, row, here,
    best, mass, top, whole, share, vocab, tiles, width, weight_stride,
    TILE: tl.constexpr, TILES: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """The first token at which the cumulative mass exceeds `share` of the whole: its tile first, then the token."""
    goal = share * whole
    lane = tl.arange(0, TILES)
    before = whole * 0
    passed = before
    chosen = 0
    last_with_mass = 0
    for first in range(0, tiles, TILES):
        here_mass = _masses(best, mass, first + lane, tiles, top)
        end = before + tl.cumsum(here_mass, 0)
        below = end <= goal
        chosen += tl.sum((below & (first + lane < tiles)).to(tl.int32), 0)
        # What the tiles that lie wholly below the goal weigh together.
        passed += tl.sum(tl.where(below, here_mass, 0.0), 0)
        before += tl.sum(here_mass, 0)
        last_with_mass = tl.maximum(last_with_mass, tl.max(tl.where(here_mass > 0, first + lane, 0), 0))
    # Sums in another order may put the goal past the last tile, or before the chosen one, by a rounding.
    chosen = tl.minimum(chosen, last_with_mass)
    rest = tl.maximum(goal - passed, 0.0)

    token = tl.arange(0, TILE)
    start = chosen * TILE
    channel = tl.arange(0, CHANNELS)
    there = token < vocab - start
    w_at = weight + (start + token).to(tl.int64)[:, None] * weight_stride + channel[None, :]
    z = tl.zeros([TILE], tl.float32)
    for k in range(0, width, CHANNELS):
        inside = channel + k < width
        h = tl.load(hidden + k + channel, mask=inside, other=0.0).to(tl.float32)
        w = tl.load(w_at + k, mask=there[:, None] & inside[None, :], other=0.0).to(tl.float32)
        z += tl.sum(h[None, :] * w, 1)
    z = tl.reshape(as_logits(z[None, :], token, start, bias, forbidden, scale, soft_cap, vocab), [TILE])
    if discount is not None:
        z = tl.where(start + token == here, z - tl.load(discount + row), z)
    p = tl.exp(tl.maximum(z - top, LOWEST)).to(tl.float64)
    index = tl.sum((tl.cumsum(p, 0) <= rest).to(tl.int32), 0)
    # The tile's mass was rounded to float32: a goal past its last token belongs to that token.
    last = tl.max(tl.where(p > 0, token, 0), 0)
    return (start + tl.minimum(index, last)).to(tl.int64)
