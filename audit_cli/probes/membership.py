"""Everything that scores of membership are made of, measured together: the clean text, the text under noise, its
evidence bound, its basins under several dynamics, and the same text under a model that has not seen it.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor
from uddm_kernels.linear_stats.chunked import row_blocks

from audit_cli.diffusion.corruption import Starts, corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser, Law, predict
from audit_cli.diffusion.randomness import sequence_key
from audit_cli.diffusion.schedules import T_MIN, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.batching import auto_batch_size, by_length, windows
from audit_cli.probes.likelihood import ELBO_TIMES, nelbo_of
from audit_cli.records import BasinMeasurement, Evidence, Row, Skipped

# Levels of noise and corruptions at each, for surprise under noise.
NOISE_LEVELS, NOISE_DRAWS = (0.05, 0.1, 0.25, 0.5), 4
# Random subsets of corrupted tokens that vote at each level, and their size (SAMA, Zhang et al. 2026).
SUBSETS, SUBSET_TOKENS = 128, 10
NOT_A_NUMBER = "the network's output is not a number"


@dataclass(frozen=True)
class MembershipProbe:
    """What to measure: `basins`, which also look at the clean text, `others` that differ in dynamics; `reference` is
    a network of the same tokens and layout; `compressed` counts the bytes to which a row's text compresses.

    Surprises here are of the network's own law, and say nothing where that is a posterior.
    """

    basins: BasinProbe
    others: tuple[BasinProbe, ...] = ()
    reference: Denoiser | None = None
    compressed: Callable[[Row], int] = lambda _: 0
    seed: int = 0
    batch_size: int | None = None

    def evaluations(self) -> int:
        """About how many network evaluations a text takes."""
        noisy = len(NOISE_LEVELS) * NOISE_DRAWS
        under_reference = 0 if self.reference is None else 1 + noisy
        return sum(p.evaluations() for p in (self.basins, *self.others)) + 1 + ELBO_TIMES + noisy + under_reference

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[Evidence | Skipped]:
        """One result a row, in order, as the rows come."""
        for window in windows(rows):
            first = list(self.basins.measure(denoiser, window))
            others = [list(probe.measure(denoiser, window)) for probe in self.others]
            out: list[Evidence | Skipped | None] = [None] * len(window)
            for indices, tokens, own in by_length(window, self._rows_at_once(window, denoiser.device)):
                for i, likely in zip(indices, self._likelihoods(denoiser, tokens, own), strict=True):
                    basins = first[i]
                    named = [(p.sampler.name, found[i]) for p, found in zip(self.others, others, strict=True)]
                    if isinstance(basins, Skipped):
                        out[i] = basins
                        continue
                    if why := likely.unsound(law_counts=denoiser.law is Law.LEAVE_ONE_OUT):
                        out[i] = Skipped(window[i].candidate, why)
                        continue
                    out[i] = Evidence(
                        denoiser.vocab_size,
                        basins.entropy,
                        basins,
                        tuple((name, m) for name, m in named if isinstance(m, BasinMeasurement)),
                        compressed_bytes=self.compressed(window[i]),
                        evaluations=self.evaluations(),
                        **vars(likely),
                    )
            yield from (result for result in out if result is not None)

    def _rows_at_once(self, window: list[Row], device: torch.device) -> int:
        longest = max(len(row.tokens) for row in window)
        return self.batch_size or max(1, auto_batch_size(longest, device) // NOISE_DRAWS)

    def _likelihoods(self, denoiser: Denoiser, tokens: Tensor, own: Tensor) -> Iterator["_Likelihood"]:
        """What the law itself says of rows of one length."""
        tokens = tokens.to(denoiser.device)
        surprise, entropy, deviation = _moments(denoiser, tokens)
        nelbo = nelbo_of(denoiser, tokens, own, self.seed, self.batch_size)
        noisy, noisy_reference, differences = self._under_noise(denoiser, tokens, own)
        clean_reference = None if self.reference is None else _moments(self.reference, tokens)[0]
        for i in range(len(tokens)):
            mine = own[i]
            yield _Likelihood(
                surprises=tuple(surprise[i, mine].tolist()),
                entropies=tuple(entropy[i, mine].tolist()),
                deviations=tuple(deviation[i, mine].tolist()),
                nelbo=float(nelbo[i, mine].mean()),
                noisy_surprise=float(noisy[i, mine].mean()),
                reference_surprise=None if clean_reference is None else float(clean_reference[i, mine].mean()),
                reference_noisy_surprise=None if noisy_reference is None else float(noisy_reference[i, mine].mean()),
                votes=None
                if differences is None
                else _votes(differences[i], sequence_key(self.seed, tokens[i].tolist())),
            )

    def _under_noise(
        self, denoiser: Denoiser, tokens: Tensor, own: Tensor
    ) -> tuple[Tensor, Tensor | None, list[list[np.ndarray]] | None]:
        """Mean surprise of the clean tokens given noisy rows, (rows, length), under the model and the reference, and
        for each row and level by how much the corrupted tokens surprise the reference more."""
        times = [time_at_level(denoiser.schedule, level) for level in NOISE_LEVELS]
        starts = corrupted_starts(denoiser, tokens, times, range(NOISE_DRAWS), self.seed, own, redraw=False)
        shape = (len(tokens), len(times), NOISE_DRAWS, tokens.shape[1])
        surprise = self._surprise(denoiser, starts).view(shape)
        mean = surprise.mean((1, 2))
        if self.reference is None:
            return mean, None, None
        under_reference = self._surprise(self.reference, starts).view(shape)
        difference = (under_reference - surprise).numpy()
        changed = ((starts.tokens != starts.clean) & starts.free).cpu().view(shape).numpy()
        levels = range(len(times))
        by_row = [[difference[i, k][changed[i, k]] for k in levels] for i in range(len(tokens))]
        return mean, under_reference.mean((1, 2)), by_row

    def _surprise(self, denoiser: Denoiser, starts: Starts) -> Tensor:
        parts = [
            -predict(denoiser, starts.tokens[part], starts.time[part], starts.clean[part]).target_logp.double().cpu()
            for part in self._parts(starts, denoiser)
        ]
        return torch.cat(parts)

    def _parts(self, starts: Starts, denoiser: Denoiser) -> Iterator[slice]:
        rows, length = starts.tokens.shape
        size = self.batch_size or auto_batch_size(length, denoiser.device)
        yield from (slice(first, first + size) for first in range(0, rows, size))


@dataclass(frozen=True)
class _Likelihood:
    """The fields of `Evidence` that need no basins."""

    surprises: tuple[float, ...]
    entropies: tuple[float, ...]
    deviations: tuple[float, ...]
    nelbo: float
    noisy_surprise: float
    reference_surprise: float | None
    reference_noisy_surprise: float | None
    votes: float | None

    def unsound(self, law_counts: bool) -> str:
        """Why no score can be made of it, or nothing; `law_counts` where the network's own law says something."""
        if not law_counts:
            return ""
        mine = (*self.surprises, *self.entropies, *self.deviations, self.nelbo, self.noisy_surprise)
        under_reference = (self.reference_surprise or 0.0, self.reference_noisy_surprise or 0.0)
        if not all(map(math.isfinite, mine)):
            return NOT_A_NUMBER
        return "" if all(map(math.isfinite, under_reference)) else f"under the reference model: {NOT_A_NUMBER}"


