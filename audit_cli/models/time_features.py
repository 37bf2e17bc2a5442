"""Sinusoidal features of a scalar, rows that do not depend on how many are beside them, and rows a few at a time."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

# Matrix products of fewer rows round differently (see `uddm_kernels.head.MIN_ROWS`), and elementwise functions
# compute the end of a buffer by other instructions than the rest: in blocks of 16 rows a row has neither.
MIN_ROWS = 16
# Positions of a small network that a thread of a CPU takes together. Activations of more leave the cache, and the C
# library gets tensors beyond 32 MiB from the system each time anew, page by page.
POSITIONS_A_THREAD = 1024


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


def in_pieces(
    function: Callable[[Tensor, Tensor, Tensor | None], Tensor], tokens: Tensor, noise: Tensor, mask: Tensor | None
) -> Tensor:
    """`function(tokens, noise, mask)` of rows (rows, length), in inference on a CPU a few rows at a time.

    A mask may be that of a single row for all.
    """
    rows, length = tokens.shape
    at_once = max(1, POSITIONS_A_THREAD * torch.get_num_threads() // max(1, length))
    if rows <= at_once or tokens.device.type != "cpu" or torch.is_grad_enabled():
        return function(tokens, noise, mask)
    starts = range(0, rows, at_once)
    masks = [None] * len(starts) if mask is None else mask.expand(rows, length).split(at_once)
    pieces = zip(tokens.split(at_once), noise.split(at_once), masks, strict=True)
    return torch.cat([function(*piece) for piece in pieces])
