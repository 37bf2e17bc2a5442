"""Scores of membership, one number a text, larger means better known. A run is decided by one of them, its *recipe*,
fixed before anything is measured and named in its output; `uddm-audit evaluate` holds all of them side by side.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from audit_cli.records import BasinMeasurement, Evidence
from audit_cli.statistics.basin import curve_area

# Levels above this leave nothing of a text: that is generation, and no part of a basin.
HIGHEST_LEVEL = 0.99
# Of a text's tokens, the share that Min-K% looks at: the most surprising ones.
MIN_K = 0.2
# Chosen with the exponent of the mean and the cap, on models of Bible verses and of planted secrets: .75 finds .01 more
# of the AUC on verses, and half as many of the secrets planted 16 times.
ENTROPY_SHARE = 0.5
# Below this standard deviation of log p (nats) a token's law is a point, and Min-K%++ divides by nothing smaller.
LEAST_DEVIATION = 1e-3


@dataclass(frozen=True)
class Recipe:
    """A named score of what was measured.

    `uses_law` says whether it is only sound under the leave-one-out law, `of` makes it, `told` explains it in a line;
    with a `floor` texts that the model does not know at all score alike, and their equal scores say so. One that
    `asks_reference` needs a second model.
    """

    name: str
    uses_law: bool = True
    told: str = ""
    floor: bool = False
    asks_reference: bool = False
    of: Callable[[Evidence], float] = field(default=lambda _: math.nan, compare=False, repr=False)


def surprise(seen: Evidence) -> float:
    """Minus the mean surprise of the clean text, in nats."""
    return -seen.entropy.surprise_mean


def excess_surprise(seen: Evidence) -> float:
    """Root mean square surprise of the clean text, less ENTROPY_SHARE of its mean entropy, in nats; negated.

    The square weighs the tokens of which the model knows least, as Min-K% does, up to a cap (`records.SURPRISE_CAP`),
    since two changed letters make no text unknown. The entropy takes off what the model expects of any text of this
    kind. Not all of it: of a stored text both vanish, and so would its lead over
    an unseen one of which the model is rightly uncertain. Texts that the model knows no better than chance, log V, all
    score alike: which of them it finds least strange is no sign of memory.
    """
    excess = seen.entropy.surprise_rms - ENTROPY_SHARE * seen.entropy.entropy_mean
    return -min(excess, math.log(seen.vocab_size))


def min_k(values: tuple[float, ...]) -> float:
    """Mean of the smallest `MIN_K` of the values, of one at least (Min-K%, Shi et al. 2024)."""
    return float(np.sort(values)[: max(1, round(MIN_K * len(values)))].mean())


def standardized(seen: Evidence) -> tuple[float, ...]:
    """(log p - E log p) / sd log p of every token under its own law (Min-K%++, Zhang et al. 2025)."""
    columns = zip(seen.surprises, seen.entropies, seen.deviations, strict=True)
    return tuple((h - s) / max(d, LEAST_DEVIATION) for s, h, d in columns)


def zlib_ratio(seen: Evidence) -> float:
    """Minus the total surprise by the bytes to which zlib compresses the text (Carlini et al. 2021)."""
    return -sum(seen.surprises) / seen.compressed_bytes if seen.compressed_bytes else math.nan


def basin_area(measured: BasinMeasurement) -> float:
    """Area under the curve of returned restarts over levels."""
    levels = [level for level in measured.levels if level.level <= HIGHEST_LEVEL and level.restarts]
    return curve_area([x.level for x in levels], [x.returned / x.restarts for x in levels]) if levels else 0.0


def recovery_area(measured: BasinMeasurement) -> float:
    """Area under the curve of the mean recovery rate over levels."""
    levels = [level for level in measured.levels if level.level <= HIGHEST_LEVEL and level.restarts]
    return curve_area([x.level for x in levels], [_mean(x.recovery_rates) for x in levels]) if levels else 0.0


def returned_share(measured: BasinMeasurement) -> float:
    """Share of all restarts at the deciding level that return."""
    return measured.deciding.returned / measured.deciding.restarts if measured.deciding.restarts else 0.0


def kept_share(measured: BasinMeasurement) -> float:
    """Minus the mean unstable rate over levels."""
    rates = [_mean(x.unstable_rates) for x in measured.levels if x.level <= HIGHEST_LEVEL and x.restarts]
    return -_mean(tuple(rates)) if rates else 0.0


def with_area(weight: float) -> Callable[[Evidence], float]:
    """Basin area plus `weight` times the negated excess surprise, as a share of log V."""
    return lambda seen: basin_area(_basins(seen)) + weight * excess_surprise(seen) / math.log(seen.vocab_size)


def _basins(seen: Evidence) -> BasinMeasurement:
    if seen.basins is None:
        raise ValueError("this score needs basins")
    return seen.basins


def _of_basins(score: Callable[[BasinMeasurement], float]) -> Callable[[Evidence], float]:
    return lambda seen: score(_basins(seen))


def _of_dynamics(name: str, score: Callable[[BasinMeasurement], float]) -> Callable[[Evidence], float]:
    """The score under another dynamics; NaN where that was not run."""
    return lambda seen: next((score(found) for dynamics, found in seen.others if dynamics == name), math.nan)


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


SURPRISE = Recipe("surprise", told="mean surprise of the clean text", of=surprise)
EXCESS = Recipe(
    "excess-surprise",
    told=f"root mean square surprise - {ENTROPY_SHARE:g} entropy",
    floor=True,
    of=excess_surprise,
)
BASIN_AREA = Recipe("basin-area", uses_law=False, told="area under the returned curve", of=_of_basins(basin_area))
# Excess surprise ranks weakly stored text best and the area adds what can be rebuilt.
EXCESS_WEIGHT = 4.0
BASIN_EXCESS = Recipe(
    "basin-area+excess-surprise",
    told=f"area - {EXCESS_WEIGHT:g} excess surprise / log V",
    floor=True,
    of=with_area(EXCESS_WEIGHT),
)
# Surprise under a model that has not seen the text minus surprise under the audited one.
SURPRISE_DIFFERENCE = Recipe(
    "surprise-difference",
    told="surprise under the reference model - surprise",
    asks_reference=True,
    of=lambda seen: _or_nan(seen.reference_surprise) - seen.entropy.surprise_mean,
)
# Surprise among copies of the text with a slot redrawn: the exposure of a canary.
TWIN_SURPRISE = Recipe("surprise-among-twins", told="surprise among its twins", of=surprise)

# A text is screened by its surprise, as a share of log V, and only one that passes is corrupted and restored.
SCREEN = 0.7
# Below every score of a text that passed: areas are at least 0, and surprise is bounded by the screen.
FAILED = -10.0


def _cascade(seen: Evidence) -> float:
    share = seen.entropy.surprise_mean / math.log(seen.vocab_size)
    return FAILED - share if share > SCREEN else BASIN_EXCESS.of(seen)


CASCADE = Recipe("cascade", told=f"the same where surprise < {SCREEN:g} log V", of=_cascade)

# What decides a run: the default of each command first.
OF_ENTROPY = (EXCESS, SURPRISE)
OF_BASINS = (BASIN_EXCESS, BASIN_AREA, EXCESS, SURPRISE, CASCADE)
# What `evaluate` shows, in this order: those of one pass over the clean text, of noise, of basins, of a second model.
ALL = (
    EXCESS,
    SURPRISE,
    Recipe("entropy", told="mean entropy", of=lambda seen: -seen.entropy.entropy_mean),
    Recipe("worst-token", told="largest surprise of a token", of=lambda seen: -seen.entropy.surprise_max),
    Recipe("min-k", told="mean of the most surprising 20 %", of=lambda seen: min_k(tuple(-s for s in seen.surprises))),
    Recipe("min-k++", told="the same, standardized by token", of=lambda seen: min_k(standardized(seen))),
    Recipe("zlib-ratio", told="total surprise / compressed bytes", of=zlib_ratio),
    Recipe("elbo", told="evidence lower bound", of=lambda seen: -_or_nan(seen.nelbo)),
    Recipe("noisy-surprise", told="surprise of all tokens under noise", of=lambda seen: -_or_nan(seen.noisy_surprise)),
    BASIN_EXCESS,
    CASCADE,
    BASIN_AREA,
    Recipe("returned-share", uses_law=False, told="restarts that return", of=_of_basins(returned_share)),
    Recipe("recovery-area", uses_law=False, told="area under the recovery rate", of=_of_basins(recovery_area)),
    Recipe("unstable-rate", uses_law=False, told="untouched tokens that break", of=_of_basins(kept_share)),
    Recipe(
        "ancestral-return",
        uses_law=False,
        told="restarts that return, ancestral dynamics alone",
        of=_of_dynamics("ancestral", returned_share),
    ),
    Recipe("attractor-return", told="the same, attractor alone", of=_of_dynamics("attractor", returned_share)),
    SURPRISE_DIFFERENCE,
    Recipe(
        "noisy-surprise-difference",
        told="the same under noise",
        asks_reference=True,
        of=lambda seen: _or_nan(seen.reference_noisy_surprise) - _or_nan(seen.noisy_surprise),
    ),
    Recipe(
        "votes",
        told="random subsets that surprise the reference more",
        asks_reference=True,
        of=lambda seen: _or_nan(seen.votes),
    ),
)


def named(name: str, among: tuple[Recipe, ...]) -> Recipe:
    """The recipe of that name. Raises ValueError, with those there are."""
    for recipe in among:
        if recipe.name == name:
            return recipe
    raise ValueError(f"unknown recipe {name!r}; known here: {', '.join(recipe.name for recipe in among)}")
