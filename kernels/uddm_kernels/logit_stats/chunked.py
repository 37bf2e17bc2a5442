"""Row statistics in torch, few rows at a time: a chunk of logits is read from cache by every pass over it."""

import torch
from torch import Tensor

from uddm_kernels.logit_stats.types import RowStats

# Logits in a chunk, 8 MiB of float32: small enough for the cache, large enough to be worth waking the threads.
CHUNK_ELEMENTS = 1 << 21
# Tokens in a tile, whose largest logit stands for all of them in the search for the best.
TILE = 512
# exp(-104) is the smallest positive float32, exp(-745) the smallest float64: below, terms are zero, and 0 * -inf
# must not become NaN.
LOWEST = -1000.0


@torch.no_grad()
def logit_stats(
    logits: Tensor, target: Tensor | None = None, current: Tensor | None = None, overwrite: bool = False
) -> RowStats:
    """See `uddm_kernels.logit_stats.logit_stats`; statistics in float32 (float64 for float64 logits).

    `overwrite` lets it work in the memory of `logits`.

    The q-form: with q = sum over all but the best token of e^d, d = z - max, and t = the same sum of d e^d,
    H = log1p(q) - t / (1 + q) and -log p_max = log1p(q). Unlike lse - sum p z it keeps its digits as H goes to 0.
    """
    rows, vocab = logits.shape
    dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
    step = max(1, CHUNK_ELEMENTS // vocab)
    same = target is not None and current is not None and torch.equal(target, current)
    chunks = []
    for start in range(0, max(1, rows), step):
        part = slice(start, start + step)
        z = logits[part].to(dtype, copy=not overwrite)
        scratch = torch.empty_like(z)
        # Ranks and the second come from the logits: differences to a far maximum round to ties.
        of_target = _place(z, None if target is None else target[part], scratch)
        of_current = of_target if same else _place(z, None if current is None else current[part], scratch)
        best, top, second, second_token = _best_two(z)
        q, t = _sums(z, best, top, scratch)
        chunks.append((best, top, second, second_token, q, t, *of_target, *of_current))
    best, top, second, second_token, q, t, own, rank, here, here_rank = (
        torch.cat(c) for c in zip(*chunks, strict=True)
    )
    log_mass = torch.log1p(q)
    stats = RowStats(
        lse=best + log_mass,
        entropy=log_mass - t / (1 + q),
        top_token=top,
        top_logp=-log_mass,
        second_token=second_token,
        second_logp=second - best - log_mass,
        target_logp=own - best - log_mass,
        target_rank=rank,
        current_logp=here - best - log_mass,
        current_rank=here_rank,
    )
    bad = ~torch.isfinite(best)
    if bool(bad.any()):
        nothing = RowStats.empty(int(bad.sum()), z.device, dtype)
        for name in stats.__dataclass_fields__:
            getattr(stats, name)[bad] = getattr(nothing, name)
    return stats


def _best_two(z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The largest logit and the first token that has it, and the same of the other tokens."""
    vocab = z.shape[1]
    whole = vocab // TILE * TILE
    peaks = z[:, :whole].unflatten(1, (-1, TILE)).amax(dim=2)  # NaN wins
    if whole < vocab:
        peaks = torch.cat([peaks, z[:, whole:].amax(dim=1, keepdim=True)], dim=1)
    best, top = _first_of_tiles(z, peaks)
    if vocab == 1:
        return best, top, torch.full_like(best, torch.nan), torch.full_like(top, -1)
    z.scatter_(1, top[:, None], -torch.inf)
    tile = top // TILE
    peaks.scatter_(1, tile[:, None], _tile(z, tile)[1].amax(dim=1, keepdim=True))
    second, token = _first_of_tiles(z, peaks)
    z.scatter_(1, top[:, None], best[:, None])
    # Where all others are forbidden, the best token may be named again: take the lowest other id.
    return best, top, second, torch.where(token == top, (token == 0).long(), token)


def _first_of_tiles(z: Tensor, peaks: Tensor) -> tuple[Tensor, Tensor]:
    """The largest logit and the first token that has it, where `peaks` (rows, tiles) are the largest of each tile."""
    best, tile = peaks.max(dim=1)
    start, inside = _tile(z, tile)
    return best, start + inside.argmax(dim=1)


def _tile(z: Tensor, tile: Tensor) -> tuple[Tensor, Tensor]:
    """One tile a row: its first token and its logits (rows, TILE). The last one reaches back to be whole, too."""
    rows, vocab = z.shape
    width = min(TILE, vocab)
    start = (tile * TILE).clamp(max=vocab - width)
    return start, z.unfold(1, width, 1)[torch.arange(rows, device=z.device), start]


def _sums(z: Tensor, best: Tensor, top: Tensor, scratch: Tensor) -> tuple[Tensor, Tensor]:
    """q and t; z is overwritten."""
    # A softmax is a faster exponential than `exp`. That of the best token is 1: dividing by it takes the sum out again.
    x = torch.softmax(z, dim=1, out=scratch)
    x_top = x.gather(1, top[:, None]).squeeze(1)
    x.scatter_(1, top[:, None], 0.0)
    q = _row_sums(x) / x_top
    t = _row_sums(x.mul_(z.sub_(best[:, None]).clamp_(min=LOWEST))) / x_top
    return q, t


def _row_sums(x: Tensor) -> Tensor:
    """Sums along rows that round alike however many rows there are: torch splits a lone sum among threads."""
    return x.sum(dim=1) if x.shape[0] != 1 else x.expand(2, -1).sum(dim=1)[:1]


def _place(z: Tensor, tokens: Tensor | None, flags: Tensor) -> tuple[Tensor, Tensor]:
    """Each row's logit of its token, and how many stand before it: larger ones, and equal ones of smaller ids."""
    if tokens is None:
        return z.new_full(z.shape[:1], torch.nan), torch.full(z.shape[:1], -1, device=z.device)
    own = z.gather(1, tokens[:, None])
    # Comparisons into float and float sums are several times faster than boolean ones, and exact below 2**24.
    before = torch.gt(z, own, out=flags).sum(dim=1).long()
    equal = torch.eq(z, own, out=flags)
    if bool((equal.sum(dim=1) > 1).any()):
        equal *= torch.arange(z.shape[1], device=z.device) < tokens[:, None]
        before += equal.sum(dim=1).long()
    return own.squeeze(1), before
