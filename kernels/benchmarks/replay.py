"""What a run asked of its network, recorded, and the same questions asked again with nothing between."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from uddm_kernels import linear_stats, uniform_step

from audit_cli.diffusion import denoiser as predictions
from audit_cli.diffusion import samplers
from audit_cli.diffusion.denoiser import Denoiser
from benchmarks.rivals import head_product


@dataclass
class Call:
    """One forward pass of a run, tokens (rows, length) at times t (rows,), and how many rows the head then saw."""

    tokens: Tensor
    t: Tensor
    head_rows: int = 0


class Recording:
    """A denoiser whose forward passes are kept in `calls`, in order. For networks without a prompt."""

    def __init__(self, denoiser: Denoiser) -> None:
        self._denoiser = denoiser
        self.calls: list[Call] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def hidden(self, tokens: Tensor, t: Tensor, context: None = None) -> Tensor:
        self.calls.append(Call(tokens.clone(), t.clone()))
        return self._denoiser.hidden(tokens, t, context)

    @property
    def forwards(self) -> int:
        """Sequences that passed through the backbone."""
        return sum(len(call.tokens) for call in self.calls)

    @property
    def head_rows(self) -> int:
        """Rows that passed through the head."""
        return sum(call.head_rows for call in self.calls)


@contextmanager
def recording(denoiser: Denoiser) -> Iterator[Recording]:
    """Record what is asked of the denoiser that this gives, as long as this lasts.

    A fused kernel reads the head's weights past the head, so rows are counted where kernels are called.
    """
    record = Recording(denoiser)

    def counted(kernel: Callable[..., Any]) -> Callable[..., Any]:
        def count(hidden: Tensor, *args: Any, **options: Any) -> Any:
            record.calls[-1].head_rows += len(hidden)
            return kernel(hidden, *args, **options)

        return count

    with (
        patch.object(samplers, "uniform_step", counted(uniform_step)),
        patch.object(predictions, "linear_stats", counted(linear_stats)),
    ):
        yield record


def replays(denoiser: Denoiser, calls: Sequence[Call], parts: int = 1, head: bool = True) -> Callable[[], None]:
    """A call that repeats the forward passes, with `head` the head's products too, and nothing else.

    Of several `parts` it does one, every so manieth pass, and the next when it is called again.
    """
    weight, bias = denoiser.head.weight, denoiser.head.bias
    turn = cycle([calls[first::parts] for first in range(parts)])

    @torch.inference_mode()
    def replay() -> None:
        for call in next(turn):
            hidden = denoiser.hidden(call.tokens, call.t)
            if head and weight is not None:
                head_product(hidden.flatten(0, 1)[: call.head_rows], weight, bias)

    return replay
