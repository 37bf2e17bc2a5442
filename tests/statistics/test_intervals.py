"""Intervals against scipy, at the ends of the scale, and by counting how often they cover."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.statistics.intervals import (
    bootstrap_mean,
    bootstrap_means,
    bootstrap_ratio,
    clopper_pearson_upper,
    cluster_mean,
    wilson,
)

COUNTS = st.integers(1, 400).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(COUNTS, st.floats(0.5, 0.999))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_wilson_is_scipys_wilson(counts, confidence):
    successes, trials = counts
    ours = wilson(successes, trials, confidence)
    theirs = stats.binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    assert ours.value == successes / trials
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(COUNTS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_wilson_bounds_solve_the_score_equation(counts):
    successes, trials = counts
    interval = wilson(successes, trials)
    z = stats.norm.ppf(0.975)
    for bound in (interval.low, interval.high):
        # |share - p| = z sqrt(p (1 - p) / n), squared.
        squares = (interval.value - bound) ** 2, z * z * bound * (1 - bound) / trials
        assert squares[0] == pytest.approx(squares[1], abs=1e-12)


@pytest.mark.parametrize("trials", [1, 2, 8, 32, 1000])
def test_wilson_touches_the_ends_exactly(trials):
    none, every = wilson(0, trials), wilson(trials, trials)
    z = stats.norm.ppf(0.975)
    assert (none.value, none.low) == (0.0, 0.0)
    assert (every.value, every.high) == (1.0, 1.0)
    # At 0 the equation p^2 = z^2 p (1 - p) / n has the other root z^2 / (n + z^2).
    assert none.high == pytest.approx(z * z / (trials + z * z), rel=1e-12)
    assert every.low == pytest.approx(trials / (trials + z * z), rel=1e-12)


@pytest.mark.parametrize(("successes", "trials"), [(0, 0), (-1, 5), (6, 5)])
def test_wilson_refuses_impossible_counts(successes, trials):
    with pytest.raises(ValueError, match="trials"):
        wilson(successes, trials)


@given(COUNTS, st.floats(0.5, 0.999))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_clopper_pearson_bound_is_scipys(counts, confidence):
    successes, trials = counts
    theirs = stats.binomtest(successes, trials, alternative="less").proportion_ci(confidence, method="exact").high
    assert clopper_pearson_upper(successes, trials, confidence) == pytest.approx(theirs, rel=1e-9)


def test_at_the_clopper_pearson_bound_so_few_successes_are_as_rare_as_stated():
    for successes, trials in ((0, 20), (3, 20), (19, 20), (5, 1000)):
        bound = clopper_pearson_upper(successes, trials)
        assert stats.binom.cdf(successes, trials, bound) == pytest.approx(0.05, rel=1e-6)
    assert clopper_pearson_upper(20, 20) == 1.0


@pytest.mark.parametrize("clusters", [1, 2, 8, 32])
def test_the_cluster_interval_at_the_ends_is_the_exact_one_of_so_many_trials(clusters):
    for value in (0, 1):
        ours = cluster_mean([float(value)] * clusters)
        theirs = stats.binomtest(value * clusters, clusters).proportion_ci(0.95, method="exact")
        assert ours.value == value
        assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30).filter(lambda x: max(x) - min(x) > 1e-6))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_cluster_interval_is_students_within_the_scale(values):
    ours = cluster_mean(values)
    low, high = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert ours.value == pytest.approx(np.mean(values))
    assert (ours.low, ours.high) == pytest.approx((max(0.0, low), min(1.0, high)), abs=1e-9)


def test_one_restart_says_nothing_of_the_mean_rate():
    only = cluster_mean([0.4])
    assert (only.value, only.low, only.high) == (0.4, 0.0, 1.0)


def test_the_cluster_interval_covers_the_mean_rate():
    rng = np.random.default_rng(1)
    runs, clusters, truth = 3000, 8, 5 / 7
    covered = 0
    for rates in rng.beta(5, 2, (runs, clusters)):
        interval = cluster_mean(rates)
        covered += interval.low <= truth <= interval.high
    # The nominal .95 less .01 for the skewness of Beta(5, 2), and 4 standard errors: false alarm 3e-5; fixed seed.
    assert covered / runs >= 0.94 - 4 * math.sqrt(0.95 * 0.05 / runs)
    assert covered / runs <= 0.95 + 4 * math.sqrt(0.95 * 0.05 / runs)


def test_no_clusters_have_no_mean():
    with pytest.raises(ValueError, match="no values"):
        cluster_mean([])
    with pytest.raises(ValueError, match="no values"):
        bootstrap_mean(np.empty(0), seed=0)


def test_a_bootstrap_interval_has_the_spread_of_the_mean():
    values = np.random.default_rng(2).normal(10.0, 2.0, 400)
    interval = bootstrap_mean(values, seed=3, resamples=4000)
    half = 1.96 * values.std() / math.sqrt(400)
    assert interval.value == pytest.approx(values.mean())
    # A percentile from 4000 resamples is off by about 4 % of the half-width; 5 sigma; fixed seeds.
    assert interval.low == pytest.approx(values.mean() - half, abs=0.2 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.2 * half)


def test_a_bootstrap_of_a_ratio_resamples_pairs():
    numerator = np.random.default_rng(4).uniform(1, 5, 50)
    interval = bootstrap_ratio(3 * numerator, numerator, seed=5)
    assert (interval.value, interval.low, interval.high) == pytest.approx((3.0, 3.0, 3.0))


def test_a_bootstrap_is_the_same_for_the_same_seed_only():
    values = np.random.default_rng(6).uniform(size=30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)


@pytest.mark.parametrize("picks", [1 << 22, 100])
@pytest.mark.parametrize("n", [1, 2, 33])
def test_means_of_many_columns_are_those_of_each_alone(n, picks, monkeypatch):
    monkeypatch.setattr("audit_cli.statistics.intervals.PICKS_AT_ONCE", picks)
    values = np.random.default_rng(4).exponential(size=(n, 5)) * [1, 1e-9, 30, -1, 0]
    for column, found in zip(values.T, bootstrap_means(values, 7), strict=True):
        alone = bootstrap_mean(column, 7)
        assert (found.value, found.low, found.high) == pytest.approx(
            (alone.value, alone.low, alone.high), rel=1e-12, abs=1e-25
        )


def test_means_of_nothing_are_refused():
    with pytest.raises(ValueError, match="no values"):
        bootstrap_means(np.zeros((0, 3)), 0)
