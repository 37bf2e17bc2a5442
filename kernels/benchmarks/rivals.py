"""The dense ways to take a reverse step and to read a prediction's statistics, and the floor under all of them.

All take logits (batch, length, vocab) and tokens (batch, length); noise is uniform over the whole vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from uddm_kernels import linear
from uddm_kernels.linear_stats.chunked import row_blocks


def published_step(logits: Tensor, current: Tensor, alpha_t: float, alpha_s: float) -> Tensor:
    """Tokens at time s as DUO (arXiv 2506.10892) and UDLM (arXiv 2412.10193) draw them, in float64 throughout.

    One-hot rows, the whole posterior (batch, length, vocab), and the largest of q / (exponential noise).
    """
    vocab = logits.shape[-1]
    a, s = alpha_t, alpha_s
    x = logits.log_softmax(dim=-1).double().exp()
    here = F.one_hot(current, vocab).to(x)
    numerator = a * vocab * x * here + (a / s - a) * here + (s - a) * x + (1 - a / s) * (1 - s) / vocab
    q = numerator / (a * vocab * x.gather(-1, current[..., None]) + 1 - a)
    noise = 1e-10 - (torch.rand_like(q) + 1e-10).log()
    return (q / noise).argmax(dim=-1)


def float32_step(logits: Tensor, current: Tensor, alpha_t: float, alpha_s: float) -> Tensor:
    """The same draw in float32: the posterior as a mixture, in place, and `torch.multinomial`."""
    vocab = logits.shape[-1]
    a, s = alpha_t, alpha_s
    q = logits.softmax(dim=-1)
    own = q.gather(-1, current[..., None])
    d = a * vocab * own + 1 - a
    q.mul_((s - a) / d).add_((s - a) * (1 - s) / (s * vocab) / d)
    q.scatter_add_(-1, current[..., None], (a * vocab * own + a * (1 - s) / s) / d)
    return torch.multinomial(q.flatten(0, 1), 1).view_as(current)


def published_statistics(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy in nats and log-probability of `target`, each (batch, length), every tensor a fresh one."""
    log_p = logits.log_softmax(dim=-1)
    p = log_p.exp()
    return -(p * log_p).sum(dim=-1), log_p.gather(-1, target[..., None]).squeeze(-1)


def float32_statistics(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The same two, in the memory of the logits and of one more tensor."""
    log_p = logits.log_softmax(dim=-1)
    log_prob = log_p.gather(-1, target[..., None]).squeeze(-1)
    return torch.exp(log_p, out=logits).mul_(log_p).sum(dim=-1).neg_(), log_prob


@torch.inference_mode()
def head_product(hidden: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Logits of rows (rows, width), a block at a time and not looked at: no use of them can take less."""
    for part in row_blocks(len(hidden), len(weight)):
        linear(hidden[part], weight, bias)
