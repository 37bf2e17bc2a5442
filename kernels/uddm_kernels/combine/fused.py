"""Joins parts of a vocabulary, a thread a row. Import it only where Triton is wanted."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from uddm_kernels.combine.types import Partials
from uddm_kernels.fused_math import IDS, REALS, floored, store_law
from uddm_kernels.logit_stats.types import RowStats

ROWS = 128


def combine(
    parts: Partials,
    target: Tensor | None = None,
    target_logit: Tensor | None = None,
    current: Tensor | None = None,
    current_logit: Tensor | None = None,
) -> RowStats:
    """See `uddm_kernels.combine.combine`. Raises ValueError on a device without Triton."""
    device = parts.best.device
    if device.type != "cuda" and isinstance(_combine_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the parts are on {device}")
    count, rows = parts.best.shape
    reals = torch.full((len(REALS), rows), torch.nan, dtype=torch.float32, device=device)
    ids = torch.full((len(IDS), rows), -1, dtype=torch.int64, device=device)
    if rows:
        given = (target, target_logit, current, current_logit)
        with torch.cuda.device_of(parts.best):
            _combine_kernel[(triton.cdiv(rows, ROWS),)](
                *(None if x is None else x.contiguous() for x in parts.tensors()),
                *(None if x is None else x.contiguous() for x in given),
                reals,
                ids,
                count,
                rows,
                parts.vocab > 1,
                ROWS,
                num_warps=ROWS // 32,
                enable_fp_fusion=True,
            )
    return RowStats(**dict(zip(REALS, reals, strict=True)), **dict(zip(IDS, ids, strict=True)))


@triton.jit(do_not_specialize=["count", "rows"])
def _combine_kernel(
    best_of,
    q_of,
    t_of,
    second_of,
    best_token_of,
    second_token_of,
    before_target_of,
    before_current_of,
    target,
    target_logit,
    current,
    current_logit,
    reals,
    ids,
    count,
    rows,
    SEVERAL: tl.constexpr,
    ROWS: tl.constexpr,
):
    """Parts come in the order of their ids: of equal logits, the one already there has the smaller id."""
    row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    inside = row < rows
    best = tl.full([ROWS], float("-inf"), tl.float32)
    second = tl.full([ROWS], float("-inf"), tl.float32)
    best_token = tl.full([ROWS], -1, tl.int32)
    second_token = tl.full([ROWS], -1, tl.int32)
    q = tl.full([ROWS], -1.0, tl.float32)
    t = tl.zeros([ROWS], tl.float32)
    before_target = tl.zeros([ROWS], tl.int32)
    before_current = tl.zeros([ROWS], tl.int32)
    at = row.to(tl.int64)
    for _ in range(count):
        top = tl.load(best_of + at, mask=inside, other=float("-inf"))
        top_token = tl.load(best_token_of + at, mask=inside, other=-1)
        runner = tl.load(second_of + at, mask=inside, other=float("-inf"))
        runner_token = tl.load(second_token_of + at, mask=inside, other=-1)
        best, best_token, second, second_token, q, t = joined(
            best, best_token, second, second_token, q, t,
            top, top_token, runner, runner_token,
            tl.load(q_of + at, mask=inside, other=-1.0), tl.load(t_of + at, mask=inside, other=0.0),
        )  # fmt: skip
        if before_target_of is not None:
            before_target += tl.load(before_target_of + at, mask=inside, other=0)
        if before_current_of is not None:
            before_current += tl.load(before_current_of + at, mask=inside, other=0)
        at += rows
    # Where all others are forbidden, the second is the lowest other id.
    second_token = tl.where(second > float("-inf"), second_token, (best_token == 0).to(tl.int32))
    finite = inside & (best > float("-inf")) & (best < float("inf"))
    reals += row
    ids += row
    log_mass = store_law(reals, ids, rows, best, best_token, second, second_token, q, t, finite, finite & SEVERAL)
    second_logp = second - best - log_mass
    if target_logit is not None:
        token = tl.load(target + row, mask=inside, other=0)
        logit = tl.load(target_logit + row, mask=inside, other=0.0)
        logp, rank = _placed(token, logit, before_target, best, best_token, second_token, second_logp, log_mass)
        tl.store(reals + 4 * rows, logp, mask=finite)
        tl.store(ids + 2 * rows, rank, mask=finite)
    if current_logit is not None:
        token = tl.load(current + row, mask=inside, other=0)
        logit = tl.load(current_logit + row, mask=inside, other=0.0)
        logp, rank = _placed(token, logit, before_current, best, best_token, second_token, second_logp, log_mass)
        tl.store(reals + 5 * rows, logp, mask=finite)
        tl.store(ids + 3 * rows, rank, mask=finite)


@triton.jit
def joined(
    best, best_token, second, second_token, q, t,
    top, top_token, runner, runner_token, top_q, top_t,
):  # fmt: skip
    """The state (best, …) of some tokens with that (top, …) of later ones; q and t are relative to their own best."""
    wins = top > best
    d = floored(-tl.abs(best - top))
    weight = tl.exp(d)
    # What stays behind is brought to the scale of the better one, its own best token among it.
    old, new = 1 + q, 1 + top_q
    t = tl.where(wins, top_t + weight * (t + d * old), t + weight * (top_t + d * new))
    q = tl.where(wins, top_q + weight * old, q + weight * new)
    # The runner-up is the loser of the two best, or the second of the winner.
    loser, loser_token = tl.where(wins, best, top), tl.where(wins, best_token, top_token)
    other, other_token = tl.where(wins, runner, second), tl.where(wins, runner_token, second_token)
    # Of equal ones the older has the smaller id: the loser where the new part wins, else the second.
    take = tl.where(wins, loser >= other, loser > other)
    second = tl.where(take, loser, other)
    second_token = tl.where(take, loser_token, other_token)
    best_token = tl.where(wins, top_token, best_token)
    best = tl.where(wins, top, best)
    return best, best_token, second, second_token, q, t


@triton.jit
def _placed(token, logit, before, best, best_token, second_token, second_logp, log_mass):
    """Log-probability and rank of a token. Its logit was computed apart and may differ in its last bit from the one
    among the others: what the two best tokens are decides."""
    first, next_to_it = token == best_token, token == second_token
    logp = tl.where(first, -log_mass, tl.where(next_to_it, second_logp, logit - best - log_mass))
    rank = tl.where(first, 0, tl.where(next_to_it, 1, tl.maximum(before, 2)))
    return logp, rank
