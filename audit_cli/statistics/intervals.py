"""Confidence intervals that hold at 0 and at 1, where bootstraps of a proportion do not."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy import special

from audit_cli.records import Interval

PICKS_AT_ONCE = 1 << 22


def wilson(successes: int, trials: int, confidence: float = 0.95) -> Interval:
    """Wilson's score interval of a proportion. Raises ValueError unless 0 <= successes <= trials and trials > 0."""
    if not 0 <= successes <= trials or trials == 0:
        raise ValueError(f"{successes} successes of {trials} trials")
    z = float(special.ndtri((1 + confidence) / 2))
    share = successes / trials
    centre = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = z / (1 + z * z / trials) * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    # At the ends rounding must not push the bound off 0 or 1.
    low = 0.0 if successes == 0 else max(0.0, centre - half)
    high = 1.0 if successes == trials else min(1.0, centre + half)
    return Interval(share, low, high)


def clopper_pearson_upper(successes: int, trials: int, confidence: float = 0.95) -> float:
    """One-sided exact upper bound of a proportion."""
    return 1.0 if successes >= trials else float(special.betaincinv(successes + 1, trials - successes, confidence))


def cluster_mean(values: Sequence[float], confidence: float = 0.95) -> Interval:
    """Mean of rates in [0, 1], one a cluster (a restart, say), with a t interval over the clusters.

    Where all clusters agree there is no spread to estimate; at 0 and 1 the rule of the Clopper-Pearson bound over
    clusters is used instead, which is exact if a cluster is one trial and conservative otherwise. Raises
    ValueError on no values.
    """
    if not len(values):
        raise ValueError("no values")
    x = np.asarray(values, dtype=np.float64)
    n, mean = len(x), float(x.mean())
    tail = (1 - confidence) / 2
    if bool((x == x[0]).all()):
        if mean == 0.0:
            return Interval(0.0, 0.0, 1 - tail ** (1 / n))
        if mean == 1.0:
            return Interval(1.0, tail ** (1 / n), 1.0)
        return Interval(mean, 0.0, 1.0) if n == 1 else Interval(mean, mean, mean)
    half = float(special.stdtrit(n - 1, 1 - tail)) * float(x.std(ddof=1)) / math.sqrt(n)
    return Interval(mean, max(0.0, mean - half), min(1.0, mean + half))


def bootstrap_mean(
    values: Float[np.ndarray, " n"], seed: int, resamples: int = 2000, confidence: float = 0.95
) -> Interval:
    """Mean with a percentile bootstrap interval over its values. Raises ValueError on no values."""
    return bootstrap_ratio(values, np.ones_like(values), seed, resamples, confidence)


def bootstrap_means(
    values: Float[np.ndarray, "n columns"], seed: int, resamples: int = 2000, confidence: float = 0.95
) -> list[Interval]:
    """`bootstrap_mean` of each column, all under the same resamples. Raises ValueError on no values."""
    n, columns = values.shape
    if not n:
        raise ValueError("no values")
    rng = np.random.default_rng(seed)
    means = np.empty((resamples, columns))
    # How often each resample takes each row, so that a matrix product sums up all columns; a few resamples at a time.
    at_once = max(1, PICKS_AT_ONCE // n)
    for first in range(0, resamples, at_once):
        some = min(at_once, resamples - first)
        picks = rng.integers(0, n, (some, n)) + n * np.arange(some)[:, None]
        times = np.bincount(picks.ravel(), minlength=some * n).reshape(some, n)
        means[first : first + some] = times.astype(np.float64) @ values / n
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2], axis=0)
    bounds = zip(values.mean(axis=0).tolist(), low.tolist(), high.tolist(), strict=True)
    return [Interval(*found) for found in bounds]


def bootstrap_ratio(
    numerator: Float[np.ndarray, " n"],
    denominator: Float[np.ndarray, " n"],
    seed: int,
    resamples: int = 2000,
    confidence: float = 0.95,
) -> Interval:
    """Ratio of two sums over the same units, with a percentile bootstrap interval over the units."""
    if not len(numerator):
        raise ValueError("no values")
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(numerator), (resamples, len(numerator)))
    ratios = numerator[picks].sum(1) / denominator[picks].sum(1)
    low, high = np.quantile(ratios, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(numerator.sum() / denominator.sum()), float(low), float(high))
