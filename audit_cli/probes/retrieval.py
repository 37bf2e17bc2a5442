"""Retrieval by a cue: a damaged or incomplete text is run to its attractors, many times from noise of its own.

The memory is asked before it is used: which texts does a cue fall into, how often, and do they stand still there?
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from audit_cli.diffusion.corruption import slot_starts
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Ancestral, Sampler
from audit_cli.diffusion.schedules import reached_time
from audit_cli.probes.attractors import applied
from audit_cli.probes.batching import auto_batch_size, trajectories_at_once
from audit_cli.probes.extraction import START
from audit_cli.records import Row


@dataclass(frozen=True)
class Ending:
    """A row in which `count` restarts ended, and whether x <- argmax leaves all its free tokens as they are."""

    row: Row
    count: int
    fixed_point: bool


@dataclass(frozen=True)
class RetrievalProbe:
    """How to run a cue: so many `restarts` under a dynamics, its unknown positions noise at first.

    With `freeze` the known positions stay as they are, and the network is told what extraction by a cue tells it.
    Without, they are free too: the row stands at the share of its positions that are unknown, or at `level` if that is
    more, and then known ones are corrupted until it does.
    """

    restarts: int = 64
    sampler: Sampler = field(default_factory=Ancestral)
    freeze: bool = False
    level: float | None = None
    seed: int = 0
    batch_size: int | None = None

    def level_of(self, row: Row, unknown: Sequence[int]) -> float:
        """The share of noise that the network is told of."""
        return START if self.freeze else max(self.level or 0.0, len(unknown) / len(row.own))

    def measure(self, denoiser: Denoiser, row: Row, unknown: Sequence[int]) -> tuple[list[Ending], int]:
        """Where the restarts of a row ended, the most frequent first, of equals the first to come; and how many network
        evaluations that took. `unknown` are positions of the row; what stands there plays no part."""
        length, level = len(row.tokens), self.level_of(row, unknown)
        slot = torch.zeros(1, length, dtype=torch.bool)
        slot[0, list(unknown)] = True
        own = torch.zeros_like(slot)
        own[0, row.start : row.stop] = True
        free = slot if self.freeze else own
        known_share = len(unknown) / len(row.own)
        share = 0.0 if self.freeze else (level - known_share) / (1 - known_share)
        clean = torch.where(slot, denoiser.noise_tokens[0].cpu(), torch.tensor([row.tokens]))
        time = START if self.freeze else reached_time(denoiser.schedule, level)
        times = torch.tensor([time], dtype=torch.float64)
        size = self.batch_size or auto_batch_size(length, denoiser.device)
        counts: Counter[tuple[int, ...]] = Counter()
        spent, at_once = 0, trajectories_at_once(length, denoiser.device)
        for first in range(0, self.restarts, at_once):
            restarts = range(first, min(self.restarts, first + at_once))
            starts = slot_starts(denoiser, clean, slot, times, restarts, self.seed, free, share)
            outcome = self.sampler.run(denoiser, starts, size)
            counts.update(map(tuple, outcome.tokens.tolist()))
            spent += int(outcome.evaluations.sum())
        ends = counts.most_common()
        found = torch.tensor([tokens for tokens, _ in ends], device=denoiser.device)
        fixed = (applied(denoiser, found, free.to(denoiser.device).expand_as(found), size) == found).all(dim=1).tolist()
        return [
            Ending(Row(row.candidate, tokens, row.start, row.stop), count, still)
            for (tokens, count), still in zip(ends, fixed, strict=True)
        ], spent + len(ends)
