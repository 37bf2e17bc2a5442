"""One step of the uniform-state reverse process, from time t to an earlier time s, for a set of rows.

With a = alpha(t), s = alpha(s), n noise tokens and the prediction x (leave-one-out law), the published posterior

    q(x_s = v | x_t) = [a n x_v 1(v = x_t) + (a/s - a) 1(v = x_t) + (s - a) x_v + (1 - a/s)(1 - s)/n] / D,
    D = a n x[x_t] + 1 - a

is a mixture: with probability (s - a)/(s D) the token jumps, to a draw from x with probability s and to a uniform
token otherwise; else it stays. D >= 1 - a, so a row whose number u is at least `jump_bound` stays whatever the
network says: only the others need a prediction. Same law and same numbers as the full computation.
"""

import torch
from jaxtyping import Float, Float64, Int32, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel
from uddm_kernels.head import LinearHead
from uddm_kernels.logit_stats import check_tokens
from uddm_kernels.uniform_step import chunked, reference

__all__ = ["jump_bound", "uniform_step"]

KERNEL = Kernel("uniform_step", chunked.uniform_step, reference.uniform_step)


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
    backend: str | None = None,
    discount: Float[Tensor, " rows"] | None = None,
    failed: Int32[Tensor, "1"] | None = None,
) -> Int64[Tensor, " rows"]:
    """The rows' tokens at time s.

    u decides whether a row jumps; v decides where to: below alpha_s to the token at v/alpha_s of the cumulative
    prediction in the order of the vocabulary, else to noise token (v - alpha_s)/(1 - alpha_s) of their number.
    A token outside `noise_tokens` cannot have come from noise and stays. `discount` is as in `linear_stats`: with it
    the head may give a posterior law. `backend` is as in `linear_stats`.

    Raises ValueError on ids outside the vocabulary and unless 0 <= alpha_t < alpha_s <= 1; a row whose logits are
    not finite raises FloatingPointError. To look at values on a GPU is to wait for it: with `failed`, the caller
    answers for alphas, the fused kernel leaves a bad row as it is, sets the flag to 1 and raises nothing.
    """
    vocab = head.check(hidden)
    asked = backend or head.backend
    name = asked or head.choose(hidden)
    looked_at = failed is None or name != "fused"
    check_tokens("current", current, hidden, vocab, looked_at)
    for what, numbers in {"alpha_t": alpha_t, "alpha_s": alpha_s, "u": u, "v": v}.items():
        if numbers.dtype != torch.float64 or numbers.shape != current.shape or numbers.device != hidden.device:
            raise ValueError(
                f"{what} must be float64 {tuple(current.shape)} on {hidden.device}, "
                f"got {numbers.dtype} {tuple(numbers.shape)} on {numbers.device}"
            )
    if looked_at:
        jump_bound(alpha_t, alpha_s)
    return KERNEL.run(
        name, asked is None, hidden, head, current, alpha_t, alpha_s, u, v, noise_tokens, discount, failed
    )
