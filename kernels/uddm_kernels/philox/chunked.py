"""Philox-4x32-10 on torch tensors of any device, a cache-sized chunk at a time."""

import torch
from torch import Tensor

from uddm_kernels.philox.reference import KEY_STEPS, MASK, MULTIPLIERS, ROUNDS

# About what stays in a core's L2 cache while the rounds pass over it.
CHUNK = 1 << 15


def philox4x32(
    counter: tuple[Tensor, Tensor, Tensor, Tensor], key: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Four tensors of 32-bit random words (as int64), elementwise over broadcastable int64 words in [0, 2**32)."""
    words = torch.broadcast_tensors(*counter, *key)
    shape = words[0].shape
    flat = [w.reshape(-1) for w in words]
    out = [torch.empty_like(flat[0]) for _ in range(4)]
    for start in range(0, flat[0].numel(), CHUNK):
        piece = [w[start : start + CHUNK] for w in flat]
        for target, lane in zip(out, _rounds(*piece), strict=True):
            target[start : start + CHUNK] = lane
    return out[0].view(shape), out[1].view(shape), out[2].view(shape), out[3].view(shape)


def _rounds(
    c0: Tensor, c1: Tensor, c2: Tensor, c3: Tensor, k0: Tensor, k1: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    for r in range(ROUNDS):
        # int64 products wrap modulo 2**64, so their upper half survives a shift and a mask.
        p0, p1 = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        step0, step1 = r * KEY_STEPS[0] & MASK, r * KEY_STEPS[1] & MASK
        c0 = (p1 >> 32 & MASK) ^ c1 ^ (k0 + step0 & MASK)
        c2 = (p0 >> 32 & MASK) ^ c3 ^ (k1 + step1 & MASK)
        c1, c3 = p1 & MASK, p0 & MASK
    return c0, c1, c2, c3


def keyed_uniforms(key: Tensor, stream: Tensor, level: Tensor, step: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """See `uddm_kernels.philox.keyed_uniforms`."""
    w0, w1, w2, w3 = philox4x32((stream, level, step, position), (key[..., 0], key[..., 1]))
    return _uniform53(w0, w1), _uniform53(w2, w3)


def _uniform53(high: Tensor, low: Tensor) -> Tensor:
    return ((high >> 5) * 2**26 + (low >> 6)).double() * 2.0**-53
