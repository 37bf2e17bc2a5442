"""The rank test of a track, against enumeration and scipy, and the error of all its looks together."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, rankdata

from audit_cli.statistics import looks
from audit_cli.statistics.looks import Sample, allowed, gap, smaller_p


def sample(text, held, text_group=None, held_group=None):
    text, held = np.asarray(text, dtype=np.float64), np.asarray(held, dtype=np.float64)
    return Sample(
        text,
        np.zeros(len(text), dtype=np.int64) if text_group is None else np.asarray(text_group),
        held,
        np.zeros(len(held), dtype=np.int64) if held_group is None else np.asarray(held_group),
    )


def enumerated(text, held):
    """The share of all ways to choose as many members whose mean ranks sum to no more."""
    ranks = rankdata([*text, *held])
    sums = [sum(some) for some in combinations(ranks, len(text))]
    return sum(each <= ranks[: len(text)].sum() + 1e-9 for each in sums) / len(sums)


few = st.lists(st.integers(0, 5), min_size=1, max_size=5)


@given(few, few)
def test_with_ties_it_is_the_share_of_all_relabellings(text, held):
    assert smaller_p(sample(text, held)) == pytest.approx(enumerated(text, held), rel=1e-9)


@given(st.integers(1, 12), st.integers(1, 40), st.integers(0, 1000))
def test_without_ties_it_is_scipys_exact_test(m, n, seed):
    rng = np.random.default_rng(seed)
    text, held = rng.normal(-0.5, 1, m), rng.normal(0, 1, n)
    known = mannwhitneyu(text, held, alternative="less", method="exact").pvalue
    assert smaller_p(sample(text, held)) == pytest.approx(known, rel=1e-6)


def test_a_single_text_has_its_rank_among_the_held_out_ones():
    held = list(range(1, 100))
    assert smaller_p(sample([0.5], held)) == pytest.approx(1 / 100)
    # A tie counts against the finding: half a rank more.
    assert smaller_p(sample([3], held)) == pytest.approx(4 / 100)


@given(few, few, few, few)
@settings(max_examples=50)
def test_groups_are_permuted_within_themselves(a, b, c, d):
    """All relabellings of both groups, with weights in the ratio that van Elteren's have, to half of the smaller."""
    sizes = len(a) + len(b), len(c) + len(d)
    weights = [round(2 * (max(sizes) + 1) / (size + 1)) for size in sizes]
    ranks = [rankdata([*a, *b]), rankdata([*c, *d])]
    sums = [[sum(some) for some in combinations(r, k)] for r, k in zip(ranks, (len(a), len(c)), strict=True)]
    observed = weights[0] * ranks[0][: len(a)].sum() + weights[1] * ranks[1][: len(c)].sum()
    every = [weights[0] * one + weights[1] * other for one in sums[0] for other in sums[1]]
    expected = sum(each <= observed + 1e-9 for each in every) / len(every)
    both = sample([*a, *c], [*b, *d], [7] * len(a) + [2] * len(c), [7] * len(b) + [2] * len(d))
    assert smaller_p(both) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("shift", [0.4, 0.6, 1.0, 1.5])
def test_where_there_are_many_it_is_normal_and_on_the_safe_side(shift, monkeypatch):
    rng = np.random.default_rng(3)
    both = sample(rng.normal(-shift, 1, 20), rng.normal(0, 1, 60))
    exact = smaller_p(both)
    monkeypatch.setattr(looks, "EXACT_ADDITIONS", 0)
    normal = smaller_p(both)
    assert exact < 0.04
    assert exact < normal < max(2 * exact, exact + 1e-3)


def test_a_large_sample_takes_no_time():
    rng = np.random.default_rng(0)
    text, held = rng.normal(-0.2, 1, 512), rng.normal(0, 1, 512)
    known = mannwhitneyu(text, held, alternative="less", method="asymptotic").pvalue
    assert smaller_p(sample(text, held)) == pytest.approx(known, rel=1e-6)


def test_texts_that_are_all_alike_say_nothing():
    assert smaller_p(sample([1, 1], [1, 1, 1])) == 1.0
    assert smaller_p(sample([1] * 600, [1] * 600)) == 1.0


def test_rounding_of_another_machine_changes_nothing():
    assert smaller_p(sample([1 + 1e-12], [1.0, 2.0])) == smaller_p(sample([1.0], [1.0, 2.0]))