@torch.no_grad()
def _moments(denoiser: Denoiser, tokens: Tensor) -> tuple[Float64[Tensor, "rows length"], ...]:
    """Surprise of the tokens of clean rows, entropy, and standard deviation of log p, under each position's law."""
    t = torch.full((len(tokens),), T_MIN, dtype=torch.float64, device=tokens.device)
    hidden = denoiser.hidden(tokens, t).flatten(0, 1)
    target = tokens.reshape(-1)
    columns = []
    for part in row_blocks(len(hidden), denoiser.vocab_size, hidden.device):
        log_p = torch.log_softmax(denoiser.head.logits(hidden[part]).double(), dim=1)
        p = log_p.exp()
        # A token that cannot be (p = 0, log p = -inf) adds nothing to a mean.
        entropy = -torch.where(p > 0, p * log_p, 0).sum(1)
        variance = torch.where(p > 0, p * (log_p + entropy[:, None]) ** 2, 0).sum(1)
        columns.append((-log_p.gather(1, target[part, None]).squeeze(1), entropy, variance.sqrt()))
    return tuple(torch.cat(column).view(tokens.shape).cpu() for column in zip(*columns, strict=True))


def _votes(differences: list[np.ndarray], key: tuple[int, int]) -> float:
    """Share of random subsets of corrupted tokens that surprise the reference more; little noise counts more."""
    rng = np.random.Generator(np.random.Philox(key=key[0] | key[1] << 32))
    shares, weights = [], []
    for step, found in enumerate(differences, start=1):
        if len(found):
            picks = rng.integers(0, len(found), (SUBSETS, min(SUBSET_TOKENS, len(found))))
            shares.append(float((found[picks].sum(1) > 0).mean()))
            weights.append(1 / step)
    return float(np.average(shares, weights=weights)) if shares else 0.5
