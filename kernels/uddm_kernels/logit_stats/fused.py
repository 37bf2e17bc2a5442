"""Row statistics in one pass over the logits, a Triton program a row. Import it only where Triton is wanted."""

import torch
import triton
import triton.language as tl
from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.backend import FUSED_DTYPES
from uddm_kernels.fused_math import IDS, REALS, floored, store_law
from uddm_kernels.logit_stats.types import RowStats

# Logits that a program reads at once, 4 a thread: at 64 registers a thread four programs share a multiprocessor.
TILE = 1024
TILE_OF_A_WARP = 128


def logit_stats(
    logits: Float[Tensor, "rows vocab"],
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    overwrite: bool = False,
) -> RowStats:
    """See `uddm_kernels.logit_stats.logit_stats`; float32, float16 or bfloat16 logits, statistics in float32.

    `overwrite` is there for the sake of chunked.py's signature: nothing is ever written to `logits`. They are copied
    only where a row's logits are not side by side. Raises ValueError on other dtypes and on a device without Triton.
    """
    if logits.dtype not in FUSED_DTYPES:
        raise ValueError(f"the fused kernel reads float32, float16 and bfloat16 logits, not {logits.dtype}")
    if logits.device.type != "cuda" and isinstance(_row_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the logits are on {logits.device}")
    rows, vocab = logits.shape
    if vocab > 1 and logits.stride(1) != 1:
        logits = logits.contiguous()
    reals = torch.full((len(REALS), rows), torch.nan, dtype=torch.float32, device=logits.device)
    ids = torch.full((len(IDS), rows), -1, dtype=torch.int64, device=logits.device)
    if rows:
        tile, warps = _tile_and_warps(vocab)
        # Triton launches on the current device, which need not be the tensor's.
        with torch.cuda.device_of(logits):
            _row_kernel[(rows,)](
                logits,
                None if target is None else target.contiguous(),
                None if current is None else current.contiguous(),
                reals,
                ids,
                rows,
                vocab,
                logits.stride(0),
                tile,
                num_warps=warps,
                # Triton is about to change its default; results should not change with it.
                enable_fp_fusion=True,
            )
    return RowStats(**dict(zip(REALS, reals, strict=True)), **dict(zip(IDS, ids, strict=True)))


def _tile_and_warps(vocab: int) -> tuple[int, int]:
    tile = min(TILE, max(32, triton.next_power_of_2(vocab)))
    return tile, max(1, tile // TILE_OF_A_WARP)


@triton.jit(do_not_specialize=["rows"])
def _row_kernel(logits, target, current, reals, ids, rows, vocab, stride, TILE: tl.constexpr):
    """Statistics of row `program_id`. A row that is not finite stores nothing and keeps its NaN and -1.

    Each of TILE lanes keeps the q-form (chunked.py) of the tokens it has seen: the best one's logit m and id, q and t
    relative to m, and the second-best. A lane that has seen none has m = -inf, q = -1, t = 0, so that 1 + q is its
    mass in units of e^m. Lanes are joined once, at the end.
    """
    # 64 bits: rows * vocab passes 2**31.
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    lane = tl.arange(0, TILE)
    best = tl.full([TILE], float("-inf"), tl.float32)
    best_token = tl.full([TILE], -1, tl.int32)
    second = tl.full([TILE], float("-inf"), tl.float32)
    second_token = tl.full([TILE], -1, tl.int32)
    q = tl.full([TILE], -1.0, tl.float32)
    t = tl.zeros([TILE], tl.float32)
    before_target = tl.zeros([TILE], tl.int32)
    before_current = tl.zeros([TILE], tl.int32)
    # A rank is counted from the logits: differences to a far maximum round to ties.
    if target is not None:
        target_token = tl.load(target + row)
        target_logit = tl.load(logits + target_token).to(tl.float32)
    if current is not None:
        current_token = tl.load(current + row)
        current_logit = tl.load(logits + current_token).to(tl.float32)

    for start in range(0, vocab, TILE):
        token = start + lane
        z = tl.load(logits + token, mask=token < vocab, other=float("-inf")).to(tl.float32)
        # NaN spoils a row as +inf does, and unlike NaN, +inf is the largest.
        z = tl.where(z < float("inf"), z, float("inf"))
        if target is not None:
            before_target += _precedes(z, token, target_logit, target_token).to(tl.int32)
        if current is not None:
            before_current += _precedes(z, token, current_logit, current_token).to(tl.int32)
        # Whichever of z and the lane's best is larger, one exponential brings the other to its scale.
        d = floored(-tl.abs(z - best))
        weight = tl.exp(d)
        mass = 1 + q
        wins = z > best
        t = tl.where(wins, weight * (t + d * mass), t + weight * d)
        q = tl.where(wins, weight * mass, q + weight)
        # Ids grow from tile to tile: of equal logits, the one a lane has is the one with the smaller id.
        beats_second = z > second
        second_token = tl.where(wins, best_token, tl.where(beats_second, token, second_token))
        second = tl.where(wins, best, tl.where(beats_second, z, second))
        best_token = tl.where(wins, token, best_token)
        best = tl.where(wins, z, best)

    top = tl.max(best, 0)
    top_token = tl.min(tl.where(best == top, best_token, vocab), 0)
    wins = best_token == top_token
    rest = tl.where(wins, second, best)
    rest_token = tl.where(wins, second_token, best_token)
    runner_up = tl.max(rest, 0)
    runner_up_token = tl.min(tl.where(rest == runner_up, rest_token, vocab), 0)
    # Where all others are forbidden, the second is the lowest other id.
    runner_up_token = tl.where(runner_up > float("-inf"), runner_up_token, (top_token == 0).to(tl.int32))
    d = floored(best - top)
    weight = tl.exp(d)
    mass = 1 + q
    t = tl.sum(tl.where(wins, t, weight * (t + d * mass)), 0)
    q = tl.sum(tl.where(wins, q, weight * mass), 0)
    finite = (top > float("-inf")) & (top < float("inf"))
    reals += row
    ids += row
    log_mass = store_law(reals, ids, rows, top, top_token, runner_up, runner_up_token, q, t, finite, vocab > 1)
    if target is not None:
        tl.store(reals + 4 * rows, target_logit - top - log_mass, mask=finite)
        tl.store(ids + 2 * rows, tl.sum(before_target, 0), mask=finite)
    if current is not None:
        tl.store(reals + 5 * rows, current_logit - top - log_mass, mask=finite)
        tl.store(ids + 3 * rows, tl.sum(before_current, 0), mask=finite)


@triton.jit
def _precedes(z, token, own, own_token):
    """Whether `token` ranks before `own_token`. Lanes past the vocabulary (-inf, larger ids) never do."""
    return (z > own) | ((z == own) & (token < own_token))
