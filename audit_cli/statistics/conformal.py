"""Split-conformal p-values, their combination over the parts of a text, and false discovery control."""

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import false_discovery_control

from audit_cli.statistics.intervals import clopper_pearson_upper

SIGNIFICANT_DIGITS = 6


def rounded(scores: Sequence[float] | Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Scores to six significant digits, so that rounding noise of another machine makes no difference."""
    return np.fromiter((float(f"{score:.{SIGNIFICANT_DIGITS}g}") for score in scores), np.float64, len(scores))


def count_at_least(
    scores: Sequence[float] | Float[np.ndarray, " m"], references: Sequence[float] | Float[np.ndarray, " n"]
) -> Int[np.ndarray, " m"]:
    """For each score how many references are at least as high: ties count against a finding.

    Raises ValueError on a NaN.
    """
    held, own = np.sort(rounded(references)), rounded(scores)
    if np.isnan(held).any() or np.isnan(own).any():
        raise ValueError("a score is NaN")
    return len(held) - np.searchsorted(held, own, side="left")


def conformal_p(
    above: Int[np.ndarray, " m"], references: Int[np.ndarray, " m"]
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """p = (1 + above) / (references + 1), where so many of so many references score at least as high, and a bound.

    The bound is Clopper-Pearson's 95 % upper limit of the share of such text that scores at least as high. Valid
    where a score and its references are exchangeable. Raises ValueError on no references.
    """
    if (references < 1).any():
        raise ValueError("no reference scores")
    pairs, index = np.unique(np.stack([above, references], axis=1), axis=0, return_inverse=True)
    upper = np.array([clopper_pearson_upper(int(k), int(n)) for k, n in pairs], dtype=np.float64)
    return (1 + above) / (references + 1), upper[index.reshape(-1)]


def simes(p: Float[np.ndarray, " parts"]) -> float:
    """One p-value of the hypothesis that all parts are null: the least of k p_(i) / i. Simes, Biometrika 1986.

    Valid for independent parts and for the positive dependence that shared references bring.
    """
    ranked = np.sort(p)
    return float(min(1.0, (len(ranked) * ranked / np.arange(1, len(ranked) + 1)).min()))


def q_values(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Benjamini-Hochberg adjusted p-values: reporting those <= f keeps the false discovery rate at f."""
    return np.asarray(false_discovery_control(p, method="bh")) if len(p) else np.empty(0)


def references_needed(candidates: int, findings: int, fdr: float) -> int:
    """How many references let `findings` of `candidates` texts reach `fdr`: m / (k q) - 1, rounded up."""
    return max(1, math.ceil(candidates / (findings * fdr) - 1 - 1e-9))
