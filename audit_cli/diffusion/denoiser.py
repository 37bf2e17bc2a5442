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


class Prompted:
    """A denoiser with a prompt, prepared once for all rows that are given to it."""

    def __init__(self, denoiser: Denoiser, prompt: tuple[int, ...]) -> None:
        self._denoiser = denoiser
        self._context = denoiser.prepare(torch.tensor(prompt, dtype=torch.int64, device=denoiser.device))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def hidden(
        self, tokens: Int64[Tensor, "rows length"], t: Float64[Tensor, " rows"], context: Any = None
    ) -> Float[Tensor, "rows length width"]:
        """See `Denoiser.hidden`."""
        return self._denoiser.hidden(tokens, t, self._context if context is None else context)

    def hidden_after(
        self,
        tokens: Int64[Tensor, "rows length"],
        t: Float64[Tensor, " rows"],
        soft: Float[Tensor, "rows length width"],
        context: Any = None,
    ) -> Float[Tensor, "rows length width"]:
        """See `SelfConditioned.hidden_after`."""
        inner: Any = self._denoiser
        out: Tensor = inner.hidden_after(tokens, t, soft, self._context if context is None else context)
        return out


def prompted(denoiser: Denoiser, prompt: tuple[int, ...]) -> Denoiser:
    """The denoiser under a prompt; itself where there is none."""
    return Prompted(denoiser, prompt) if prompt else denoiser


def copy_log_odds(denoiser: Denoiser, t: Float64[Tensor, " rows"]) -> Float64[Tensor, " rows"]:
    """By how much x_t speaks for itself at times t: log of P(x_t = v | x_0 = v) over P(x_t = v | x_0 another token).

    Taken off the current token's logit it turns a posterior law into the leave-one-out law: p(x_0 = v | x_t) is
    proportional to x̂_v times that ratio at v = x_t, and to x̂_v elsewhere.
    """
    alpha = denoiser.schedule.alpha(t)
    return torch.log1p(alpha * denoiser.noise_tokens.shape[0] / (1 - alpha))


def predict(
    denoiser: Denoiser,
    tokens: Int64[Tensor, "rows length"],
    t: Float64[Tensor, " rows"],
    target: Int64[Tensor, "rows length"] | None = None,
    context: Any = None,
    leave_one_out: bool = False,
) -> RowStats:
    """Row statistics at every position of `tokens`, flattened to rows * length; `current` are the tokens themselves.

    They are of the network's own law, or of the leave-one-out law where that is asked for.
    """
    hidden = denoiser.hidden(tokens, t, context).flatten(0, 1)
    convert = leave_one_out and denoiser.law is Law.POSTERIOR
    return linear_stats(
        hidden,
        denoiser.head,
        None if target is None else target.reshape(-1),
        tokens.reshape(-1),
        discount=copy_log_odds(denoiser, t).float().repeat_interleave(tokens.shape[1]) if convert else None,
    )
