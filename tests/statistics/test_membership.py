"""AUC, true positives at few false ones, and their bootstrap intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu, norm

from audit_cli.statistics import membership
from audit_cli.statistics.membership import auc, evaluated, roc, tpr_at

# Few values, so that ties are common.
SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0, 3.25]), min_size=1, max_size=30).map(np.array)


@given(SCORES, SCORES)
def test_the_auc_is_that_of_mann_and_whitney(members, others):
    u = mannwhitneyu(members, others).statistic
    assert auc(members, others) == pytest.approx(u / len(members) / len(others))


@given(SCORES, SCORES, st.sampled_from([0.0, 0.001, 0.1, 0.5, 1.0]))
def test_members_are_counted_above_a_threshold_that_few_enough_others_exceed(members, others, fpr):
    thresholds = [-np.inf, *others]
    allowed = [t for t in thresholds if (others > t).sum() <= np.floor(fpr * len(others) + 1e-9)]
    assert tpr_at(members, others, fpr) == (members > min(allowed)).mean()


@given(SCORES, SCORES)
def test_the_area_under_the_curve_is_the_auc(members, others):
    false, true = roc(members, others)
    assert false[0] == true[0] == 0.0
    assert false[-1] == true[-1] == 1.0
    assert (np.diff(false) >= 0).all()
    assert (np.diff(true) >= 0).all()
    assert np.trapezoid(true, false) == pytest.approx(auc(members, others))


def test_separated_scores_are_told_apart_at_every_rate():
    area, points = evaluated(np.arange(50.0) + 100, np.arange(20.0), (0.1, 0.01), seed=0)
    assert (area.value, area.low, area.high) == (1.0, 1.0, 1.0)
    assert [(p.tpr.value, p.tpr.low, p.too_few) for p in points] == [(1.0, 1.0, True), (1.0, 1.0, True)]


def test_a_rate_says_that_too_few_others_decide_it():
    rng = np.random.default_rng(0)
    _, points = evaluated(rng.normal(size=30), rng.normal(size=1000), (0.1, 0.01, 0.001), seed=0)
    assert [p.too_few for p in points] == [False, False, True]


@pytest.mark.parametrize(
    ("members", "others", "message"),
    [([], [1.0], "no members"), ([1.0], [], "no members"), ([np.nan], [1.0], "NaN"), ([1.0], [np.nan, 0.0], "NaN")],
)
def test_what_cannot_be_evaluated_is_refused(members, others, message):
    with pytest.raises(ValueError, match=message):
        evaluated(np.array(members), np.array(others), (0.1,), seed=0)


def test_the_interval_of_the_auc_covers_it(monkeypatch):
    """Of 200 intervals at 95 % fewer than 178 covering has a probability of 1 in 3,000 if each covers with .95."""
    monkeypatch.setattr(membership, "RESAMPLES", 200)
    rng = np.random.default_rng(1)
    truth = norm.cdf(1 / np.sqrt(2))
    covered = 0
    for seed in range(200):
        area, _ = evaluated(rng.normal(1, 1, 60), rng.normal(0, 1, 80), (), seed)
        covered += area.low <= truth <= area.high
    assert covered >= 178


def test_the_interval_of_the_rate_covers_it(monkeypatch):
    """The true rate at 10 % is that of members above the 90th percentile of the others; 300 others leave the
    threshold to chance, which an interval over the members alone would not cover."""
    monkeypatch.setattr(membership, "RESAMPLES", 200)
    rng = np.random.default_rng(2)
    truth = 1 - norm.cdf(norm.ppf(0.9) - 1.5)
    covered = 0
    for seed in range(200):
        _, (point,) = evaluated(rng.normal(1.5, 1, 1000), rng.normal(0, 1, 300), (0.1,), seed)
        covered += point.tpr.low <= truth <= point.tpr.high
    assert covered >= 178
