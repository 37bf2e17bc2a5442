"""Where a gap closes: against curves whose crossing is known, and the coverage of its interval."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.statistics.transition import Gaps, crossing

SIZES = (16, 32, 64, 128, 256)


def exact(gaps, sizes=SIZES):
    """Sizes whose texts all have the same value, so that the gap is exact."""
    return [Gaps(n, (np.full(8, g),), (np.zeros(8),)) for n, g in zip(sizes, gaps, strict=True)]


def test_a_gap_is_interpolated_in_the_logarithm_of_the_size():
    found = crossing(exact([0.8, 0.8, 0.6, 0.2, 0.0]), bound=0.4)
    assert found.size == pytest.approx(np.sqrt(64 * 128))
    assert (found.low, found.high, found.censored) == (pytest.approx(found.size), pytest.approx(found.size), "")


def test_half_is_half_of_the_gap_at_the_smallest_size():
    assert crossing(exact([0.8, 0.6, 0.2, 0.1, 0.0]), bound=None).size == pytest.approx(np.sqrt(32 * 64))


def test_what_lies_beyond_the_sizes_is_not_claimed():
    assert crossing(exact([0.04, 0.03, 0.0, 0.0, 0.0]), bound=0.05).censored == "low"
    assert crossing(exact([0.9, 0.9, 0.9, 0.8, 0.7]), bound=0.05).censored == "high"


def test_a_rise_by_chance_does_not_make_a_second_crossing():
    smooth = crossing(exact([0.8, 0.8, 0.3, 0.3, 0.0]), bound=0.5)
    rough = crossing(exact([0.8, 0.8, 0.2, 0.4, 0.0]), bound=0.5)
    assert rough.size == pytest.approx(smooth.size)


def test_one_size_tells_no_crossing():
    with pytest.raises(ValueError, match="two sizes"):
        crossing(exact([0.5], (16,)), bound=None)


@given(st.permutations(list(zip(SIZES, [0.9, 0.7, 0.4, 0.2, 0.01], strict=True))))
@settings(deadline=None, max_examples=20)
def test_the_order_of_the_sizes_does_not_matter(pairs):
    sizes, gaps = zip(*pairs, strict=True)
    assert crossing(exact(gaps, sizes), 0.05, resamples=2) == crossing(
        exact([0.9, 0.7, 0.4, 0.2, 0.01]), 0.05, resamples=2
    )


def test_the_interval_covers_the_true_crossing():
    """95 % intervals over 200 experiments: fewer than 180 happen to a method that covers once in 900 seeds."""
    truth = [0.8, 0.7, 0.4, 0.1, 0.0]
    expected = crossing(exact(truth), 0.25).size
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        unseen = rng.normal(0, 0.3, 100)
        gaps = [Gaps(n, (rng.normal(g, 0.3, 60),), (unseen,)) for n, g in zip(SIZES, truth, strict=True)]
        found = crossing(gaps, 0.25, resamples=200)
        covered += found.low <= expected <= found.high
    assert covered >= 180
