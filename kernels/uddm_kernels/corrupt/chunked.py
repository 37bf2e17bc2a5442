"""The forward process in a few elementwise passes."""

import torch
from torch import Tensor


def corrupt(tokens: Tensor, level: Tensor, u: Tensor, v: Tensor, noise_tokens: Tensor, free: Tensor) -> Tensor:
    """See `uddm_kernels.corrupt.corrupt`."""
    drawn = noise_tokens[(v * noise_tokens.shape[0]).long()]
    return torch.where((u < level) & free, drawn, tokens)
