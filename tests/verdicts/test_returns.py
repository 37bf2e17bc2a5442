"""Does a text return? The boundaries of the rule, and what the two looks amount to."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.records import LevelMeasurement
from audit_cli.verdicts.returns import MORE_RESTARTS, returns


def level(returned, restarts):
    rates = (1.0,) * restarts
    return LevelMeasurement(0.25, 0.25, restarts, 8, returned, returned, rates, rates)


@pytest.mark.parametrize(
    ("returned", "restarts", "verdict"),
    [(8, 8, True), (7, 8, None), (4, 8, None), (1, 8, None), (0, 8, False), (1, 1, None), (0, 1, None)],
)
def test_eight_of_eight_return_and_none_of_eight_do_not(returned, restarts, verdict):
    # z = 2.24 at 97.5 %: 8/8 has a lower bound of 8/(8 + z^2) = .61, and 7/8 one below a half.
    assert returns(level(returned, restarts)) is verdict


@pytest.mark.parametrize(("returned", "verdict"), [(23, True), (22, None), (10, None), (9, False)])
def test_after_thirty_two_restarts_the_rule_is_wilsons_at_975_per_mille(returned, verdict):
    interval = stats.binomtest(returned, 8 + MORE_RESTARTS).proportion_ci(0.975, method="wilson")
    assert (interval.low >= 0.5, interval.high < 0.5) == (verdict is True, verdict is False)
    assert returns(level(returned, 8 + MORE_RESTARTS)) is verdict


def test_without_restarts_it_is_open():
    assert returns(level(0, 0)) is None


@given(st.integers(1, 64).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_the_answer_for_those_that_do_not_return_mirrors_the_answer_for_those_that_do(counts):
    returned, restarts = counts
    mirrored = returns(level(restarts - returned, restarts))
    assert returns(level(returned, restarts)) is (None if mirrored is None else not mirrored)


def test_two_looks_call_a_coin_a_returning_text_rarely():
    """Exactly, over all outcomes of 8 and of 24 more restarts of a text that returns half of the time."""
    wrong = 0.0
    for first in range(9):
        p_first = stats.binom.pmf(first, 8, 0.5)
        early = returns(level(first, 8))
        if early is not None:
            wrong += p_first * early
            continue
        wrong += sum(
            p_first * stats.binom.pmf(more, MORE_RESTARTS, 0.5)
            for more in range(MORE_RESTARTS + 1)
            if returns(level(first + more, 8 + MORE_RESTARTS))
        )
    assert wrong <= 0.025
    assert math.isclose(stats.binom.pmf(range(9), 8, 0.5).sum(), 1.0)