def test_values_that_cannot_be_compared_are_refused():
    cases = ([], [1.0], [0]), ([math.nan], [1.0], [0]), ([1.0], [math.inf], [0]), ([1.0], [1.0], [5])
    for text, held, groups in cases:
        with pytest.raises(ValueError):
            sample(text, held, None, groups)


def test_all_looks_together_spend_alpha():
    assert math.fsum(allowed(0.05, k, 7) for k in range(1, 8)) == pytest.approx(0.05)
    spent = math.fsum(allowed(0.05, k, None) for k in range(1, 200_001))
    # What is left for the looks after these is 6 alpha / pi^2 times about 1 / 200,000.
    assert spent == pytest.approx(0.05 - 0.05 * 6 / math.pi**2 / 200_000, rel=1e-9)
    assert allowed(0.05, 1, None) == pytest.approx(0.0304, abs=1e-4)
    for look, planned in ((0, None), (0, 3), (4, 3)):
        with pytest.raises(ValueError):
            allowed(0.05, look, planned)


def any_significant(rng, alpha, planned):
    """Whether a training that learns nothing is called out at one of ten looks: scores of texts that drift from look to
    look, the texts of all kinds alike."""
    level = rng.normal(0, 1, 120)
    groups = np.repeat([0, 1], [10, 10]), np.repeat([0, 1], [60, 40])
    for k in range(1, 11):
        level = 0.8 * level + rng.normal(0, 0.6, 120)
        p = smaller_p(sample(level[:20], level[20:], *groups))
        if p <= allowed(alpha, k, planned):
            return True
    return False


@pytest.mark.parametrize("planned", [10, None])
def test_a_training_that_learns_nothing_is_called_out_with_at_most_alpha(planned, monkeypatch):
    """Of 1,000 trainings at most alpha plus three standard errors of that; this test itself would fail in about one of
    740 seeds if the chance were exactly alpha, and it is below."""
    # Quick, and by the test above on the safe side.
    monkeypatch.setattr(looks, "EXACT_ADDITIONS", 0)
    rng, alpha, trainings = np.random.default_rng(1), 0.1, 1000
    called = sum(any_significant(rng, alpha, planned) for _ in range(trainings))
    assert called / trainings <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / trainings)
    # And the looks are not for nothing: without a correction far more would be.
    assert called / trainings > alpha / 10


def test_without_a_correction_it_would_be_called_out_far_more_often(monkeypatch):
    monkeypatch.setattr(looks, "EXACT_ADDITIONS", 0)
    monkeypatch.setitem(globals(), "allowed", lambda alpha, look, planned: alpha)
    rng = np.random.default_rng(1)
    assert sum(any_significant(rng, 0.1, None) for _ in range(300)) / 300 > 0.2


def test_one_look_rejects_a_true_hypothesis_in_its_share():
    """Exact p of ten texts and ten held-out ones: P(p <= .05) is at most .05, and at least .03 by its steps."""
    rng = np.random.default_rng(2)
    p = np.array([smaller_p(sample(rng.normal(size=10), rng.normal(size=10))) for _ in range(3000)])
    assert 0.03 < (p <= 0.05).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 3000)


class TestGap:
    def test_each_text_is_held_against_its_own_group(self):
        found = gap(sample([1.0, 2.0, 4.0], [3.0, 5.0, 10.0, 20.0], [0, 0, 1], [0, 0, 1, 1]), 0)
        assert found.text == pytest.approx(7 / 3)
        # Two texts against the mean 4, one against 15.
        assert found.held == pytest.approx((4 + 4 + 15) / 3)
        assert found.difference.value == pytest.approx(23 / 3 - 7 / 3)

    def test_its_interval_covers_the_difference_of_the_means(self):
        rng = np.random.default_rng(0)
        covered = 0
        for seed in range(200):
            both = sample(rng.normal(0, 1, 40), rng.normal(0.7, 2, 100))
            interval = gap(both, seed).difference
            covered += interval.low <= 0.7 <= interval.high
        # 95 % of 200, give or take three standard errors of 3.1, and a bootstrap's usual point too few.
        assert 178 <= covered <= 199

    def test_values_without_spread_have_an_interval_without_width(self):
        found = gap(sample([1.0, 1.0], [3.0, 3.0]), 0).difference
        assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
