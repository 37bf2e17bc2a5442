"""Statistics of rows of logits: entropy, log-sum-exp, the best two tokens, log-probability and rank of given tokens."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel, choose
from uddm_kernels.logit_stats import chunked, reference
from uddm_kernels.logit_stats.types import RowStats

__all__ = ["RowStats", "check_tokens", "logit_stats"]


KERNEL = Kernel("logit_stats", chunked.logit_stats, reference.logit_stats)


def logit_stats(
    logits: Float[Tensor, "rows vocab"],
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    backend: str | None = None,
    overwrite: bool = False,
) -> RowStats:
    """One row of `RowStats` a row of logits.

    `target` and `current` are token ids, a row one, or None (then their statistics are NaN and -1). -inf marks a
    token that is never predicted. A row with NaN, with +inf or with no finite logit gets NaN and -1 throughout.

    `backend` is "chunked", "fused" (Triton: CUDA or ROCm, no float64), "reference", or None: fused where it can be.
    `overwrite` lets it work in the memory of `logits`.

    Raises ValueError on a wrong shape or dtype and on token ids outside the vocabulary.
    """
    if logits.ndim != 2 or not logits.is_floating_point() or logits.shape[1] == 0:
        raise ValueError(f"logits must be floating point (rows, vocab >= 1), got {logits.dtype} {tuple(logits.shape)}")
    for name, tokens in (("target", target), ("current", current)):
        check_tokens(name, tokens, logits, logits.shape[1])
    return KERNEL.run(backend or choose(logits), backend is None, logits, target, current, overwrite)


def check_tokens(name: str, tokens: Tensor | None, like: Tensor, vocab: int, values: bool = True) -> None:
    """Raise ValueError unless `tokens` is None or int64 ids in [0, vocab), one for each row of `like` and beside it.

    Without `values` the ids themselves are not looked at, which on a GPU means to wait for it.
    """
    if tokens is None:
        return
    rows = like.shape[0]
    if tokens.dtype != torch.int64 or tokens.shape != (rows,):
        raise ValueError(f"{name} must be int64 ({rows},), got {tokens.dtype} {tuple(tokens.shape)}")
    if tokens.device != like.device:
        raise ValueError(f"{name} is on {tokens.device}, the rows are on {like.device}")
    if values and rows:
        low, high = torch.stack(torch.aminmax(tokens)).tolist()  # a GPU is waited for once
        if low < 0 or high >= vocab:
            raise ValueError(f"{name} holds token ids outside [0, {vocab})")
