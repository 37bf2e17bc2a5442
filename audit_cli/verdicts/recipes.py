"""The deciding scores: one number a text, larger means better known. A run has one, named in its output."""

import math
from dataclasses import dataclass

from audit_cli.records import BasinMeasurement, EntropyMeasurement
from audit_cli.statistics.basin import curve_area

# Levels above this leave nothing of a text: that is generation, and no part of a basin.
HIGHEST_LEVEL = 0.99
# Surprise ranks weakly stored text best and the area adds what can be rebuilt. On models of 128 training lines (100
# members, 100 others) the share of members found at 1 % false positives was .82 for surprise, .61 for the area, .77
# with a weight of 2 or 4, and .50 with a weight of 1 on the area under the recovery rate.
SURPRISE_WEIGHT = 4.0


@dataclass(frozen=True)
class Recipe:
    """A named score. `uses_law` says whether it is only sound under the leave-one-out law."""

    name: str
    uses_law: bool


SURPRISE = Recipe("surprise", uses_law=True)
BASIN_AREA = Recipe("basin-area", uses_law=False)
BASIN_SURPRISE = Recipe("basin-area+surprise", uses_law=True)
# Surprise under a model that has not seen the text minus surprise under the audited one.
SURPRISE_DIFFERENCE = Recipe("surprise-difference", uses_law=True)
# Surprise among copies of the text with a slot redrawn: the exposure of a canary.
TWIN_SURPRISE = Recipe("surprise-among-twins", uses_law=True)


def surprise_score(measured: EntropyMeasurement) -> float:
    """Minus the mean surprise of the clean text, in nats."""
    return -measured.surprise_mean


def basin_area(measured: BasinMeasurement) -> float:
    """Area under the curve of returned restarts over levels."""
    levels = [level for level in measured.levels if level.level <= HIGHEST_LEVEL and level.restarts]
    return curve_area([x.level for x in levels], [x.returned / x.restarts for x in levels]) if levels else 0.0


def basin_surprise_score(measured: BasinMeasurement, vocab_size: int) -> float:
    """`basin_area` minus the mean surprise as SURPRISE_WEIGHT / log V."""
    return basin_area(measured) - SURPRISE_WEIGHT * measured.entropy.surprise_mean / math.log(vocab_size)
