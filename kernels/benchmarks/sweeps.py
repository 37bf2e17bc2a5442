"""Whole sampling runs with networks of the paper's sizes, from level .5 to clean text with noise removal."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import cycle, pairwise
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.corruption import Starts, corrupted_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral, time_grid
from audit_cli.diffusion.schedules import LogLinear, alpha_at, time_at_level
from audit_cli.models.dit import DiT, DiTConfig
from benchmarks import rivals
from benchmarks.paper import LENGTH, LEVEL, SIZES, VOCAB
from benchmarks.replay import recording, replays
from benchmarks.timing import Timing, Variant

# Steps timed of a dense run: all its steps cost the same, and all of a long run's would take an hour.
DENSE_STEPS = 3
# A run of more steps is long: its floor is timed in parts, and it is repeated less often, as its network is larger.
LONG, PARTS_OF_LONG = 100, 4
REPEATS, REPEATS_OF_LONG = 5, {"tiny": 3, "small": 3, "medium": 2}


def random_network(width: int, layers: int, heads: int, vocab: int, length: int) -> DiT:
    """A fresh network's head and gates are zero, so its weights are drawn again."""
    torch.manual_seed(0)
    network = DiT(DiTConfig(vocab, length, width, layers, heads))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.02)
    return network


@dataclass(frozen=True)
class Sweep:
    """`batch` rows of 128 tokens through a network of the paper's `size`, on a grid of `steps` from pure noise on."""

    device: str
    size: str
    batch: int
    steps: int

    kind: ClassVar[str] = "sweep"
    rivals: ClassVar[tuple[str, ...]] = ("published, float64", "published, float32", "multinomial")

    @property
    def title(self) -> str:
        """The size, and what a run is."""
        run = f"sampling run from level {LEVEL:g} with noise removal, T = {self.steps}"
        return f"{run}, the paper's {self.size} size, V = {VOCAB:,}, {self.batch} x {LENGTH} tokens"

    def variants(self) -> list[Variant]:
        """One run of ours is recorded first, which also warms it and its floor up."""
        denoiser, starts = self._start()
        sampler = Ancestral(steps=self.steps, noise_removal=True, thin=True)
        grid = time_grid(float(starts.time[0]), self.steps, noise_removal=True)
        with recording(denoiser) as asked:
            sampler.run(asked, starts, self.batch)
        steps = len(grid) - 1
        dense: dict[str, Callable[[Tensor, Tensor, float, float], Tensor]] = {
            "published, float64": rivals.published_step,
            "published, float32": partial(rivals.published_step, dtype=torch.float32),
            "multinomial": rivals.multinomial_step,
        }
        variants = [
            Variant(
                name,
                _DenseRun(denoiser, starts.tokens, grid, step),
                "floor",
                head_rows=steps * starts.tokens.numel(),
                forwards=steps * self.batch,
                repeats=DENSE_STEPS,
                parts=steps,
            )
            for name, step in dense.items()
        ]
        long = self.steps > LONG
        parts = PARTS_OF_LONG if long else 1
        thinned = {
            "ours": (lambda: sampler.run(denoiser, starts, self.batch), 1),
            "floor": (replays(denoiser, asked.calls, parts), parts),
        }
        return variants + [
            Variant(
                name,
                call,
                "floor",
                head_rows=asked.head_rows,
                forwards=asked.forwards,
                repeats=REPEATS_OF_LONG[self.size] if long else REPEATS,
                parts=of,
                warm=True,
            )
            for name, (call, of) in thinned.items()
        ]

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """How much of a dense run's work is left."""
        by_name = {variant.name: variant for variant in variants}
        ours, dense = by_name["ours"], by_name["multinomial"]
        return [
            f"Backbone passes skipped: {1 - ours.forwards / dense.forwards:.1%} of {dense.forwards:,}.",
            f"Rows through the head: {ours.head_rows / dense.head_rows:.2%} of {dense.head_rows:,}.",
        ]

    def _start(self) -> tuple[NetworkDenoiser, Starts]:
        network = random_network(*SIZES[self.size], VOCAB, LENGTH).to(self.device)
        denoiser = NetworkDenoiser(network, LogLinear(), Law.LEAVE_ONE_OUT)
        clean = torch.randint(VOCAB, (self.batch, LENGTH))
        time = time_at_level(denoiser.schedule, LEVEL)
        return denoiser, corrupted_starts(denoiser, clean, [time], range(1), seed=0)


class _DenseRun:
    """A run that predicts every row at every step; each call takes the next step, from the last one to the first."""

    def __init__(
        self,
        denoiser: NetworkDenoiser,
        tokens: Tensor,
        grid: list[float],
        step: Callable[[Tensor, Tensor, float, float], Tensor],
    ) -> None:
        self.denoiser = denoiser
        self.tokens = tokens
        self.step = step
        self.pairs = cycle(pairwise(grid))

    @torch.inference_mode()
    def __call__(self) -> None:
        t, s = next(self.pairs)
        schedule, head = self.denoiser.schedule, self.denoiser.network.head
        time = torch.full((len(self.tokens),), t, dtype=torch.float64, device=self.tokens.device)
        logits = F.linear(self.denoiser.hidden(self.tokens, time), head.weight, head.bias)
        self.tokens = self.step(logits, self.tokens, alpha_at(schedule, t), alpha_at(schedule, s))
