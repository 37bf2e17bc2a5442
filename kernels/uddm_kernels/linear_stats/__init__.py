"""Statistics of rows of hidden states under a linear head, without ever holding their logits."""

from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats import chunked, reference
from uddm_kernels.logit_stats import RowStats, check_tokens

__all__ = ["linear_stats"]

BACKENDS = {"chunked": chunked.linear_stats, "reference": reference.linear_stats}


def linear_stats(
    hidden: Float[Tensor, "rows width"],
    head: LinearHead,
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    backend: str = "chunked",
    discount: Float[Tensor, " rows"] | None = None,
) -> RowStats:
    """`logit_stats` of `head.logits(hidden)`, a bounded block of rows at a time.

    `discount` is taken off the logit of a row's current token first: it turns a posterior law, which counts that token
    as evidence for itself, into the leave-one-out law.

    Raises ValueError on a shape that does not fit the head and on token ids outside the vocabulary.
    """
    width = None if head.weight is None else head.weight.shape[1]
    if hidden.ndim != 2 or (width is not None and hidden.shape[1] != width):
        raise ValueError(f"hidden must be (rows, {width or 'vocab'}), got {tuple(hidden.shape)}")
    vocab = hidden.shape[1] if head.weight is None else head.weight.shape[0]
    for name, tokens in (("target", target), ("current", current)):
        check_tokens(name, tokens, hidden.shape[0], vocab)
    if discount is not None and (current is None or discount.shape != current.shape):
        raise ValueError("a discount needs the current tokens, one each")
    return BACKENDS[backend](hidden, head, target, current, discount)
