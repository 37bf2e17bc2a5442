"""The dense ways to take a reverse step and to read a prediction's statistics, and the floor under all of them.

Noise is uniform over the whole vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F
from uddm_kernels import linear

# Logits that the floor's product makes at once. On a CPU fresh memory of megabytes costs more than it saves; a GPU
# has room for all.
PRODUCT_ELEMENTS = {"cpu": 1 << 22, "cuda": 1 << 30}
# With fewer rows a product waits for its weights to be read.
PRODUCT_ROWS = 128


def published_step(
    logits: Tensor, current: Tensor, alpha_t: float, alpha_s: float, dtype: torch.dtype = torch.float64
) -> Tensor:
    """Tokens at time s as DUO (arXiv 2506.10892) and UDLM (arXiv 2412.10193) draw them, in float64 by default.

    logits (batch, length, vocab), current (batch, length). One-hot rows, the whole posterior (batch, length, vocab),
    and the largest of q / (exponential noise).
    """
    vocab = logits.shape[-1]
    a, s = alpha_t, alpha_s
    x = logits.log_softmax(dim=-1).to(dtype).exp()
    here = F.one_hot(current, vocab).to(x)
    numerator = a * vocab * x * here + (a / s - a) * here + (s - a) * x + (1 - a / s) * (1 - s) / vocab
    q = numerator / (a * vocab * x.gather(-1, current[..., None]) + 1 - a)
    noise = 1e-10 - (torch.rand_like(q) + 1e-10).log()
    return (q / noise).argmax(dim=-1)


def multinomial_step(logits: Tensor, current: Tensor, alpha_t: float, alpha_s: float) -> Tensor:
    """The same draw in float32, written with care: the posterior as a mixture, in place, and `torch.multinomial`."""
    vocab = logits.shape[-1]
    a, s = alpha_t, alpha_s
    q = logits.log_softmax(dim=-1).exp_()
    own = q.gather(-1, current[..., None])
    d = a * vocab * own + 1 - a
    q.mul_((s - a) / d).add_((s - a) * (1 - s) / (s * vocab) / d)
    q.scatter_add_(-1, current[..., None], (a * vocab * own + a * (1 - s) / s) / d)
    return torch.multinomial(q.flatten(0, 1), 1).view_as(current)


def statistics(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Entropy in nats and log-probability of `target`, float32 (rows,), of logits (rows, vocab) of any type."""
    log_p = logits.log_softmax(dim=-1, dtype=torch.float32)
    return -(log_p.exp() * log_p).sum(dim=-1), log_p.gather(-1, target[:, None]).squeeze(-1)


def materialised(hidden: Tensor, weight: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The same from hidden rows (rows, width) and a head (vocab, width); logits are rounded to the type of these."""
    return statistics(F.linear(hidden, weight), target)


@torch.inference_mode()
def head_product(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> None:
    """Logits of rows (rows, width), a block at a time and not looked at: no use of them can take less."""
    for part in hidden.split(max(PRODUCT_ROWS, PRODUCT_ELEMENTS[hidden.device.type] // len(weight))):
        linear(part, weight, bias)
