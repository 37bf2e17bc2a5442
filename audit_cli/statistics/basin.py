"""From a curve of returned restarts over levels to a basin."""

from collections.abc import Sequence

import numpy as np
from scipy.optimize import isotonic_regression

from audit_cli.records import Basin
from audit_cli.statistics.intervals import wilson

HALF = 0.5


def basin(levels: Sequence[float], returned: Sequence[int], restarts: Sequence[int]) -> Basin:
    """The level at which half of the restarts return, where a decreasing fit of the returned share crosses a half.

    The fit is PAVA's, weighted by restarts, interpolated linearly between levels and from 1 at level 0. The interval
    is [largest level whose Wilson lower bound is at least a half, smallest level whose upper bound is at most a
    half], 0 and 1 where there is none. Levels ascend and lie in (0, 1). Raises ValueError on none.
    """
    if not len(levels):
        raise ValueError("a basin needs at least one level")
    share = np.asarray(returned, dtype=np.float64) / np.asarray(restarts, dtype=np.float64)
    fit = isotonic_regression(share, weights=np.asarray(restarts, dtype=np.float64), increasing=False).x
    x = np.concatenate([[0.0], np.asarray(levels, dtype=np.float64)])
    y = np.concatenate([[1.0], fit])
    intervals = [wilson(r, n) for r, n in zip(returned, restarts, strict=True)]
    low = max((level for level, i in zip(levels, intervals, strict=True) if i.low >= HALF), default=0.0)
    high = min((level for level, i in zip(levels, intervals, strict=True) if i.high <= HALF), default=1.0)
    size, censored = _crossing(x, y)
    # The two bounds come from single levels and the crossing from the whole curve; an odd curve may disagree.
    return Basin(size, min(low, size), max(high, size), censored, curve_area(levels, share))


def _crossing(x: np.ndarray, y: np.ndarray) -> tuple[float, str]:
    """Where the decreasing curve falls below a half; and on which side that is censored."""
    if y[-1] >= HALF:
        return float(x[-1]), "high"
    k = int(np.argmax(y < HALF))
    size = float(x[k - 1] + (y[k - 1] - HALF) / (y[k - 1] - y[k]) * (x[k] - x[k - 1]))
    return size, "low" if k == 1 else ""


def curve_area(levels: Sequence[float], share: np.ndarray | Sequence[float]) -> float:
    """Mean of a curve over the span of its levels, by trapezoids; the value itself where there is one level."""
    if len(levels) == 1:
        return float(share[0])
    x, y = np.asarray(levels, dtype=np.float64), np.asarray(share, dtype=np.float64)
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))
