"""Statistics of rows of logits that are there already: a matter of reading them once."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from uddm_kernels import logit_stats
from uddm_kernels.backend import choose

from benchmarks import rivals
from benchmarks.events import input_sets
from benchmarks.timing import Timing, Variant, rotating

# Of the logits.
LOGITS_SD = 3.0


@dataclass(frozen=True)
class Inputs:
    """logits (rows, vocab), target (rows,), and as much memory as half of the logits take."""

    logits: Tensor
    target: Tensor
    half: Tensor


@dataclass(frozen=True)
class LogitStats:
    """`rows` rows of logits over `vocab` tokens."""

    device: str
    rows: int
    vocab: int
    dtype: str = "float32"

    kind: ClassVar[str] = "logit-stats"
    rivals: ClassVar[tuple[str, ...]] = ("materialised", "compiled", "chunked")

    @property
    def title(self) -> str:
        """The size."""
        return f"N = {self.rows:,}, V = {self.vocab:,}, {self.dtype}"

    def variants(self) -> list[Variant]:
        """Ours gives all of `RowStats`, the others entropy and the target's log-probability."""
        dtype = getattr(torch, self.dtype)
        size = self.rows * self.vocab * dtype.itemsize
        inputs = [self._inputs(seed, dtype) for seed in range(input_sets(size, self.device))]
        compiled = torch.compile(rivals.statistics, dynamic=False)
        ways: dict[str, Callable[[Inputs], object]] = {
            "materialised": lambda x: rivals.statistics(x.logits, x.target),
            "compiled": lambda x: compiled(x.logits, x.target),
            "chunked": lambda x: logit_stats(x.logits, x.target, backend="chunked"),
            "ours": lambda x: logit_stats(x.logits, x.target),
            "floor": lambda x: x.half.copy_(x.logits[: len(x.half)]),
        }
        # A rival only where it is not ours.
        ways.pop(choose(inputs[0].logits), None)
        return [Variant(name, rotating(way, inputs), "floor", moved=size) for name, way in ways.items()]

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """What the floor is."""
        return ["The floor copies half of the logits: as many bytes read and written as the logits have."]

    def _inputs(self, seed: int, dtype: torch.dtype) -> Inputs:
        random = torch.Generator(self.device).manual_seed(seed)
        logits = torch.empty(self.rows, self.vocab, dtype=dtype, device=self.device)
        return Inputs(
            logits=logits.normal_(std=LOGITS_SD, generator=random),
            target=torch.randint(self.vocab, (self.rows,), generator=random, device=self.device),
            # Written once here, so that the first copy does not pay for fresh pages.
            half=torch.ones_like(logits[: self.rows // 2]),
        )
