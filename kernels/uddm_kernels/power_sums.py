"""Sums of powers of each row's softmax, Σ p², Σ p³ and Σ p⁴, without ever holding the softmax.

Σ p^k = exp(lse(k z) - k lse(z)): the sum of a k-th power is a log-sum-exp of the same head with k times its logits. So
each sum is one more pass of `linear_stats`, whatever its implementation. The best token is kept apart throughout, as in
`logit_stats`: with P its probability and L = log p of it under k times the logits, the others' sum of p^k is
P^k expm1(-L), and 1 - P is -expm1(log P). Neither loses its digits as P goes to 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats import linear_stats


@dataclass(frozen=True)
class PowerSums:
    """Of each row's softmax p, natural logarithms: entropy, the largest probability, what is left of 1, how far the
    second is behind, and over all tokens but the best the sums of p², p³ and p⁴. NaN where logits are not finite.

    Under a float32 head a token below e^-43 of the best one's probability adds few digits or nothing to `squares`; to
    the higher powers earlier, where they are nothing beside `squares`.
    """

    entropy: Float64[Tensor, " rows"]
    top: Float64[Tensor, " rows"]
    others: Float64[Tensor, " rows"]
    gap: Float64[Tensor, " rows"]
    squares: Float64[Tensor, " rows"]
    cubes: Float64[Tensor, " rows"]
    fourths: Float64[Tensor, " rows"]


@torch.no_grad()
def power_sums(
    hidden: Float[Tensor, "rows width"],
    head: LinearHead,
    current: Int64[Tensor, " rows"] | None = None,
    backend: str | None = None,
    discount: Float[Tensor, " rows"] | None = None,
) -> PowerSums:
    """The power sums of `head.logits(hidden)`, a bounded block of rows at a time: four passes of `linear_stats`.

    `current`, `backend` and `discount` are as there. Raises ValueError as it does.
    """
    stats = linear_stats(hidden, head, None, current, backend, discount)
    top_logp, second_logp = stats.top_logp.double(), stats.second_logp.double()
    sums = []
    for k in (2.0, 3.0, 4.0):
        more = None if discount is None else k * discount
        powered = linear_stats(hidden, head.powered(k), None, current, backend, more)
        sums.append(torch.exp(k * top_logp) * torch.expm1(-powered.top_logp.double()))
    top = torch.exp(top_logp)
    # A vocabulary of one token has no second.
    behind = torch.where(stats.second_token < 0, -torch.inf, second_logp - top_logp)
    gap = torch.where(torch.isnan(top), torch.nan, -top * torch.expm1(behind))
    return PowerSums(stats.entropy.double(), top, -torch.expm1(top_logp), gap, *sums)
