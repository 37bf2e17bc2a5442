"""Split-conformal p-values and false discovery control."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import false_discovery_control

from audit_cli.statistics.intervals import clopper_pearson_upper

SIGNIFICANT_DIGITS = 6


def rounded(scores: Sequence[float] | Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores to six significant digits, so that rounding noise of another machine makes no difference."""
    return np.array([float(f"{score:.{SIGNIFICANT_DIGITS}g}") for score in scores], dtype=np.float64)


def conformal_p(
    scores: Sequence[float], references: Sequence[float]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """p = (1 + #{references >= score}) / (n + 1) for each score, ties against the finding, and an upper bound.

    The bound is Clopper-Pearson's 95 % upper limit of the share of such text that scores at least as high. Valid
    where a score and the references are exchangeable. Raises ValueError on no references or a NaN.
    """
    held = np.sort(rounded(references))
    own = rounded(scores)
    if not len(held):
        raise ValueError("no reference scores")
    if np.isnan(held).any() or np.isnan(own).any():
        raise ValueError("a score is NaN")
    above = len(held) - np.searchsorted(held, own, side="left")
    upper = np.array([clopper_pearson_upper(int(k), len(held)) for k in above])
    return (1 + above) / (len(held) + 1), upper


def q_values(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Benjamini-Hochberg adjusted p-values: reporting those <= f keeps the false discovery rate at f."""
    return np.asarray(false_discovery_control(p, method="bh")) if len(p) else np.empty(0)


def references_needed(candidates: int, findings: int, fdr: float) -> int:
    """How many references let `findings` of `candidates` texts reach `fdr`: m / (k q) - 1, rounded up."""
    return max(1, math.ceil(candidates / (findings * fdr) - 1 - 1e-9))
