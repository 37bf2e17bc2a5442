"""Two objectives whose optimum is the leave-one-out law."""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor
from torch.nn import functional as F

from audit_cli.diffusion.elbo import nelbo_integrand


def resampled_cross_entropy(
    logits: Float[Tensor, "rows length vocab"],
    clean: Int64[Tensor, "rows length"],
    resampled: Bool[Tensor, "rows length"],
) -> Float[Tensor, ""]:
    """Mean cross-entropy where noise drew a token, draws that gave the same token again included.

    There x_t says nothing of the clean token, so the optimum is p(x0_i | x_t without i). Leaving the equal draws
    out would teach the network that the standing token is never the clean one.
    """
    chosen = resampled.nonzero(as_tuple=True)
    loss = F.cross_entropy(logits[chosen], clean[chosen], reduction="sum")
    return loss / max(1, len(chosen[0]))


def elbo(
    logits: Float[Tensor, "rows length vocab"],
    clean: Int64[Tensor, "rows length"],
    noisy: Int64[Tensor, "rows length"],
    real: Bool[Tensor, "rows length"],
    alpha: Float[Tensor, " rows"],
    alpha_derivative: Float[Tensor, " rows"],
) -> Float[Tensor, ""]:
    """The plug-in negative ELBO in nats per real token, at one time a row."""
    length, vocab = logits.shape[1:]
    integrand = nelbo_integrand(
        torch.log_softmax(logits, dim=2).reshape(-1, vocab),
        clean.reshape(-1),
        noisy.reshape(-1),
        alpha.repeat_interleave(length),
        alpha_derivative.repeat_interleave(length),
        vocab,
    )
    return integrand[real.reshape(-1)].mean()
