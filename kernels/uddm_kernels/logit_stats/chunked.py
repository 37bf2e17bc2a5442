"""Row statistics in torch, few rows at a time: a chunk of logits is read from cache by every pass over it."""

import torch
from torch import Tensor

from uddm_kernels.logit_stats.types import RowStats

# Logits in a chunk, 2 MiB of float32: small enough for the cache, large enough to be worth waking the threads.
CHUNK_ELEMENTS = 1 << 19
# exp(-104) is the smallest positive float32, exp(-745) the smallest float64: below, terms are zero, and 0 * -inf
# must not become NaN.
LOWEST = -1000.0


def logit_stats(
    logits: Tensor, target: Tensor | None = None, current: Tensor | None = None, overwrite: bool = False
) -> RowStats:
    """See `uddm_kernels.logit_stats.logit_stats`; statistics in float32 (float64 for float64 logits).

    `overwrite` lets it work in the memory of `logits`.
    """
    rows, vocab = logits.shape
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    stats = RowStats.empty(rows, logits.device, dtype)
    step = max(1, CHUNK_ELEMENTS // vocab)
    for start in range(0, rows, step):
        part = slice(start, start + step)
        block = _block(
            logits[part].to(dtype, copy=not overwrite),
            None if target is None else target[part],
            None if current is None else current[part],
        )
        stats.write(start, block)
    return stats


def _block(z: Tensor, target: Tensor | None, current: Tensor | None) -> RowStats:
    """The q-form: with q = sum over all but the best token of e^d, d = z - max, and t = the same sum of d e^d,

    H = log1p(q) - t / (1 + q) and -log p_max = log1p(q). Unlike lse - sum p z it keeps its digits as H goes to 0.
    """
    rows, vocab = z.shape
    stats = RowStats.empty(rows, z.device, z.dtype)
    best, top = z.max(dim=1, keepdim=True)  # NaN wins
    bad = ~torch.isfinite(best.squeeze(1))
    # Ranks and the second come from the logits: differences to a far maximum round to ties.
    for tokens, logp, rank in (
        (target, stats.target_logp, stats.target_rank),
        (current, stats.current_logp, stats.current_rank),
    ):
        if tokens is not None:
            own = z.gather(1, tokens[:, None])
            logp.copy_((own - best).squeeze(1))
            rank.copy_(_rank(z, own, tokens))
    z.scatter_(1, top, -torch.inf)
    if vocab > 1:
        second, token = z.max(dim=1)
        # Where all others are forbidden, argmax may name the best token again: take the lowest other id.
        stats.second_token.copy_(torch.where(token == top.squeeze(1), (token == 0).long(), token))
        stats.second_logp.copy_(second - best.squeeze(1))
    d = z.sub_(best).clamp_(min=LOWEST)
    weight = d.exp()
    q = _row_sums(weight)
    log_mass = torch.log1p(q)
    stats.lse.copy_(best.squeeze(1) + log_mass)
    stats.entropy.copy_(log_mass - _row_sums(weight.mul_(d)) / (1 + q))
    stats.top_token.copy_(top.squeeze(1))
    stats.top_logp.copy_(-log_mass)
    for logp in (stats.second_logp, stats.target_logp, stats.current_logp):
        logp.sub_(log_mass)
    if bool(bad.any()):
        nothing = RowStats.empty(int(bad.sum()), z.device, z.dtype)
        for name in stats.__dataclass_fields__:
            getattr(stats, name)[bad] = getattr(nothing, name)
    return stats


def _row_sums(x: Tensor) -> Tensor:
    """Sums along rows that round alike however many rows there are: torch splits a lone sum among threads."""
    return x.sum(dim=1) if x.shape[0] > 1 else x.expand(2, -1).sum(dim=1)[:1]


def _rank(d: Tensor, own: Tensor, tokens: Tensor) -> Tensor:
    """How many tokens stand before `tokens`: a larger logit, or an equal one and a smaller id."""
    # Comparisons into float and float sums are several times faster than boolean ones, and exact below 2**24.
    flags = torch.empty_like(d)
    before = torch.gt(d, own, out=flags).sum(dim=1).long()
    equal = torch.eq(d, own, out=flags)
    if bool((equal.sum(dim=1) > 1).any()):
        equal *= torch.arange(d.shape[1], device=d.device) < tokens[:, None]
        before += equal.sum(dim=1).long()
    return before
