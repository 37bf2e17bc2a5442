"""Basins from curves that can be followed by hand, and what holds for any curve."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.statistics.basin import basin, curve_area

LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75)


@pytest.mark.parametrize(
    ("levels", "returned", "restarts", "size", "censored"),
    [
        # 1 at .5, 0 at .75: half way between them.
        ((0.25, 0.5, 0.75), (8, 8, 0), (8, 8, 8), 0.625, ""),
        # 6/8 at .5, 2/8 at .75: again half way.
        ((0.25, 0.5, 0.75), (8, 6, 2), (8, 8, 8), 0.625, ""),
        # 7/8 at .2, 3/8 at .4: three quarters of the way down from .875 to .375 is a half.
        ((0.2, 0.4), (7, 3), (8, 8), 0.2 + 0.75 * 0.2, ""),
        # Exactly a half still returns; it falls below from there on.
        ((0.25, 0.5), (4, 0), (8, 8), 0.25, ""),
        # 2/8 and 6/8 are out of order: pooled to 8/16, a half, up to .6.
        ((0.2, 0.4, 0.6, 0.8), (8, 2, 6, 0), (8, 8, 8, 8), 0.6, ""),
        # With 24 restarts at the second, 2/8 and 18/24 pool to 20/32 = .625; then down to 0 at .8: .125/.625 of it.
        ((0.2, 0.4, 0.6, 0.8), (8, 2, 18, 0), (8, 8, 24, 8), 0.6 + 0.2 * 0.125 / 0.625, ""),
        # Nothing returns: from 1 at level 0 to 0 at .05, censored below.
        (LEVELS, (0, 0, 0, 0, 0), (8,) * 5, 0.025, "low"),
        # 2/8 at .05: from 1 down to .25, two thirds of the way.
        (LEVELS, (2, 0, 0, 0, 0), (8,) * 5, 0.05 * 2 / 3, "low"),
        # Everything returns: as far as was looked.
        (LEVELS, (8, 8, 8, 8, 8), (8,) * 5, 0.75, "high"),
        (LEVELS, (8, 8, 8, 8, 4), (8,) * 5, 0.75, "high"),
        ((0.25,), (8,), (8,), 0.25, "high"),
        ((0.25,), (0,), (8,), 0.125, "low"),
    ],
)
def test_the_basin_ends_where_the_monotone_curve_crosses_a_half(levels, returned, restarts, size, censored):
    found = basin(levels, returned, restarts)
    assert found.size == pytest.approx(size, abs=1e-12)
    assert found.censored == censored


def test_the_interval_lies_between_the_levels_where_wilson_is_sure():
    # By Wilson at 95 %: 8/8 has a lower bound of .676 and 0/8 an upper one of .324; 6/8 and 2/8 span a half.
    assert stats.binomtest(6, 8).proportion_ci(method="wilson").low < 0.5
    found = basin(LEVELS, (8, 8, 6, 2, 0), (8,) * 5)
    assert (found.low, found.high) == (0.1, 0.75)
    assert found.size == pytest.approx(0.375)


def test_where_no_level_is_sure_the_interval_is_everything():
    found = basin(LEVELS, (5, 5, 4, 3, 3), (8,) * 5)
    assert (found.low, found.high) == (0.0, 1.0)


def test_a_censored_basin_is_open_on_that_side():
    everything, nothing = basin(LEVELS, (8,) * 5, (8,) * 5), basin(LEVELS, (0,) * 5, (8,) * 5)
    assert (everything.low, everything.high) == (0.75, 1.0)
    assert (nothing.low, nothing.high) == (0.0, 0.05)


CURVES = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.integers(1, 99), min_size=n, max_size=n, unique=True).map(lambda x: [i / 100 for i in sorted(x)]),
        st.lists(st.integers(0, 8), min_size=n, max_size=n),
        st.lists(st.sampled_from([8, 32]), min_size=n, max_size=n),
    )
)


@given(CURVES)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_interval_of_any_curve_is_the_defined_one_widened_to_the_basin(curve):
    levels, returned, restarts = curve
    found = basin(levels, returned, restarts)
    bounds = [stats.binomtest(r, n).proportion_ci(method="wilson") for r, n in zip(returned, restarts, strict=True)]
    sure = [level for level, b in zip(levels, bounds, strict=True) if b.low >= 0.5]
    lost = [level for level, b in zip(levels, bounds, strict=True) if b.high <= 0.5]
    assert found.low == min(max(sure, default=0.0), found.size)
    assert found.high == max(min(lost, default=1.0), found.size)
    assert 0.0 <= found.low <= found.size <= found.high <= 1.0
    assert found.size <= levels[-1]


@given(CURVES, st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_one_more_return_never_makes_a_basin_smaller(curve, data):
    levels, returned, restarts = curve
    where = data.draw(st.integers(0, len(levels) - 1))
    more = [min(n, r + (i == where)) for i, (r, n) in enumerate(zip(returned, restarts, strict=True))]
    assert basin(levels, more, restarts).size >= basin(levels, returned, restarts).size - 1e-12


@given(CURVES)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_basin_of_a_falling_curve_is_its_plain_interpolation(curve):
    levels, returned, _ = curve
    falling = sorted(returned, reverse=True)
    found = basin(levels, falling, [8] * len(levels))
    x, y = [0.0, *levels], [1.0, *(r / 8 for r in falling)]
    grid = np.linspace(0, levels[-1], 100_001)
    largest = grid[np.interp(grid, x, y) >= 0.5 - 1e-12].max()
    assert found.size == pytest.approx(largest, abs=2e-5)


def test_a_basin_needs_a_level():
    with pytest.raises(ValueError, match="at least one level"):
        basin((), (), ())


def test_the_area_under_a_curve_is_its_mean_over_the_levels():
    # Trapezoids: .25 wide at mean 1, .5 wide at mean .5, over a span of .75.
    assert curve_area((0.0, 0.25, 0.75), (1.0, 1.0, 0.0)) == pytest.approx((0.25 * 1 + 0.5 * 0.5) / 0.75)
    assert curve_area((0.3,), (0.625,)) == 0.625
    assert curve_area(LEVELS, (1.0,) * 5) == pytest.approx(1.0)


def test_a_basin_carries_the_area_of_the_curve_as_it_was_measured():
    # Not of the monotone fit: .25 to .5 at mean (.25 + .75)/2, and down from .75 to 0 at .75.
    assert basin((0.25, 0.5, 0.75), (2, 6, 0), (8, 8, 8)).curve_area == pytest.approx((0.5 + 0.375) / 2)
