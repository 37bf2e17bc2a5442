"""The two-level draw against a float64 cumulative sum over the whole row."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels.uniform_step import chunked
from uddm_kernels.uniform_step.chunked import TILE, inverse_cdf

BELOW_ONE = 1 - 2.0**-53


def whole_row_draw(x, share):
    cumulative = np.cumsum(x.double().numpy(), axis=1)
    return [int(np.searchsorted(c, w * c[-1], side="right")) for c, w in zip(cumulative, share.tolist(), strict=True)]


def border_distance(x, share):
    cumulative = x.double().cumsum(dim=1)
    return (cumulative / cumulative[:, -1:] - share[:, None]).abs().min(dim=1).values


@pytest.mark.parametrize("vocab", [1, 2, TILE - 1, TILE, TILE + 1, 2 * TILE, 5003])
@pytest.mark.parametrize("sharpness", [0.1, 8.0])
def test_the_two_level_draw_is_the_float64_draw(vocab, sharpness):
    g = torch.Generator().manual_seed(vocab)
    x = (torch.randn(200, vocab, generator=g) * sharpness).softmax(dim=1)
    share = torch.rand(200, generator=g, dtype=torch.float64)
    share[:2] = torch.tensor([0.0, BELOW_ONE])
    different = inverse_cdf(x, share) != torch.tensor(whole_row_draw(x, share))
    # Tiles are summed in float32: only a goal within 1e-6 of a border may fall to the other side of it.
    assert bool((border_distance(x, share)[different] < 1e-6).all())
    assert int(different.sum()) <= 4


def test_rows_may_be_picked():
    x = torch.rand(20, 3 * TILE + 7, generator=torch.Generator().manual_seed(0))
    rows, share = torch.tensor([3, 17, 5, 3]), torch.tensor([0.2, 0.999, 0.5, 0.7], dtype=torch.float64)
    assert torch.equal(inverse_cdf(x, share, rows), inverse_cdf(x[rows], share))


MASSES = st.lists(st.sampled_from([0, 0, 0, 1, 2, 5]), min_size=1, max_size=30).filter(any)


@given(MASSES, st.lists(st.integers(0, 999), min_size=1, max_size=8), st.sampled_from([1, 2, 4, 8]))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_whole_number_masses_are_drawn_exactly_and_zero_masses_never(masses, goals, tile):
    total = sum(masses)
    # Goals in the middle of a unit of mass: every sum is exact, so is the token.
    units = [goal % total for goal in goals]
    x = torch.tensor([masses] * len(units), dtype=torch.float32)
    share = torch.tensor([(unit + 0.5) / total for unit in units], dtype=torch.float64)
    owner = [token for token, mass in enumerate(masses) for _ in range(mass)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "TILE", tile)
        assert inverse_cdf(x, share).tolist() == [owner[unit] for unit in units]


@given(MASSES, st.sampled_from([1, 2, 4, 8, 1024]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_the_ends_of_the_unit_interval_draw_the_first_and_last_possible_token(masses, tile):
    x = torch.tensor([masses] * 2, dtype=torch.float32)
    possible = [token for token, mass in enumerate(masses) if mass]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "TILE", tile)
        drawn = inverse_cdf(x, torch.tensor([0.0, BELOW_ONE], dtype=torch.float64))
    assert drawn.tolist() == [possible[0], possible[-1]]


@given(
    st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20).filter(any),
    st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=20),
)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_token_without_mass_is_never_drawn(masses, shares):
    x = torch.tensor([masses] * len(shares), dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunked, "TILE", 4)
        drawn = inverse_cdf(x, torch.tensor(shares, dtype=torch.float64))
    assert all(masses[token] > 0 for token in drawn.tolist())
