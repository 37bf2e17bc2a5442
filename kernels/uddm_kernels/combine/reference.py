"""Joins parts of a vocabulary row by row, in Python floats."""

import math

import torch
from torch import Tensor

from uddm_kernels.combine.types import Partials
from uddm_kernels.logit_stats.types import RowStats


def combine(
    parts: Partials,
    target: Tensor | None = None,
    target_logit: Tensor | None = None,
    current: Tensor | None = None,
    current_logit: Tensor | None = None,
) -> RowStats:
    """See `uddm_kernels.combine.combine`; float64."""
    count, rows = parts.best.shape
    stats = RowStats.empty(rows, parts.best.device, torch.float64)
    for i in range(rows):
        best, q, t, second = (x[:, i].tolist() for x in (parts.best, parts.q, parts.t, parts.second))
        ids, second_ids = parts.best_token[:, i].tolist(), parts.second_token[:, i].tolist()
        if not math.isfinite(max(best)):
            continue
        # Each part's best and second, best first, equal ones by id.
        ranking = sorted(
            [(-z, v) for z, v in zip(best, ids, strict=True)]
            + [(-z, v) for z, v in zip(second, second_ids, strict=True)]
        )
        (top, token), runners = ranking[0], ranking[1:]
        mass, moment = 0.0, 0.0  # of all tokens but the best, relative to it
        for k in range(count):
            d = best[k] + top
            if d == -math.inf:
                continue
            own = 0.0 if ids[k] == token else 1.0
            mass += math.exp(d) * (own + q[k])
            moment += math.exp(d) * (t[k] + d * (own + q[k]))
        lse = math.log1p(mass)
        stats.lse[i], stats.entropy[i] = lse - top, lse - moment / (1 + mass)
        stats.top_token[i], stats.top_logp[i] = token, -lse
        if parts.vocab > 1:
            runner, runner_token = runners[0]
            stats.second_token[i] = runner_token if runner < math.inf else int(token == 0)
            stats.second_logp[i] = top - runner - lse
        for name, tokens, logit, before in (
            ("target", target, target_logit, parts.before_target),
            ("current", current, current_logit, parts.before_current),
        ):
            if tokens is None or logit is None or before is None:
                continue
            logp, rank = float(logit[i]) + top - lse, max(2, int(before[:, i].sum()))
            if int(tokens[i]) == token:
                logp, rank = -lse, 0
            elif int(tokens[i]) == int(stats.second_token[i]):
                logp, rank = float(stats.second_logp[i]), 1
            getattr(stats, f"{name}_logp")[i], getattr(stats, f"{name}_rank")[i] = logp, rank
    return stats
