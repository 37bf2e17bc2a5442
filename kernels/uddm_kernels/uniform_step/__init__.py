"""One step of the uniform-state reverse process, from time t to an earlier time s, for a set of rows.

With a = alpha(t), s = alpha(s), n noise tokens and the prediction x (leave-one-out law), the published posterior

    q(x_s = v | x_t) = [a n x_v 1(v = x_t) + (a/s - a) 1(v = x_t) + (s - a) x_v + (1 - a/s)(1 - s)/n] / D,
    D = a n x[x_t] + 1 - a

is a mixture: with probability (s - a)/(s D) the token jumps, to a draw from x with probability s and to a uniform
token otherwise; else it stays. D >= 1 - a, so a row whose number u is at least `jump_bound` stays whatever the
network says: only the others need a prediction. Same law and same numbers as the full computation.
"""

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from uddm_kernels.head import LinearHead
from uddm_kernels.logit_stats import check_tokens
from uddm_kernels.uniform_step import chunked, reference

__all__ = ["jump_bound", "uniform_step"]

BACKENDS = {"chunked": chunked.uniform_step, "reference": reference.uniform_step}


def jump_bound(alpha_t: Float64[Tensor, "*shape"], alpha_s: Float64[Tensor, "*shape"]) -> Float64[Tensor, "*shape"]:
    """The largest probability with which any row can jump between t and s, (s - a)/(s (1 - a)).

    Raises ValueError unless 0 <= alpha_t < alpha_s <= 1.
    """
    if not bool(((alpha_t >= 0) & (alpha_t < alpha_s) & (alpha_s <= 1)).all()):
        raise ValueError("a reverse step needs 0 <= alpha_t < alpha_s <= 1")
    return (alpha_s - alpha_t) / (alpha_s * (1 - alpha_t))


def uniform_step(
    hidden: Float[Tensor, "rows width"],
    head: LinearHead,
    current: Int64[Tensor, " rows"],
    alpha_t: Float64[Tensor, " rows"],
    alpha_s: Float64[Tensor, " rows"],
    u: Float64[Tensor, " rows"],
    v: Float64[Tensor, " rows"],
    noise_tokens: Int64[Tensor, " support"],
    backend: str = "chunked",
    discount: Float[Tensor, " rows"] | None = None,
) -> Int64[Tensor, " rows"]:
    """The rows' tokens at time s.

    u decides whether a row jumps; v decides where to: below alpha_s to the token at v/alpha_s of the cumulative
    prediction in the order of the vocabulary, else to noise token (v - alpha_s)/(1 - alpha_s) of their number.
    A token outside `noise_tokens` cannot have come from noise and stays. `discount` is as in `linear_stats`: with it
    the head may give a posterior law.

    Raises ValueError on ids outside the vocabulary and unless 0 <= alpha_t < alpha_s <= 1; a row whose logits are
    not finite raises FloatingPointError.
    """
    vocab = hidden.shape[1] if head.weight is None else head.weight.shape[0]
    check_tokens("current", current, hidden.shape[0], vocab)
    jump_bound(alpha_t, alpha_s)
    return BACKENDS[backend](hidden, head, current, alpha_t, alpha_s, u, v, noise_tokens, discount)
