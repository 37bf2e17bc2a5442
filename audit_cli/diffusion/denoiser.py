"""What every diffusion language model looks like to the rest of the program."""

from enum import StrEnum
from typing import Any, Protocol

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from uddm_kernels import LinearHead, RowStats, linear_stats

from audit_cli.diffusion.schedules import Schedule


class Law(StrEnum):
    """Which distribution the network's softmax is: of token i given the other tokens, or given all of x_t.

    A network trained on the plug-in ELBO, or on cross-entropy at the resampled positions, learns LEAVE_ONE_OUT;
    one trained on plain cross-entropy learns POSTERIOR, which is trivially certain at small noise.
    """

    LEAVE_ONE_OUT = "leave-one-out"
    POSTERIOR = "posterior"


class Denoiser(Protocol):
    """A network that predicts clean tokens from noisy ones.

    `noise_tokens` are the token ids that noise can draw, the support of the uniform law. `stateless` says that a
    prediction depends on (x_t, t, context) alone, so that steps which need no prediction may be left out.
    """

    vocab_size: int
    noise_tokens: Int64[Tensor, " support"]
    max_length: int
    schedule: Schedule
    law: Law
    stateless: bool
    head: LinearHead
    device: torch.device

    def prepare(self, prompt: Int64[Tensor, " prompt"] | None) -> Any:
        """What `hidden` needs of a prompt, computed once for all rows that share it; None without a prompt."""
        ...

    def hidden(
        self, tokens: Int64[Tensor, "rows length"], t: Float64[Tensor, " rows"], context: Any = None
    ) -> Float[Tensor, "rows length width"]:
        """Last hidden states, before the head, of rows at times t. No gradient."""
        ...


def predict(
    denoiser: Denoiser,
    tokens: Int64[Tensor, "rows length"],
    t: Float64[Tensor, " rows"],
    target: Int64[Tensor, "rows length"] | None = None,
    context: Any = None,
) -> RowStats:
    """Row statistics at every position of `tokens`, flattened to rows * length; `current` are the tokens themselves."""
    hidden = denoiser.hidden(tokens, t, context).flatten(0, 1)
    return linear_stats(hidden, denoiser.head, None if target is None else target.reshape(-1), tokens.reshape(-1))
