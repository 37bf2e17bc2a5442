"""Head and statistics block by block: the matrix product of a block of rows, then its statistics."""

from collections.abc import Iterator

import torch
from torch import Tensor

from uddm_kernels.head import MIN_ROWS, LinearHead
from uddm_kernels.logit_stats import RowStats
from uddm_kernels.logit_stats.chunked import logit_stats

# Logits held at once: 16 MiB of float32, 128 rows of a 30,000-token vocabulary; on a GPU, which wants more work at a
# time and has no cache of that size, sixteen times as many.
BLOCK_ELEMENTS = 1 << 22
ON_GPU = 16
# But of very many tokens so many rows: the head is read anew for every block.
BLOCK_ROWS = 64


def row_blocks(rows: int, vocab: int, device: torch.device) -> Iterator[slice]:
    """Slices of at most BLOCK_ELEMENTS logits each, but of at least BLOCK_ROWS rows while there are as many."""
    elements = BLOCK_ELEMENTS * (1 if device.type == "cpu" else ON_GPU)
    step = max(MIN_ROWS, BLOCK_ROWS, elements // vocab)
    for start in range(0, rows, step):
        yield slice(start, min(rows, start + step))


def discounted(logits: Tensor, current: Tensor, discount: Tensor) -> Tensor:
    """The logits (rows, vocab) with `discount` taken off each row's current token, in place."""
    return logits.scatter_add_(1, current[:, None], -discount[:, None].to(logits.dtype))


def linear_stats(
    hidden: Tensor,
    head: LinearHead,
    target: Tensor | None = None,
    current: Tensor | None = None,
    discount: Tensor | None = None,
) -> RowStats:
    """See `uddm_kernels.linear_stats.linear_stats`."""
    rows = hidden.shape[0]
    vocab = hidden.shape[1] if head.weight is None else head.weight.shape[0]
    stats: RowStats | None = None
    for part in row_blocks(rows, vocab, hidden.device):
        logits = head.logits(hidden[part])
        if current is not None and discount is not None:
            discounted(logits, current[part], discount[part])
        block = logit_stats(
            logits,
            None if target is None else target[part],
            None if current is None else current[part],
            overwrite=True,
        )
        if stats is None:
            stats = RowStats.empty(rows, hidden.device, block.lse.dtype)
        stats.write(part.start, block)
    return stats if stats is not None else logit_stats(hidden.new_empty(0, vocab), target, current)
