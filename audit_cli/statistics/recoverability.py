"""How many tries an extraction takes: (n, p)-discoverable extraction of Hayes et al., arXiv 2410.19482, 2024."""

import math

from audit_cli.records import Interval
from audit_cli.statistics.intervals import wilson


def tries_needed(exact: int, restarts: int, probability: float, confidence: float = 0.95) -> Interval:
    """The fewest independent restarts of which at least one brings the exact text back with that probability.

    If a restart does so with chance s, that is n = ceil(log(1 - p) / log(1 - s)), taken at the observed share and at
    both ends of its Wilson interval. Where none of the restarts was exact, value and upper bound are infinite: only
    the lower bound is known. Raises ValueError unless 0 <= exact <= restarts, restarts > 0 and 0 < probability < 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, not at {probability}")
    share = wilson(exact, restarts, confidence)
    return Interval(*(_tries(chance, probability) for chance in (share.value, share.high, share.low)))


def _tries(chance: float, probability: float) -> float:
    if chance <= 0:
        return math.inf
    # Rounding must not ask for one restart more where a whole number is due: half of two chances of .5 is one.
    return 1.0 if chance >= probability else float(math.ceil(math.log1p(-probability) / math.log1p(-chance) - 1e-9))
