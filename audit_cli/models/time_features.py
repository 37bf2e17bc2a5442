"""Sinusoidal features of a scalar, and rows that do not depend on how many are beside them."""

import math

import torch
from torch import Tensor, nn

# Matrix products of fewer rows round differently (see `uddm_kernels.head.MIN_ROWS`).
MIN_ROWS = 16


def sinusoids(value: Tensor, features: int, longest: float = 10_000.0) -> Tensor:
    """(rows,) to (rows, features): cosines, then sines, at features/2 geometric frequencies from 1 to 1/longest."""
    half = features // 2
    frequency = torch.exp(-math.log(longest) * torch.arange(half, dtype=torch.float32, device=value.device) / half)
    angle = value.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], dim=1)


def at_least_min_rows(module: nn.Module, rows: Tensor) -> Tensor:
    """`module(rows)`, computed on at least MIN_ROWS rows, so that a row's result is the same in any batch."""
    count = rows.shape[0]
    if count >= MIN_ROWS:
        out: Tensor = module(rows)
        return out
    padded: Tensor = module(torch.nn.functional.pad(rows, (0, 0, 0, MIN_ROWS - count)))
    return padded[:count]
