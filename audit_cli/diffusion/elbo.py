"""The plug-in evidence lower bound of uniform-state diffusion, per token (UDLM, arXiv 2412.10193; DUO)."""

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from uddm_kernels.linear_stats.chunked import row_blocks

from audit_cli.diffusion.denoiser import Denoiser


def nelbo_integrand(
    log_x: Float[Tensor, "rows vocab"],
    clean: Int64[Tensor, " rows"],
    noisy: Int64[Tensor, " rows"],
    alpha: Float[Tensor, " rows"],
    alpha_derivative: Float[Tensor, " rows"],
    support: int,
) -> Float[Tensor, " rows"]:
    """Nats per token and unit of time: its integral over t in (0, 1) bounds -log p(clean).

    With y_v = a n 1(v = clean) + 1 - a, ŷ_v = a n x̂_v + 1 - a and z the noisy token, for noise over n tokens:

        -a'/(n a) [ sum_v (y_v / y_z) log((y_v ŷ_z) / (y_z ŷ_v)) - n/y_z + n/ŷ_z ]

    `log_x` are log-probabilities over the noise's support. Differentiable in `log_x`.
    """
    a = alpha[:, None]
    n = float(support)
    log_y_hat = torch.log(a * n * log_x.exp() + (1 - a))
    log_y_hat_z = log_y_hat.gather(1, noisy[:, None]).squeeze(1)
    log_y_hat_clean = log_y_hat.gather(1, clean[:, None]).squeeze(1)
    low, high = 1 - alpha, alpha * n + 1 - alpha
    y_z = torch.where(noisy == clean, high, low)
    # sum_v y_v (log y_v - log ŷ_v): all tokens at `low`, with the clean one corrected to `high`.
    total = low * (n * low.log() - log_y_hat.sum(dim=1))
    total = total + high * high.log() - low * low.log() - (high - low) * log_y_hat_clean
    # sum_v y_v = n, whatever z.
    kl = (total + n * (log_y_hat_z - y_z.log())) / y_z
    ratio = n * (-log_y_hat_z).exp() - n / y_z
    return -alpha_derivative / (n * alpha) * (kl + ratio)


@torch.no_grad()
def token_nelbo(
    denoiser: Denoiser,
    clean: Int64[Tensor, "rows length"],
    noisy: Int64[Tensor, "rows length"],
    t: Float64[Tensor, " rows"],
) -> Float64[Tensor, "rows length"]:
    """`nelbo_integrand` of every token of rows at times t, in float64, a bounded block of logits at a time."""
    hidden = denoiser.hidden(noisy, t).flatten(0, 1)
    length = clean.shape[1]
    alpha = denoiser.schedule.alpha(t).repeat_interleave(length)
    derivative = denoiser.schedule.alpha_derivative(t).repeat_interleave(length)
    flat_clean, flat_noisy = clean.reshape(-1), noisy.reshape(-1)
    out = torch.empty(hidden.shape[0], dtype=torch.float64, device=hidden.device)
    for part in row_blocks(hidden.shape[0], denoiser.vocab_size, hidden.device):
        log_x = torch.log_softmax(denoiser.head.logits(hidden[part]).double(), dim=1)
        out[part] = nelbo_integrand(
            log_x, flat_clean[part], flat_noisy[part], alpha[part], derivative[part], denoiser.noise_tokens.shape[0]
        )
    return out.view(clean.shape)
