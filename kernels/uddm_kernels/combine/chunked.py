"""Joins parts of a vocabulary in torch, all rows at once."""

import torch
from torch import Tensor

from uddm_kernels.combine.types import Partials
from uddm_kernels.logit_stats.chunked import LOWEST
from uddm_kernels.logit_stats.types import RowStats


def combine(
    parts: Partials,
    target: Tensor | None = None,
    target_logit: Tensor | None = None,
    current: Tensor | None = None,
    current_logit: Tensor | None = None,
) -> RowStats:
    """See `uddm_kernels.combine.combine`."""
    rows = parts.best.shape[1]
    stats = RowStats.empty(rows, parts.best.device, parts.best.dtype)
    # Of equal logits the first part has the smallest id, and max names the first.
    best, part = parts.best.max(dim=0, keepdim=True)
    bad = ~torch.isfinite(best[0])
    top_token = parts.best_token.gather(0, part)
    # The winning part counts its best token apart; of the others it is one of the rest.
    own = torch.ones_like(parts.best).scatter_(0, part, 0.0)
    d = (parts.best - best).nan_to_num(nan=LOWEST, neginf=LOWEST).clamp_(min=LOWEST)
    weight = d.exp()
    mass = own + parts.q
    q = (weight * mass).sum(dim=0)
    log_mass = torch.log1p(q)
    stats.lse.copy_(best[0] + log_mass)
    stats.entropy.copy_(log_mass - (weight * (parts.t + d * mass)).sum(dim=0) / (1 + q))
    stats.top_token.copy_(top_token[0])
    stats.top_logp.copy_(-log_mass)
    rivals = parts.best.scatter(0, part, parts.second.gather(0, part))
    rival_tokens = parts.best_token.scatter(0, part, parts.second_token.gather(0, part))
    second, part = rivals.max(dim=0, keepdim=True)
    second_token = rival_tokens.gather(0, part)[0].long()
    if parts.vocab > 1:
        # Where all others are forbidden, the second is the lowest other id.
        lowest = (stats.top_token == 0).long()
        stats.second_token.copy_(torch.where(second[0] > -torch.inf, second_token, lowest))
        stats.second_logp.copy_(second[0] - best[0] - log_mass)
    for tokens, logit, before, logp, rank in (
        (target, target_logit, parts.before_target, stats.target_logp, stats.target_rank),
        (current, current_logit, parts.before_current, stats.current_logp, stats.current_rank),
    ):
        if tokens is None or logit is None or before is None:
            continue
        first, next_to_it = tokens == stats.top_token, tokens == stats.second_token
        value = torch.where(next_to_it, stats.second_logp, logit - best[0] - log_mass)
        logp.copy_(torch.where(first, stats.top_logp, value))
        place = torch.where(next_to_it, 1, before.sum(dim=0).clamp(min=2))
        rank.copy_(torch.where(first, 0, place))
    for name in stats.__dataclass_fields__:
        column = getattr(stats, name)
        column.masked_fill_(bad, -1 if column.dtype == torch.int64 else torch.nan)
    return stats
