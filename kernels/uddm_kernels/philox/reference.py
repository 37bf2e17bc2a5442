"""Philox-4x32-10 in Python integers, to read and to test against."""

import torch
from torch import Tensor

MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
ROUNDS = 10
MASK = 0xFFFFFFFF


def philox4x32(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Four 32-bit random words of a 128-bit counter under a 64-bit key."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        p0, p1 = MULTIPLIERS[0] * c0, MULTIPLIERS[1] * c2
        c0, c1, c2, c3 = (p1 >> 32) ^ c1 ^ k0, p1 & MASK, (p0 >> 32) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + KEY_STEPS[0]) & MASK, (k1 + KEY_STEPS[1]) & MASK
    return c0, c1, c2, c3


def uniform53(high: int, low: int) -> float:
    """A float64 in [0, 1) from the top 27 bits of one word and the top 26 of another."""
    return ((high >> 5) * 2**26 + (low >> 6)) / 2**53


def keyed_uniforms(key: Tensor, stream: Tensor, level: Tensor, step: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """See `uddm_kernels.philox.keyed_uniforms`; one number after another."""
    words = torch.broadcast_tensors(stream, level, step, position, key[..., 0], key[..., 1])
    drawn = [
        philox4x32((c0, c1, c2, c3), (k0, k1))
        for c0, c1, c2, c3, k0, k1 in zip(*(x.reshape(-1).tolist() for x in words), strict=True)
    ]
    u, v = (torch.tensor([uniform53(w[lane], w[lane + 1]) for w in drawn], dtype=torch.float64) for lane in (0, 2))
    return u.view(words[0].shape).to(key.device), v.view(words[0].shape).to(key.device)
