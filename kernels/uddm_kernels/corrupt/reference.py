"""The forward process, position by position."""

import math

from torch import Tensor


def corrupt(tokens: Tensor, level: Tensor, u: Tensor, v: Tensor, noise_tokens: Tensor, free: Tensor) -> Tensor:
    """See `uddm_kernels.corrupt.corrupt`."""
    out = tokens.clone().reshape(-1)
    numbers = zip(*(x.expand(tokens.shape).reshape(-1).tolist() for x in (level, u, v, free)), strict=True)
    for i, (share, move, which, may) in enumerate(numbers):
        if may and move < share:
            out[i] = noise_tokens[math.floor(which * len(noise_tokens))]
    return out.reshape(tokens.shape)
