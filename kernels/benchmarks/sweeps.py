"""Whole sampling runs with the paper's smallest network, from level .5 to clean text with noise removal."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

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
from benchmarks.replay import record, replay
from benchmarks.timing import Variant

LENGTH = 128
LEVEL = 0.5
# Steps timed of a dense run: all its steps cost the same, and all of a long run's would take an hour.
DENSE_STEPS = 3
# Repetitions of a whole run of ours and of its floor, by whether it has many steps.
REPEATS, REPEATS_OF_LONG, LONG = 5, 3, 100


@dataclass(frozen=True)
class Sweep:
    """Corrupted rows (batch, 128), a network, and the number of steps from pure noise to clean text."""

    denoiser: NetworkDenoiser
    starts: Starts
    steps: int

    @classmethod
    def random(cls, vocab: int, batch: int, steps: int) -> "Sweep":
        """256 wide, 8 blocks, 8 heads. A fresh network's head and gates are zero, so its weights are drawn again."""
        torch.manual_seed(0)
        network = DiT(DiTConfig(vocab, LENGTH, width=256, layers=8, heads=8))
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.ndim > 1:
                    parameter.normal_(std=0.02)
        denoiser = NetworkDenoiser(network, LogLinear(), Law.LEAVE_ONE_OUT)
        clean = torch.randint(vocab, (batch, LENGTH))
        time = time_at_level(denoiser.schedule, LEVEL)
        return cls(denoiser, corrupted_starts(denoiser, clean, [time], range(1), seed=0), steps)

    @property
    def batch(self) -> int:
        return len(self.starts.tokens)

    @property
    def sampler(self) -> Ancestral:
        return Ancestral(steps=self.steps, noise_removal=True, thin=True)

    def grid(self) -> list[float]:
        return time_grid(float(self.starts.time[0]), self.steps, noise_removal=True)

    def calls(self) -> dict[str, Callable[[], object]]:
        """What each way does in one call: a dense one its next step, ours the whole run."""
        return {
            "published": _DenseRun(self, rivals.published_step),
            "float32": _DenseRun(self, rivals.float32_step),
            "ours": lambda: self.sampler.run(self.denoiser, self.starts, self.batch),
        }

    def variants(self) -> list[Variant]:
        """All four ways. One run of ours is recorded first, which also warms it and its floor up."""
        asked = record(self.sampler, self.denoiser, self.starts, self.batch)
        steps = len(self.grid()) - 1
        calls = self.calls()
        dense = [
            Variant(
                name,
                calls[name],
                "floor",
                head_rows=steps * self.starts.tokens.numel(),
                forwards=steps * self.batch,
                repeats=DENSE_STEPS,
                parts=steps,
            )
            for name in ("published", "float32")
        ]
        thinned = [
            Variant(
                name,
                call,
                "floor",
                head_rows=sum(call.head_rows for call in asked),
                forwards=sum(len(call.tokens) for call in asked),
                repeats=REPEATS_OF_LONG if steps > LONG else REPEATS,
                warm=True,
            )
            for name, call in (("ours", calls["ours"]), ("floor", lambda: replay(self.denoiser, asked)))
        ]
        return dense + thinned


class _DenseRun:
    """A run that predicts every row at every step; each call takes the next step."""

    def __init__(self, sweep: Sweep, step: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
        self.denoiser = sweep.denoiser
        self.tokens = sweep.starts.tokens
        self.step = step
        self.pairs = pairwise(sweep.grid())

    @torch.inference_mode()
    def __call__(self) -> None:
        t, s = next(self.pairs)
        schedule, head = self.denoiser.schedule, self.denoiser.network.head
        hidden = self.denoiser.hidden(self.tokens, torch.full((len(self.tokens),), t, dtype=torch.float64))
        logits = F.linear(hidden, head.weight, head.bias)
        self.tokens = self.step(logits, self.tokens, alpha_at(schedule, t), alpha_at(schedule, s))
