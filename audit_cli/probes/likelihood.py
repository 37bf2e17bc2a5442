"""The evidence bound of rows."""

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.elbo import token_nelbo
from audit_cli.probes.batching import auto_batch_size

# Midpoints of equal parts of [0, 1] at which rows are corrupted, a draw each; the mean over them is the integral.
ELBO_TIMES = 16


def nelbo_of(
    denoiser: Denoiser,
    tokens: Int64[Tensor, "rows length"],
    own: Bool[Tensor, "rows length"],
    seed: int,
    batch_size: int | None = None,
) -> Float64[Tensor, "rows length"]:
    """The evidence bound in nats a token: a corruption of the `own` tokens at each of fixed times, averaged."""
    times = [(k + 0.5) / ELBO_TIMES for k in range(ELBO_TIMES)]
    starts = corrupted_starts(denoiser, tokens, times, range(1), seed, own, redraw=False)
    size = batch_size or auto_batch_size(tokens.shape[1], denoiser.device)
    parts = [
        token_nelbo(denoiser, starts.clean[at : at + size], starts.tokens[at : at + size], starts.time[at : at + size])
        for at in range(0, len(starts.tokens), size)
    ]
    return torch.cat([part.cpu() for part in parts]).view(len(tokens), ELBO_TIMES, -1).mean(1)
