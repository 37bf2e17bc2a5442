"""Conformal p-values, false discovery control, and how many references are enough."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.statistics.conformal import (
    conformal_p,
    count_at_least,
    q_values,
    references_needed,
    rounded,
    simes,
)


def compared(scores, references):
    """p and its upper bound, of scores against references."""
    return conformal_p(count_at_least(scores, references), np.full(len(scores), len(references)))


WHOLE = st.lists(st.integers(-30, 30).map(float), min_size=1, max_size=30)


@given(WHOLE, WHOLE)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_p_counts_the_references_that_score_at_least_as_high(scores, references):
    p, upper = compared(scores, references)
    n = len(references)
    above = [sum(r >= s for r in references) for s in scores]
    assert p.tolist() == [(1 + k) / (n + 1) for k in above]
    exact = [stats.binomtest(k, n, alternative="less").proportion_ci(0.95, method="exact").high for k in above]
    assert upper.tolist() == pytest.approx(exact, rel=1e-9)


def test_a_tie_counts_against_the_finding():
    assert compared([5.0], [1.0, 2.0, 5.0])[0].tolist() == [0.5]
    assert compared([5.0001], [1.0, 2.0, 5.0])[0].tolist() == [0.25]


def test_scores_that_differ_after_six_digits_are_a_tie():
    assert compared([1.0000004], [1.0])[0].tolist() == [1.0]
    assert compared([1.00001], [1.0])[0].tolist() == [0.5]
    assert rounded([-1.23456789, 0.000123456789, 123456789.0]).tolist() == [-1.23457, 0.000123457, 123457000.0]


@pytest.mark.parametrize("transform", [math.exp, lambda x: x**3, lambda x: 7 * x - 2, math.atan])
@given(scores=WHOLE, references=WHOLE)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_p_depends_on_the_order_of_scores_only(transform, scores, references):
    before = compared(scores, references)[0]
    after = compared([transform(x / 8) for x in scores], [transform(x / 8) for x in references])[0]
    assert before.tolist() == after.tolist()


@given(WHOLE, WHOLE, st.floats(0.5, 10))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_higher_score_never_has_a_higher_p(scores, references, more):
    lower = compared(scores, references)[0]
    assert (compared([s + more for s in scores], references)[0] <= lower).all()


@pytest.mark.parametrize("ties", [False, True])
def test_p_is_super_uniform_for_text_like_the_references(ties):
    rng = np.random.default_rng(1)
    runs, references = 4000, 19
    draws = rng.integers(0, 8, (runs, references + 1)) if ties else rng.normal(size=(runs, references + 1))
    p = np.array([compared([row[0]], row[1:])[0][0] for row in draws])
    for k in range(1, 21):
        # P(p <= k/20) <= k/20; 4 standard errors, 20 levels and 2 cases: false alarm below 1e-3; fixed seed.
        allowed = k / 20 + 4 * math.sqrt(k / 20 * (1 - k / 20) / runs)
        assert (p <= k / 20 + 1e-12).mean() <= allowed
        if not ties:  # exchangeable and continuous: uniform on the multiples of 1/20
            assert (p <= k / 20 + 1e-12).mean() >= 2 * k / 20 - allowed


def test_scores_without_references_or_that_are_nan_are_refused():
    with pytest.raises(ValueError, match="no reference"):
        compared([1.0], [])
    for scores, references in (([math.nan], [1.0]), ([1.0], [0.0, math.nan])):
        with pytest.raises(ValueError, match="NaN"):
            compared(scores, references)


def test_infinite_scores_have_a_rank():
    assert compared([math.inf, -math.inf], [0.0, math.inf])[0].tolist() == [2 / 3, 1.0]


def test_simes_of_one_p_is_that_p_and_of_equal_ones_too():
    assert simes(np.array([0.03])) == 0.03
    assert simes(np.array([0.2, 0.2, 0.2])) == pytest.approx(0.2)


@given(st.lists(st.integers(1, 50).map(lambda k: k / 50), min_size=1, max_size=12))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_simes_is_the_smallest_q_value_of_the_parts(p):
    assert simes(np.array(p)) == pytest.approx(min(benjamini_hochberg(p)))
    assert min(p) - 1e-12 <= simes(np.array(p)) <= min(1.0, len(p) * min(p)) + 1e-12


def test_simes_over_windows_that_share_their_references_keeps_its_level():
    """20 windows a document against 199 references, all exchangeable; the worst window alone would be far off."""
    rng = np.random.default_rng(4)
    runs, level = 3000, 0.05
    combined, worst = 0, 0
    for _ in range(runs):
        p = compared(rng.normal(size=20), rng.normal(size=199))[0]
        combined += simes(p) <= level
        worst += p.min() <= level
    # Binomial(3000, .05), 4 standard errors: false alarm 3e-5; fixed seed.
    assert combined / runs <= level + 4 * math.sqrt(level * (1 - level) / runs)
    assert worst / runs > 0.5


def benjamini_hochberg(p):
    """The definition: q_i is the smallest, over all p_j >= p_i, of m p_j / #{p_k <= p_j}."""
    m = len(p)
    return [min(1.0, min(m * pj / sum(pk <= pj for pk in p) for pj in p if pj >= pi)) for pi in p]


@given(st.lists(st.integers(1, 50).map(lambda k: k / 50), min_size=1, max_size=25))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_q_values_are_benjamini_and_hochbergs(p):
    assert q_values(np.array(p)).tolist() == pytest.approx(benjamini_hochberg(p), rel=1e-12)


@given(st.lists(st.floats(1e-4, 1), min_size=1, max_size=25), st.sampled_from([0.01, 0.05, 0.2]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_q_at_most_f_is_what_the_step_up_procedure_rejects(p, fdr):
    ranks = [k for k in range(1, len(p) + 1) if sorted(p)[k - 1] <= k * fdr / len(p) * (1 - 1e-12)]
    rejected = [x <= sorted(p)[max(ranks) - 1] if ranks else False for x in p]
    assert (q_values(np.array(p)) <= fdr * (1 - 1e-12)).tolist() == rejected


def test_no_p_values_have_no_q_values():
    assert q_values(np.empty(0)).shape == (0,)


@pytest.mark.parametrize(
    ("candidates", "findings", "fdr", "needed"),
    [
        (1, 1, 0.05, 19),
        (6, 1, 0.05, 119),
        (10, 1, 0.05, 199),
        (100, 1, 0.05, 1999),
        (1, 1, 0.01, 99),
        (10, 5, 0.05, 39),
    ],
)
def test_so_many_references_are_needed_and_one_fewer_is_too_few(candidates, findings, fdr, needed):
    assert references_needed(candidates, findings, fdr) == needed
    for n, reached in ((needed, True), (needed - 1, False)):
        p = np.ones(candidates)
        p[:findings] = 1 / (n + 1)  # the smallest p that n references allow
        assert (q_values(p)[0] <= fdr + 1e-12) == reached


@given(st.integers(1, 3000), st.integers(1, 20), st.sampled_from([0.01, 0.05, 0.1, 0.5]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_references_needed_let_that_many_findings_through(candidates, findings, fdr):
    n = references_needed(candidates, min(findings, candidates), fdr)
    assert n >= 1
    assert candidates / ((n + 1) * min(findings, candidates)) <= fdr * (1 + 1e-9) or n == 1
