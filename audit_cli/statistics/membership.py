"""How well a score tells members from others: AUC, true positives at few false ones, and their intervals.

Scores are larger for members. Intervals are percentile bootstraps over members and non-members together: the
threshold comes from the non-members, so an exact binomial interval over the members alone would cover too little.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from audit_cli.records import Interval, Operating

RESAMPLES = 1000
# A false positive rate is read off so many non-members at least.
LEAST_ABOVE = 10


def auc(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]) -> float:
    """Probability that a member scores higher than another text, ties half (Mann-Whitney). NaN without either."""
    if not len(members) or not len(others):
        return float("nan")
    ordered = np.sort(others)
    below = np.searchsorted(ordered, members, side="left")
    not_above = np.searchsorted(ordered, members, side="right")
    return float((below + not_above).mean() / 2 / len(others))


def tpr_at(members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"], fpr: float) -> float:
    """Share of members strictly above the lowest threshold that no more than `fpr` of the others exceed."""
    allowed = int(np.floor(fpr * len(others) + 1e-9))
    threshold = np.sort(others)[::-1][allowed] if allowed < len(others) else -np.inf
    return float((members > threshold).mean())


def roc(
    members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " k"]]:
    """False and true positive rates over all thresholds, from (0, 0) to (1, 1); ties make slanted steps."""
    thresholds = np.unique(np.concatenate([members, others]))[::-1]
    rates = (
        1 - np.searchsorted(np.sort(values), thresholds, side="left") / len(values) for values in (others, members)
    )
    false, true = (np.concatenate([[0.0], rate]) for rate in rates)
    return false, true


def evaluated(
    members: Float[np.ndarray, " m"], others: Float[np.ndarray, " n"], rates: Sequence[float], seed: int
) -> tuple[Interval, tuple[Operating, ...]]:
    """AUC, and the true positive rate at each of `rates`, with 95 % intervals.

    Raises ValueError on no members, no others, or a score that is NaN.
    """
    if not len(members) or not len(others):
        raise ValueError("no members or no others")
    if np.isnan(members).any() or np.isnan(others).any():
        raise ValueError("a score is NaN")
    rng = np.random.default_rng(seed)
    found = np.empty((RESAMPLES, 1 + len(rates)))
    for row in found:
        # Sorted at once for all that is read off them.
        drawn, others_drawn = rng.choice(members, len(members)), np.sort(rng.choice(others, len(others)))
        row[:] = auc(drawn, others_drawn), *(tpr_at(drawn, others_drawn, rate) for rate in rates)
    points = tuple(
        Operating(rate, _interval(tpr_at(members, others, rate), column), rate * len(others) < LEAST_ABOVE)
        for rate, column in zip(rates, found.T[1:], strict=True)
    )
    return _interval(auc(members, others), found[:, 0]), points


def _interval(value: float, found: np.ndarray) -> Interval:
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(value, float(low), float(high))
