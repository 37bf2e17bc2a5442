"""How many restarts an exact return takes."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.statistics.intervals import wilson
from audit_cli.statistics.recoverability import tries_needed


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.integers(1, 200), st.data(), st.sampled_from([0.5, 0.9, 0.99]))
def test_so_many_are_enough_and_one_fewer_is_not(restarts, data, probability):
    exact = data.draw(st.integers(0, restarts))
    needed, share = tries_needed(exact, restarts, probability), wilson(exact, restarts)
    assert 1 <= needed.low <= needed.value <= needed.high
    for tries, chance in ((needed.value, share.value), (needed.low, share.high), (needed.high, share.low)):
        if chance == 0:
            assert math.isinf(tries)
        else:
            assert 1 - (1 - chance) ** tries >= probability - 1e-9
            assert tries == 1 or 1 - (1 - chance) ** (tries - 1) < probability


def test_where_nothing_came_back_only_the_lower_bound_is_known():
    needed = tries_needed(0, 64, 0.9)
    # Wilson's upper bound of 0 of 64 is z^2 / (64 + z^2) = .05663: log(.1) / log(1 - .05663) = 39.5.
    assert (needed.value, needed.low, needed.high) == (math.inf, 40, math.inf)


@pytest.mark.parametrize(
    ("exact", "probability", "tries"),
    [(8, 0.9, 1), (4, 0.5, 1), (6, 0.75, 1), (4, 0.9, 4), (1, 0.5, 6), (6, 0.9375, 2)],
)
def test_known_numbers_of_eight(exact, probability, tries):
    # 1 - (1/2)^3 = .875 < .9; 1 - (7/8)^5 = .487 < .5 <= 1 - (7/8)^6; 1 - (1/4)^2 = .9375.
    assert tries_needed(exact, 8, probability).value == tries


@pytest.mark.parametrize(("exact", "restarts", "probability"), [(9, 8, 0.5), (-1, 8, 0.5), (0, 0, 0.5), (1, 2, 1.0)])
def test_what_is_no_share_or_no_probability_is_refused(exact, restarts, probability):
    with pytest.raises(ValueError):
        tries_needed(exact, restarts, probability)
