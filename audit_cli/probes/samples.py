"""Texts that a model writes by itself, from pure noise."""

from collections.abc import Iterator

from audit_cli.diffusion.corruption import noise_starts
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Sampler
from audit_cli.probes.batching import auto_batch_size, trajectories_at_once
from audit_cli.records import Candidate, Row


def generate(
    denoiser: Denoiser,
    count: int,
    sampler: Sampler,
    seed: int,
    length: int | None = None,
    batch_size: int | None = None,
) -> Iterator[Row]:
    """`count` rows of `length` tokens (the model's longest by default); row i depends on (seed, i) only."""
    length = length or denoiser.max_length
    at_once = trajectories_at_once(length, denoiser.device)
    for first in range(0, count, at_once):
        starts = noise_starts(denoiser, min(at_once, count - first), length, seed, first)
        outcome = sampler.run(denoiser, starts, batch_size or auto_batch_size(length, denoiser.device))
        for i, tokens in enumerate(outcome.tokens.tolist(), start=first + 1):
            yield Row(Candidate("generated", i, f"generated:{i}"), tuple(tokens), 0, length)
