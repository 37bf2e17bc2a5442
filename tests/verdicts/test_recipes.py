"""Scores of membership: what each is made of, and that all agree in direction."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_cli.records import Evidence
from audit_cli.verdicts import recipes
from audit_cli.verdicts.recipes import ALL, CASCADE, EXCESS, OF_BASINS, OF_ENTROPY, SCREEN, SURPRISE, named
from tests.reports.made import BASIN, ENTROPY, level

NATS = st.floats(0, 12, allow_nan=False)


def seen(surprises=(0.5, 2.0), entropies=(1.0, 1.0), basins=BASIN, vocab=27, **more):
    s, h = np.array(surprises), np.array(entropies)
    entropy = replace(
        ENTROPY,
        surprise_mean=float(s.mean()),
        surprise_max=float(s.max()),
        surprise_rms=float(np.sqrt((s**2).mean())),
        entropy_mean=float(h.mean()),
    )
    more = {"deviations": (1.0,) * len(s), "compressed_bytes": 10} | more
    return Evidence(vocab, entropy, basins, (), tuple(surprises), tuple(entropies), **more)


def test_excess_surprise_is_the_root_mean_square_less_most_of_the_entropy():
    # sqrt((.25 + 4) / 2) = 1.4577 and half of 1.
    assert EXCESS.of(seen()) == pytest.approx(-(1.4577 - 0.5), abs=1e-4)


def test_what_is_known_no_better_than_chance_scores_alike():
    strange, stranger = seen((6.0, 6.0)), seen((11.0, 9.0))
    assert EXCESS.of(strange) == EXCESS.of(stranger) == -math.log(27)
    assert EXCESS.of(seen((1.0, 1.0))) > EXCESS.of(strange)


@given(st.lists(NATS, min_size=1, max_size=40))
def test_a_stored_text_leads_a_rightly_uncertain_one(surprises):
    """Where the model knows exactly how uncertain it is, surprise and entropy agree; a stored text still scores
    higher, since not all of the entropy is taken off."""
    uncertain = seen(tuple(surprises), tuple(surprises))
    stored = seen((0.0,) * len(surprises), (0.0,) * len(surprises))
    # Squares of tiny numbers vanish.
    assert EXCESS.of(stored) >= EXCESS.of(uncertain) - 1e-12
    assert EXCESS.of(stored) == 0.0


def test_min_k_takes_the_most_surprising_fifth():
    ten = tuple(float(i) for i in range(10))
    assert named("min-k", ALL).of(seen(ten, ten)) == pytest.approx(-8.5)
    # (H - s) / sd with H = 1: the smallest two of 1 - s.
    assert named("min-k++", ALL).of(seen(ten, (1.0,) * 10, deviations=(0.5,) * 10)) == pytest.approx(-15.0)


def test_zlib_divides_the_total_surprise():
    assert named("zlib-ratio", ALL).of(seen(compressed_bytes=5)) == pytest.approx(-0.5)
    assert math.isnan(named("zlib-ratio", ALL).of(seen(compressed_bytes=0)))


def test_a_difference_is_by_how_much_less_the_text_surprises_the_audited_model():
    assert named("surprise-difference", ALL).of(seen(reference_surprise=3.0)) == pytest.approx(3.0 - 1.25)
    assert math.isnan(named("surprise-difference", ALL).of(seen()))


def test_the_cascade_puts_what_fails_its_screen_below_all_that_passes():
    limit = SCREEN * math.log(27)
    none = replace(BASIN, levels=(level(0.25, 0.25, 1, 0),), deciding=level(0.25, 0.25, 1, 0))
    passed = seen((limit - 0.01, limit - 0.01), basins=none)
    failed, worse = seen((limit + 0.01,) * 2, basins=none), seen((limit + 5,) * 2, basins=none)
    assert CASCADE.of(passed) > CASCADE.of(failed) > CASCADE.of(worse)


@given(st.lists(NATS, min_size=1, max_size=30), st.lists(NATS, min_size=1, max_size=30))
def test_every_score_of_the_clean_text_is_a_number(surprises, entropies):
    n = min(len(surprises), len(entropies))
    evidence = seen(tuple(surprises[:n]), tuple(entropies[:n]), deviations=(0.0,) * n)
    for recipe in (*OF_ENTROPY, *OF_BASINS, named("min-k", ALL), named("min-k++", ALL), named("zlib-ratio", ALL)):
        assert math.isfinite(recipe.of(evidence)), recipe.name


def test_more_restarts_that_return_score_higher():
    low, high = (replace(BASIN, levels=(level(0.1, 0.1, 8, n), level(0.25, 0.25, 8, n))) for n in (1, 7))
    for recipe in (recipes.BASIN_EXCESS, recipes.BASIN_AREA):
        assert recipe.of(seen(basins=high)) > recipe.of(seen(basins=low))


def test_names_are_unique_and_an_unknown_one_is_told_with_the_others():
    names = [recipe.name for recipe in ALL]
    assert len(set(names)) == len(names)
    with pytest.raises(ValueError, match=r"surprize.*excess-surprise, surprise"):
        named("surprize", OF_ENTROPY)
    assert named("surprise", OF_ENTROPY) is SURPRISE


def test_a_score_of_basins_needs_them():
    with pytest.raises(ValueError, match="needs basins"):
        recipes.BASIN_AREA.of(seen(basins=None))
