"""The law of a reverse step: the published posterior, computed exactly and by counting."""

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from uddm_kernels import LinearHead, jump_bound, uniform_step
from uddm_kernels.uniform_step.reference import posterior

LOGITS = LinearHead(None)


def doubles(*values):
    return tuple(torch.tensor(v, dtype=torch.float64) for v in values)


@st.composite
def steps(draw, largest=40):
    """Logits of one row, its token, and alphas 0 <= a < s <= 1, the ends included."""
    vocab = draw(st.integers(2, largest))
    logits = draw(st.lists(st.floats(-30, 30), min_size=vocab, max_size=vocab))
    s = draw(st.one_of(st.just(1.0), st.floats(1e-3, 1.0)))
    a = draw(st.one_of(st.just(0.0), st.floats(0.0, 0.999))) * s
    return torch.tensor([logits], dtype=torch.float64), draw(st.integers(0, vocab - 1)), a, s


def mixture(x, token, a, s, n):
    """The law as the docstring of `uniform_step` has it: jump with (s - a)/(s D), to x with s, else to noise."""
    jump = (s - a) / (s * (a * n * x[token] + 1 - a))
    law = jump * (s * x + (1 - s) / n)
    law[token] += 1 - jump
    return law


@given(steps())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_published_posterior_is_a_mixture_of_staying_a_prediction_and_noise(step):
    logits, token, a, s = step
    x = logits.softmax(dim=1)
    dense = posterior(x, torch.tensor([token]), *doubles([a], [s]))[0].numpy()
    parts = mixture(x[0].numpy().copy(), token, a, s, x.shape[1])
    np.testing.assert_allclose(parts, dense, rtol=0, atol=1e-12)
    assert abs(dense.sum() - 1) <= 1e-12
    assert dense.min() >= -1e-15


@given(steps())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_the_published_posterior_is_bayes_rule_when_the_prediction_is_a_single_token(step):
    """For x a point mass at x0, q(x_s | x_t, x0) is q(x_t | x_s) q(x_s | x0) / q(x_t | x0), all written out here."""
    _, token, a, s = step
    vocab, original = step[0].shape[1], 0
    x = torch.nn.functional.one_hot(torch.tensor([original]), vocab).double()
    between = np.full(vocab, (1 - a / s) / vocab)
    between[token] += a / s
    forward = np.full(vocab, (1 - s) / vocab)
    forward[original] += s
    evidence = (between * forward).sum()
    assume(evidence > 1e-6)  # below, x_t hardly comes from x0, and float64 has too few digits to divide by it
    dense = posterior(x, torch.tensor([token]), *doubles([a], [s]))[0].numpy()
    np.testing.assert_allclose(dense, between * forward / evidence, rtol=0, atol=1e-9)


@given(steps(), st.floats(0, 1, exclude_max=True))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_row_leaves_its_token_exactly_below_its_jump_probability(step, v):
    logits, token, a, s = step
    x = logits.softmax(dim=1)[0]
    vocab = len(x)
    jump = (s - a) / (s * (a * vocab * float(x[token]) + 1 - a))
    # Borders of v: the cumulative prediction in [0, s), equal parts of [s, 1). A draw near one may fall either way.
    borders = np.concatenate([s * np.cumsum(x.numpy()), s + (1 - s) * np.arange(vocab + 1) / vocab])
    assume(np.abs(borders - v).min() > 1e-5)
    from_prediction = int(np.searchsorted(np.cumsum(x.numpy()), v / s, side="right"))
    drawn = from_prediction if v < s else int((v - s) / (1 - s) * vocab)
    for backend in ("reference", "chunked"):
        for u, expected in ((jump * (1 - 1e-5), drawn), (jump * (1 + 1e-5), token)):
            args = (torch.tensor([token]), *doubles([a], [s], [min(u, 1.0)], [v]), torch.arange(vocab))
            assert uniform_step(logits, LOGITS, *args, backend=backend).tolist() == [expected], (backend, u)


ALPHAS = [(0.0, 1.0), (0.0, 0.05), (0.1, 0.3), (0.5, 0.55), (0.3, 0.999), (0.9, 1.0)]
VOCAB, DRAWS, ROWS = 11, 40_000, 3


@pytest.mark.parametrize(("a", "s"), ALPHAS)
@pytest.mark.parametrize("row", range(ROWS))
def test_counted_steps_follow_the_dense_posterior(a, s, row):
    logits = torch.randn(1, VOCAB, generator=torch.Generator().manual_seed(row)) * (row + 0.5)
    token = int(logits.argmax()) if row == 1 else 4
    uniforms = torch.rand(2, DRAWS, generator=torch.Generator().manual_seed(100 + row), dtype=torch.float64)
    alphas = doubles([a] * DRAWS, [s] * DRAWS)
    current = torch.full((DRAWS,), token)
    drawn = uniform_step(logits.expand(DRAWS, VOCAB), LOGITS, current, *alphas, *uniforms, torch.arange(VOCAB))
    law = posterior(logits.double().softmax(dim=1), torch.tensor([token]), *doubles([a], [s]))[0].numpy()
    seen = np.bincount(drawn.numpy(), minlength=VOCAB)
    assert seen.sum() == DRAWS
    # Cells of fewer than 10 expected draws are counted together, as chi-square needs.
    rare = law * DRAWS < 10
    expected = np.append(law[~rare], law[rare].sum()) * DRAWS
    counted = np.append(seen[~rare], seen[rare].sum())
    possible = expected > 1e-6
    assert counted[~possible].sum() == 0
    # Fixed seeds; false-alarm rate 1e-4 over all cases together.
    p_value = stats.chisquare(counted[possible], expected[possible] / expected.sum() * DRAWS).pvalue
    assert p_value >= 1e-4 / (len(ALPHAS) * ROWS)


@given(st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_jump_bound_is_the_jump_probability_of_a_token_that_is_not_predicted_at_all(a, s):
    if not a < s:
        with pytest.raises(ValueError, match="alpha_t < alpha_s"):
            jump_bound(*doubles(a, s))
        return
    bound = float(jump_bound(*doubles(a, s)))
    assert bound == pytest.approx((1 - a / s) / (1 - a), rel=1e-6, abs=1e-9)
    assert 0.0 < bound <= 1.0


def test_without_signal_every_row_may_jump():
    assert jump_bound(*doubles([0.0, 0.0], [0.5, 1.0])).tolist() == [1.0, 1.0]
