"""The forward process: the two implementations, nested levels, positions that may not change, how much changes."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from uddm_kernels import corrupt

UNIFORM = st.floats(0, 1, exclude_max=True)


def numbers(shape, seed):
    g = torch.Generator().manual_seed(seed)
    return torch.rand(2, *shape, generator=g, dtype=torch.float64)


def full(shape, level):
    return torch.full(shape, level, dtype=torch.float64)


@given(st.lists(st.tuples(st.floats(0, 1), UNIFORM, UNIFORM, st.booleans()), min_size=1, max_size=8), st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_torch_and_the_position_by_position_reference_agree(rows, data):
    level, u, v = (torch.tensor(column, dtype=torch.float64) for column in list(zip(*rows, strict=True))[:3])
    free = torch.tensor([row[3] for row in rows])
    noise = torch.tensor(data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=6, unique=True)))
    tokens = torch.full((len(rows),), 99)
    fast, exact = (corrupt(tokens, level, u, v, noise, free, b) for b in ("chunked", "reference"))
    assert torch.equal(fast, exact)
    redrawn = [bool(f) and x < share for f, x, share in zip(free, u.tolist(), level.tolist(), strict=True)]
    assert (fast != 99).tolist() == redrawn


@pytest.mark.parametrize("backend", ["chunked", "reference"])
def test_a_higher_level_corrupts_a_superset_with_the_same_tokens(backend):
    tokens, noise = torch.full((6, 50), 9), torch.arange(5)
    u, v = numbers(tokens.shape, 1)
    levels = [0.0, 0.05, 0.25, 0.5, 0.9, 1.0]
    corrupted = [corrupt(tokens, full(tokens.shape, x), u, v, noise, backend=backend) for x in levels]
    for lower, higher in itertools.pairwise(corrupted):
        assert torch.equal(higher[lower != 9], lower[lower != 9])
        assert int((higher != 9).sum()) > int((lower != 9).sum())
    assert torch.equal(corrupted[0], tokens)
    assert bool((corrupted[-1] != 9).all())


@pytest.mark.parametrize("backend", ["chunked", "reference"])
def test_positions_that_are_not_free_never_change(backend):
    tokens = torch.full((20, 30), 9)
    free = torch.rand(20, 30, generator=torch.Generator().manual_seed(2)) < 0.5
    out = corrupt(tokens, full((20, 30), 1.0), *numbers((20, 30), 3), torch.arange(5), free, backend)
    assert torch.equal(out != 9, free)


def test_a_redrawn_token_may_be_the_same_again():
    out = corrupt(torch.zeros(1000).long(), full((1000,), 1.0), *numbers((1000,), 4), torch.arange(2))
    # Binomial(1000, 1/2) leaves [400, 600] once in 3 billion; fixed seed.
    assert 400 < int((out == 0).sum()) < 600


@pytest.mark.parametrize("level", [0.05, 0.25, 0.75])
def test_the_share_of_redrawn_tokens_is_the_level_and_they_are_uniform(level):
    count, noise = 50_000, torch.tensor([2, 3, 5, 7, 11])
    out = corrupt(torch.zeros(count).long(), full((count,), level), *numbers((count,), 5), noise)
    changed = int((out != 0).sum())
    # Exact binomial and chi-square tests; false-alarm rate 1e-5 each, six in all; fixed seed.
    assert stats.binomtest(changed, count, level).pvalue > 1e-5
    assert stats.chisquare(np.bincount(out.numpy(), minlength=12)[noise.numpy()]).pvalue > 1e-5
    assert set(out.tolist()) == {0, *noise.tolist()}


def test_the_last_number_below_one_draws_the_last_noise_token():
    last = torch.tensor([1 - 2.0**-53], dtype=torch.float64)
    for n in (1, 3, 27, 50257):
        for backend in ("chunked", "reference"):
            zero = torch.zeros(1, dtype=torch.float64)
            out = corrupt(torch.tensor([n]), zero + 1, zero, last, torch.arange(n), backend=backend)
            assert out.tolist() == [n - 1]


@pytest.mark.parametrize("noise", [torch.empty(0, dtype=torch.int64), torch.zeros(2, 2, dtype=torch.int64)])
def test_noise_without_tokens_is_refused(noise):
    with pytest.raises(ValueError, match="noise_tokens"):
        corrupt(torch.zeros(3).long(), full((3,), 0.5), *numbers((3,), 6), noise)


def test_the_callers_tokens_are_left_alone():
    tokens = torch.zeros(30).long()
    for backend in ("chunked", "reference"):
        corrupt(tokens, full((30,), 1.0), *numbers((30,), 7), torch.arange(1, 5), backend=backend)
        assert bool((tokens == 0).all())
