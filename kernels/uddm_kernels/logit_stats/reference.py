"""Row statistics straight from their definitions, in float64."""

import torch
from torch import Tensor

from uddm_kernels.logit_stats.types import RowStats


def logit_stats(
    logits: Tensor, target: Tensor | None = None, current: Tensor | None = None, overwrite: bool = False
) -> RowStats:
    """See `uddm_kernels.logit_stats.logit_stats`; float64 throughout, (rows, vocab) in memory."""
    z = logits.double()
    rows, vocab = z.shape
    stats = RowStats.empty(rows, z.device, torch.float64)
    for i in range(rows):
        if torch.isnan(z[i]).any() or (z[i] == torch.inf).any() or (z[i] == -torch.inf).all():
            continue
        order = sorted(range(vocab), key=lambda v, row=z[i]: (-float(row[v]), v))  # type: ignore[misc]
        top = order[0]
        others = torch.cat([z[i, :top], z[i, top + 1 :]]) - z[i, top]
        # q = sum over all but the best of exp(z - max): what float arithmetic loses if it is added to 1 first.
        finite = others[others > -torch.inf]
        q, t = finite.exp().sum(), (finite.exp() * finite).sum()
        stats.lse[i] = z[i, top] + torch.log1p(q)
        stats.entropy[i] = torch.log1p(q) - t / (1 + q)
        stats.top_token[i], stats.top_logp[i] = top, -torch.log1p(q)
        if vocab > 1:
            stats.second_token[i] = order[1]
            stats.second_logp[i] = z[i, order[1]] - z[i, top] - torch.log1p(q)
        for tokens, logp, rank in (
            (target, stats.target_logp, stats.target_rank),
            (current, stats.current_logp, stats.current_rank),
        ):
            if tokens is not None:
                logp[i] = z[i, tokens[i]] - z[i, top] - torch.log1p(q)
                rank[i] = order.index(int(tokens[i]))
    return stats
