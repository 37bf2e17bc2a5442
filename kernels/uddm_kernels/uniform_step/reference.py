"""The reverse step in float64: the dense posterior as published, and the same step as a mixture."""

from dataclasses import replace

import torch
from torch import Tensor

from uddm_kernels.head import LinearHead


def posterior(x: Tensor, current: Tensor, alpha_t: Tensor, alpha_s: Tensor) -> Tensor:
    """The published posterior over (rows, vocab) for noise that is uniform over the whole vocabulary.

    DUO (arXiv 2506.10892) and UDLM (arXiv 2412.10193), written out; x (rows, vocab) are predicted probabilities.
    """
    vocab = x.shape[1]
    a, s = alpha_t[:, None].to(x), alpha_s[:, None].to(x)
    here = torch.nn.functional.one_hot(current, vocab).to(x)
    numerator = a * vocab * x * here + (a / s - a) * here + (s - a) * x + (1 - a / s) * (1 - s) / vocab
    return numerator / (a * vocab * x.gather(1, current[:, None]) + 1 - a)


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
    """See `uddm_kernels.uniform_step.uniform_step`; one row after another."""
    exact = replace(
        head,
        weight=None if head.weight is None else head.weight.double(),
        bias=None if head.bias is None else head.bias.double(),
    )
    logits = exact.logits(hidden.double())
    if discount is not None:
        logits[torch.arange(len(logits)), current] -= discount.double()
    x = logits.softmax(dim=1)
    if bool(torch.isnan(x).any()):
        raise FloatingPointError("the network's logits are not finite")
    n = noise_tokens.shape[0]
    out = current.clone()
    for i, token in enumerate(current.tolist()):
        a, s = float(alpha_t[i]), float(alpha_s[i])
        jump = (s - a) / (s * (a * n * float(x[i, token]) + 1 - a))
        if token not in noise_tokens.tolist() or float(u[i]) >= jump:
            continue
        if float(v[i]) < s:
            cumulative = x[i].cumsum(0)
            out[i] = int((cumulative <= float(v[i]) / s * float(cumulative[-1])).sum())
        else:
            out[i] = noise_tokens[min(n - 1, int((float(v[i]) - s) / (1 - s) * n))]
    return out
