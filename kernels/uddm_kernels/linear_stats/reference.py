"""Head and statistics in float64, all at once."""

from dataclasses import replace

import torch
from torch import Tensor

from uddm_kernels.head import LinearHead
from uddm_kernels.logit_stats import RowStats
from uddm_kernels.logit_stats.reference import logit_stats


def linear_stats(
    hidden: Tensor,
    head: LinearHead,
    target: Tensor | None = None,
    current: Tensor | None = None,
    discount: Tensor | None = None,
) -> RowStats:
    """See `uddm_kernels.linear_stats.linear_stats`; float64, (rows, vocab) in memory."""
    exact = replace(
        head,
        weight=None if head.weight is None else head.weight.double(),
        bias=None if head.bias is None else head.bias.double(),
    )
    logits = exact.logits(hidden.double())
    if current is not None and discount is not None:
        logits[torch.arange(len(logits)), current] -= discount.double()
    return logit_stats(logits, target, current)
