"""Statistics of rows of hidden states under a linear head, without ever holding their logits."""

from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel
from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats import chunked, reference
from uddm_kernels.logit_stats import RowStats, check_tokens

__all__ = ["linear_stats"]

KERNEL = Kernel("linear_stats", chunked.linear_stats, reference.linear_stats)


def linear_stats(
    hidden: Float[Tensor, "rows width"],
    head: LinearHead,
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    backend: str | None = None,
    discount: Float[Tensor, " rows"] | None = None,
) -> RowStats:
    """`logit_stats` of `head.logits(hidden)`, a bounded block of rows at a time.

    `discount` is taken off the logit of a row's current token first: it turns a posterior law, which counts that token
    as evidence for itself, into the leave-one-out law. `backend` is as in `logit_stats`, or else the head's own.

    Raises ValueError on a shape that does not fit the head and on token ids outside the vocabulary.
    """
    vocab = head.check(hidden)
    for name, tokens in (("target", target), ("current", current)):
        check_tokens(name, tokens, hidden, vocab)
    if discount is not None and (current is None or discount.shape != current.shape):
        raise ValueError("a discount needs the current tokens, one each")
    asked = backend or head.backend
    return KERNEL.run(asked or head.choose(hidden), asked is None, hidden, head, target, current, discount)
