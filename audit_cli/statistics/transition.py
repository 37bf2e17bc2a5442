"""Where a model stops to memorize as its training set grows: from gaps between seen and unseen text, by size.

A gap is the mean of something over training texts minus its mean over held-out texts. It falls with the size of the
training set; where it crosses a bound is read off a decreasing fit, linear in the logarithm of the size.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import isotonic_regression

RESAMPLES = 1000
CONFIDENCE = 0.95
# Seeds are units of their own where there are so many.
LEAST_SEEDS = 3


@dataclass(frozen=True)
class Crossing:
    """The size at which a gap falls below a bound, with its interval. `censored` is "low" where it is below at the
    smallest size already, "high" where it never is, else empty; then `size` is the size at that end."""

    size: float
    low: float
    high: float
    censored: str = ""


@dataclass(frozen=True)
class Gaps:
    """What one size has: a value a training text and a value a held-out text, of every seed.

    The held-out texts are the same at every size and seed, in the same order.
    """

    size: int
    seen: tuple[Float[np.ndarray, " texts"], ...]
    unseen: tuple[Float[np.ndarray, " heldout"], ...]

    def gap(self) -> float:
        """The mean over seeds of the difference of means."""
        return float(np.mean([s.mean() - u.mean() for s, u in zip(self.seen, self.unseen, strict=True)]))


def crossing(gaps: Sequence[Gaps], bound: float | None, seed: int = 0, resamples: int = RESAMPLES) -> Crossing:
    """Where the gap falls below `bound`, by default to half of what it is at the smallest size.

    The interval is a percentile bootstrap: over the held-out texts, which are drawn once for all sizes, the training
    texts of each model, and the seeds where there are at least three. Raises ValueError on fewer than two sizes.
    """
    if len(gaps) < 2:
        raise ValueError("a crossing needs at least two sizes")
    ordered = sorted(gaps, key=lambda of: of.size)
    sizes = np.array([of.size for of in ordered], dtype=np.float64)
    value, censored = _crossed(sizes, np.array([of.gap() for of in ordered]), bound)
    rng = np.random.default_rng(seed)
    drawn = np.array([_crossed(sizes, _resampled(ordered, rng), bound)[0] for _ in range(resamples)])
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Crossing(value, min(float(low), value), max(float(high), value), censored)


def _resampled(gaps: Sequence[Gaps], rng: np.random.Generator) -> Float[np.ndarray, " sizes"]:
    heldout = len(gaps[0].unseen[0])
    picked = rng.integers(0, heldout, heldout)
    out = np.empty(len(gaps))
    for i, of in enumerate(gaps):
        count = len(of.seen)
        seeds = rng.integers(0, count, count) if count >= LEAST_SEEDS else np.arange(count)
        differences = []
        for k in seeds:
            seen = of.seen[k]
            differences.append(seen[rng.integers(0, len(seen), len(seen))].mean() - of.unseen[k][picked].mean())
        out[i] = np.mean(differences)
    return out


def _crossed(
    sizes: Float[np.ndarray, " sizes"], gap: Float[np.ndarray, " sizes"], bound: float | None
) -> tuple[float, str]:
    """The size at which a decreasing fit of the gap crosses the bound, and on which side that is censored."""
    fit = np.asarray(isotonic_regression(gap, increasing=False).x)
    edge = fit[0] / 2 if bound is None else bound
    if fit[0] <= edge:
        return float(sizes[0]), "low"
    if fit[-1] > edge:
        return float(sizes[-1]), "high"
    k = int(np.argmax(fit <= edge))
    share = (fit[k - 1] - edge) / (fit[k - 1] - fit[k])
    logs = np.log(sizes)
    return float(np.exp(logs[k - 1] + share * (logs[k] - logs[k - 1]))), ""
