"""Statistics of rows of logits: entropy, log-sum-exp, the best two tokens, log-probability and rank of given tokens."""

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.backend import choose, with_fallback
from uddm_kernels.logit_stats import chunked, reference
from uddm_kernels.logit_stats.types import RowStats

__all__ = ["RowStats", "check_tokens", "logit_stats"]


def _fused(logits: Tensor, target: Tensor | None = None, current: Tensor | None = None) -> RowStats:
    # Triton takes a second to import and is not everywhere.
    from uddm_kernels.logit_stats import fused

    return fused.logit_stats(logits, target, current)


BACKENDS = {"chunked": chunked.logit_stats, "fused": _fused, "reference": reference.logit_stats}


def logit_stats(
    logits: Float[Tensor, "rows vocab"],
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    backend: str | None = None,
) -> RowStats:
    """One row of `RowStats` a row of logits.

    `target` and `current` are token ids, a row one, or None (then their statistics are NaN and -1). -inf marks a
    token that is never predicted. A row with NaN, with +inf or with no finite logit gets NaN and -1 throughout.

    `backend` is "chunked", "fused" (Triton: CUDA or ROCm, no float64), "reference", or None: fused where it can be.

    Raises ValueError on a wrong shape or dtype and on token ids outside the vocabulary.
    """
    if logits.ndim != 2 or not logits.is_floating_point() or logits.shape[1] == 0:
        raise ValueError(f"logits must be floating point (rows, vocab >= 1), got {logits.dtype} {tuple(logits.shape)}")
    for name, tokens in (("target", target), ("current", current)):
        check_tokens(name, tokens, logits.shape[0], logits.shape[1])
    if backend is None and choose(logits.device, logits.dtype) == "fused":
        return with_fallback("logit_stats", _fused, chunked.logit_stats, logits, target, current)
    return BACKENDS[backend or "chunked"](logits, target, current)


def check_tokens(name: str, tokens: Tensor | None, rows: int, vocab: int) -> None:
    """Raise ValueError unless `tokens` is None or an int64 (rows,) tensor of ids in [0, vocab)."""
    if tokens is None:
        return
    if tokens.dtype != torch.int64 or tokens.shape != (rows,):
        raise ValueError(f"{name} must be int64 ({rows},), got {tokens.dtype} {tuple(tokens.shape)}")
    if rows and (int(tokens.min()) < 0 or int(tokens.max()) >= vocab):
        raise ValueError(f"{name} holds token ids outside [0, {vocab})")
