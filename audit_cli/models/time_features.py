"""Sinusoidal features of a scalar, and rows that do not depend on how many are beside them."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Matrix products of fewer rows round differently (see `uddm_kernels.head.MIN_ROWS`), and elementwise functions
# compute the end of a buffer by other instructions than the rest: in blocks of 16 rows a row has neither.
MIN_ROWS = 16


def sinusoids(value: Tensor, features: int, longest: float = 10_000.0) -> Tensor:
    """(rows,) to (rows, features): cosines, then sines, at features/2 geometric frequencies from 1 to 1/longest."""
    half = features // 2
    frequency = torch.exp(-math.log(longest) * torch.arange(half, dtype=torch.float32, device=value.device) / half)
    angle = value.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def in_whole_blocks(function: Callable[[Tensor], Tensor], rows: Tensor) -> Tensor:
    """`function(rows)`, computed on a multiple of MIN_ROWS rows, so that a row's result is the same in any batch."""
    count = rows.shape[0]
    missing = -count % MIN_ROWS
    if not missing:
        return function(rows)
    return function(torch.cat([rows, rows[-1:].expand(missing, *rows.shape[1:])]))[:count]
