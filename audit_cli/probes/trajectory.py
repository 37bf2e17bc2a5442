"""What a network predicts along the reverse process, at every step of every row.

The observables are those of the code of arXiv 2604.26841: of the softmax p of each position its entropy; the diagonal
of its covariance p(1 - p), as a sum and as a 2-norm ("diagonal stability"); the 2-norm of p_v p_w over the pairs v < w,
sqrt(½((Σp²)² - Σp⁴)), and the mean of its off-diagonal, -((Σp)² - Σp²)/(V(V - 1))/2; the largest probability, and its
lead over the second ("spectral gap"). All come from sums of powers of p, never from p.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from uddm_kernels import LinearHead, PowerSums, power_sums

from audit_cli.diffusion.corruption import Starts, corrupted_starts, noise_starts
from audit_cli.diffusion.denoiser import Denoiser, Law, copy_log_odds, prompted
from audit_cli.diffusion.plan import Batch
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.batching import auto_batch_size, by_length, trajectories_at_once, windows
from audit_cli.records import OBSERVABLES, Row

STATEFUL = (
    "the trajectory is that of the ancestral process, and what this network predicts depends on what it predicted in "
    "the step before"
)


@dataclass(frozen=True)
class Measured:
    """What was measured of rows that went together, in the order in which they were given.

    `means` are over a row's positions; `sums` are over rows, and `counts` how many rows have each position, counted
    from the first one that is measured. The observables are in the order of `OBSERVABLES`; entropies are in nats.
    """

    indices: list[int]
    ends: Int64[Tensor, "rows length"]
    means: Float64[np.ndarray, "rows times observables"]
    sums: Float64[np.ndarray, "times positions observables"]
    counts: Int64[np.ndarray, " positions"]


@dataclass(frozen=True)
class TrajectoryProbe:
    """How to go back: by `sampler` from time `start`, all steps measured. `floor` is the smallest interaction norm."""

    sampler: Ancestral = field(default_factory=Ancestral)
    start: float = 1.0
    seed: int = 0
    batch_size: int | None = None
    floor: float = 0.0

    def times(self) -> list[float]:
        """The times that are looked at: before each step, and the last before noise removal."""
        grid = self.sampler.grid(self.start)
        return grid[:-1] if self.sampler.noise_removal else grid

    def generated(self, denoiser: Denoiser, count: int, length: int) -> Iterator[Measured]:
        """`count` rows of `length` tokens from pure noise: those that `samples.generate` writes, under the same seed.

        Raises ValueError where predictions depend on earlier ones, FloatingPointError where they are no numbers.
        """
        at_once = trajectories_at_once(length, denoiser.device)
        for first in range(0, count, at_once):
            starts = noise_starts(denoiser, min(at_once, count - first), length, self.seed, first)
            yield self._measured(denoiser, starts, list(range(first, first + len(starts.tokens))))

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[Measured]:
        """Rows of texts, corrupted at `start`: as restart 0 of a text whose corruption is drawn once. Raises as
        `generated`."""
        seen = 0
        for window in windows(rows):
            longest = max(len(row.tokens) for row in window)
            for indices, tokens, own in by_length(window, trajectories_at_once(longest, denoiser.device)):
                own_denoiser = prompted(denoiser, window[indices[0]].prompt)
                starts = corrupted_starts(own_denoiser, tokens, [self.start], range(1), self.seed, own, redraw=False)
                yield self._measured(own_denoiser, starts, [seen + i for i in indices])
            seen += len(window)

    def _measured(self, denoiser: Denoiser, starts: Starts, indices: list[int]) -> Measured:
        if not denoiser.stateless:
            raise ValueError(STATEFUL)
        times, (rows, length) = self.times(), starts.tokens.shape
        free = starts.free.cpu().numpy()
        means = np.zeros((rows, len(times), len(OBSERVABLES)))
        sums = np.zeros((len(times), int(free.sum(1).max()), len(OBSERVABLES)))

        def note(row: list[int], step: list[int], seen: Float64[np.ndarray, "observables batch length"]) -> None:
            for i, (at, when) in enumerate(zip(row, step, strict=True)):
                own = np.ascontiguousarray(seen[:, i, free[at]])
                means[at, when] = own.mean(axis=1)
                # Rows in their order, one by one: sums do not depend on how many went together.
                sums[when, : own.shape[1]] += own.T

        def look(batch: Batch, tokens: Tensor, hidden: Tensor) -> None:
            note(batch.row.tolist(), batch.step.tolist(), self._seen(denoiser, tokens, batch.t, hidden))

        size = self.batch_size or auto_batch_size(length, denoiser.device)
        outcome = self.sampler.along(denoiser, starts, size, look)
        if not self.sampler.noise_removal:
            time = torch.full((rows,), T_MIN, dtype=torch.float64, device=starts.tokens.device)
            for some in torch.arange(rows, device=time.device).split(size):
                tokens = outcome.tokens[some]
                seen = self._seen(denoiser, tokens, time[some], denoiser.hidden(tokens, time[some]))
                note(some.tolist(), [len(times) - 1] * len(some), seen)
        counts = (free.sum(1)[:, None] > np.arange(sums.shape[1])).sum(0)
        return Measured(indices, outcome.tokens.cpu(), means, sums, counts)

    def _seen(self, denoiser: Denoiser, tokens: Tensor, t: Tensor, hidden: Tensor) -> np.ndarray:
        """The observables of every position. Raises FloatingPointError where one is no number."""
        convert = denoiser.law is Law.POSTERIOR
        sums = power_sums(
            hidden.flatten(0, 1),
            denoiser.head,
            tokens.reshape(-1),
            discount=copy_log_odds(denoiser, t).float().repeat_interleave(tokens.shape[1]) if convert else None,
        )
        found = observables(sums, predicted_tokens(denoiser.head, denoiser.vocab_size), self.floor)
        if not bool(torch.isfinite(found).all()):
            raise FloatingPointError("the network's logits are not finite")
        return found.view(len(OBSERVABLES), *tokens.shape).cpu().numpy()


def predicted_tokens(head: LinearHead, vocab: int) -> int:
    """How many tokens the head may predict: V of the mean interaction."""
    return vocab - len(set(head.forbidden))


def observables(sums: PowerSums, vocab: int, floor: float = 0.0) -> Float64[Tensor, "observables rows"]:
    """The observables of each row out of its power sums, without a difference that loses digits as p goes to one-hot.

    With P the largest probability and S_k the sums over the others: Σp(1 - p) = (1 - P)(1 + P) - S_2, of which S_2 is
    at most a third; Σ(p(1 - p))² = (P(1 - P))² + S_2 - 2 S_3 + S_4; (Σp²)² - Σp⁴ = 2 P² S_2 + S_2² - S_4.
    No other probability is above a half, so S_2 outweighs what is taken off.
    """
    top, others = sums.top, sums.others
    variance = others * (1 + top) - sums.squares
    norm = ((top * others).square() + sums.squares - 2 * sums.cubes + sums.fourths).sqrt()
    pairs = 2 * top.square() * sums.squares + sums.squares.square() - sums.fourths
    interaction = (pairs / 2).sqrt().clamp(min=floor)
    mean = -variance / max(1, vocab * (vocab - 1)) / 2
    return torch.stack((sums.entropy, variance, norm, interaction, mean, top, sums.gap))
