"""The deciding scores: one number a text, larger means better known. A run has one, named in its output."""

import math
from dataclasses import dataclass

from audit_cli.records import BasinMeasurement, EntropyMeasurement
from audit_cli.statistics.basin import curve_area

# Levels above this leave nothing of a text: that is generation, and no part of a basin.
HIGHEST_LEVEL = 0.99


@dataclass(frozen=True)
class Recipe:
    """A named score. `uses_law` says whether it is only sound under the leave-one-out law."""

    name: str
    uses_law: bool


SURPRISE = Recipe("surprise", uses_law=True)
BASIN_SURPRISE = Recipe("basin-area+surprise", uses_law=True)


def surprise_score(measured: EntropyMeasurement) -> float:
    """Minus the mean surprise of the clean text, in nats."""
    return -measured.surprise_mean


def basin_surprise_score(measured: BasinMeasurement, vocab_size: int) -> float:
    """Area under the recovery curve minus the mean surprise in units of log V; between about -1 and 1.

    The recovery rate is averaged over restarts at each level: finer than the share of restarts that return, so that
    text which partly returns is ranked too.
    """
    levels = [level for level in measured.levels if level.level <= HIGHEST_LEVEL and level.restarts]
    area = (
        curve_area([x.level for x in levels], [sum(x.recovery_rates) / x.restarts for x in levels]) if levels else 0.0
    )
    return area - measured.entropy.surprise_mean / math.log(vocab_size)
