"""Statistics of the rows of a linear head, from hidden states: entropy and a target's log-probability at least."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from uddm_kernels import LinearHead, linear_stats
from uddm_kernels.backend import choose

from benchmarks import packaged, rivals
from benchmarks.events import input_sets
from benchmarks.timing import Timing, Variant, rotating

# (N, D, V): two heads of large language models, and those of the small diffusion models of the literature.
SHAPES = ((8192, 4096, 131072), (16384, 256, 30522), (16384, 768, 50258), (4096, 2816, 262144))


@dataclass(frozen=True)
class Inputs:
    """hidden (rows, width), weight (vocab, width), target (rows,)."""

    hidden: Tensor
    weight: Tensor
    target: Tensor

    @property
    def head(self) -> LinearHead:
        return LinearHead(self.weight)


@dataclass(frozen=True)
class LinearStats:
    """`rows` hidden rows of `width` numbers under a head of `vocab` tokens; `full_rows` of them where there is room."""

    device: str
    rows: int
    width: int
    vocab: int
    full_rows: int
    dtype: str = "float32"

    kind: ClassVar[str] = "linear-stats"
    rivals: ClassVar[tuple[str, ...]] = ("materialised", "compiled", "chunked", *packaged.PACKAGED)

    @property
    def title(self) -> str:
        """The size, and whether it was made smaller."""
        scaled = f" (scaled down from {self.full_rows:,})" if self.rows < self.full_rows else ""
        return f"N = {self.rows:,}{scaled}, D = {self.width:,}, V = {self.vocab:,}, {self.dtype}"

    def variants(self) -> list[Variant]:
        """Ours gives all of `RowStats`, the others entropy and the target's log-probability or what their names say."""
        dtype = getattr(torch, self.dtype)
        size = (self.rows + self.vocab) * self.width * dtype.itemsize
        inputs = [self._inputs(seed, dtype) for seed in range(input_sets(size, self.device))]
        ways: dict[str, Callable[[Inputs], object]] = {
            "materialised": partial(_by, rivals.materialised),
            "compiled": partial(_by, torch.compile(rivals.materialised, dynamic=False)),
            "chunked": lambda x: linear_stats(x.hidden, x.head, x.target, backend="chunked"),
            **{name: partial(_by, way) for name, way in packaged.installed(self.device).items()},
            "ours": lambda x: linear_stats(x.hidden, x.head, x.target),
            "floor": lambda x: rivals.head_product(x.hidden, x.weight),
        }
        # A rival only where it is not ours.
        ways.pop(self._backend, None)
        flops = 2 * self.rows * self.width * self.vocab
        return [Variant(name, rotating(way, inputs), "floor", flops=flops) for name, way in ways.items()]

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """What ours and the floor are, and which rivals are missing."""
        ours = f"Ours is the {self._backend} backend and gives ranks and the best two tokens as well"
        what = f"{ours}; the floor is the matrix product alone."
        return [note for note in (what, packaged.left_out(self.device)) if note]

    @property
    def _backend(self) -> str:
        """What the program takes by itself."""
        return choose(torch.empty(0, dtype=getattr(torch, self.dtype), device=self.device))

    def _inputs(self, seed: int, dtype: torch.dtype) -> Inputs:
        """Logits of unit variance."""
        random = torch.Generator(self.device).manual_seed(seed)
        hidden = torch.empty(self.rows, self.width, dtype=dtype, device=self.device)
        weight = torch.empty(self.vocab, self.width, dtype=dtype, device=self.device)
        return Inputs(
            hidden=hidden.normal_(generator=random),
            weight=weight.normal_(std=self.width**-0.5, generator=random),
            target=torch.randint(self.vocab, (self.rows,), generator=random, device=self.device),
        )


def _by(way: packaged.Way, inputs: Inputs) -> object:
    return way(inputs.hidden, inputs.weight, inputs.target)
