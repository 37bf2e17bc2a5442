"""The reverse step in torch, a bounded block of rows at a time; only rows that jump pay for a draw."""

import torch
from torch import Tensor

from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats.chunked import discounted, row_blocks

# Tokens in a tile of the two-level draw: the tiles' masses choose a tile, then its own tokens are summed up. Fewer
# would save little on the second sum and cost more on the first.
TILE = 256


@torch.no_grad()
def uniform_step(
    hidden: Tensor,
    head: LinearHead,
    current: Tensor,
    alpha_t: Tensor,
    alpha_s: Tensor,
    u: Tensor,
    v: Tensor,
    noise_tokens: Tensor,
    discount: Tensor | None = None,
    failed: Tensor | None = None,
) -> Tensor:
    """See `uddm_kernels.uniform_step.uniform_step`."""
    vocab = hidden.shape[1] if head.weight is None else head.weight.shape[0]
    n = noise_tokens.shape[0]
    out = current.clone()
    for part in row_blocks(hidden.shape[0], vocab, hidden.device):
        logits = head.logits(hidden[part]).float()
        if discount is not None:
            discounted(logits, current[part], discount[part])
        x = torch.softmax(logits, dim=1, out=logits)
        here, a, s = current[part], alpha_t[part], alpha_s[part]
        own = x.gather(1, here[:, None]).squeeze(1).double()
        if bool(torch.isnan(own).any()):
            raise FloatingPointError("the network's logits are not finite")
        jumps = u[part] < (s - a) / (s * (a * n * own + 1 - a))
        if n < vocab:
            jumps &= torch.isin(here, noise_tokens)
        to_prediction = jumps & (v[part] < s)
        to_noise = jumps ^ to_prediction
        # The minimum keeps the last bit of a quotient that rounds up to 1 inside the support.
        chosen = ((v[part] - s) / (1 - s)).mul(n).nan_to_num(0).long().clamp(0, n - 1)
        tokens = torch.where(to_noise, noise_tokens[chosen], here)
        rows = to_prediction.nonzero().squeeze(1)
        if rows.numel():
            tokens[rows] = inverse_cdf(x, (v[part] / s)[rows], rows)
        out[part] = tokens
        del logits, x  # so that the next block has the same memory: it is in the cache
    return out


def inverse_cdf(x: Tensor, share: Tensor, rows: Tensor | None = None) -> Tensor:
    """The first token at which the cumulative of x (rows, vocab) exceeds `share` of its total, in two levels.

    `rows` picks rows of x, as many as there are shares; else it is all of them.
    """
    vocab = x.shape[1]
    rows = torch.arange(x.shape[0], device=x.device) if rows is None else rows
    width = min(TILE, vocab)
    whole = vocab // width * width
    mass = x[:, :whole].unflatten(1, (-1, width)).sum(dim=2)
    if whole < vocab:
        mass = torch.cat([mass, x[:, whole:].sum(dim=1, keepdim=True)], dim=1)
    mass = mass[rows].double()
    cumulative = mass.cumsum(dim=1)
    goal = share * cumulative[:, -1]
    tile = (cumulative <= goal[:, None]).sum(dim=1).clamp(max=mass.shape[1] - 1)
    rest = goal - (cumulative - mass).gather(1, tile[:, None]).squeeze(1)
    token = tile[:, None] * width + torch.arange(width, device=x.device)
    inside = x[rows[:, None], token.clamp(max=vocab - 1)].double().masked_fill_(token >= vocab, 0.0)
    before = (inside.cumsum(dim=1) <= rest[:, None]).sum(dim=1)
    # The tile's mass was rounded to float32: a goal past its last token belongs to that token.
    last = width - 1 - (inside > 0).flip(1).to(torch.int8).argmax(dim=1)
    return tile * width + torch.minimum(before, last)
