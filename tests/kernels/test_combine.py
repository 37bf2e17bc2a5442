"""Parts of a vocabulary joined: however a row is cut, its statistics are those of the whole."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import Partials, combine, logit_stats

from tests.kernels.test_logit_stats import FLOATS, KINDS, assert_agree, tokens

BACKENDS = ("chunked", "reference")


def parts_of(z, borders, target=None, current=None):
    """The statistics of the columns between the borders, from their definitions, in float64."""
    cuts = [z.double()[:, a:b] for a, b in pairwise(borders)]
    best = torch.stack([cut.amax(1) for cut in cuts])
    token = torch.stack([cut.argmax(1) + a for cut, a in zip(cuts, borders, strict=False)])
    q, t, second, second_token = [], [], [], []
    for cut, first, top, where in zip(cuts, borders, best, token, strict=False):
        rest = cut.clone()
        rest[torch.arange(len(z)), where - first] = -torch.inf
        d = (rest - torch.where(top > -torch.inf, top, 0.0)[:, None]).clamp(min=-1000)
        q.append(d.exp().sum(1))
        t.append((d.exp() * d).sum(1))
        second.append(rest.amax(1))
        second_token.append(rest.argmax(1) + first)

    def before(own):
        if own is None:
            return None
        mine = z.gather(1, own[:, None])
        ids = torch.arange(z.shape[1])
        ahead = (z > mine) | ((z == mine) & (ids < own[:, None]))
        return torch.stack([ahead[:, a:b].sum(1) for a, b in pairwise(borders)])

    return Partials(
        best, torch.stack(q), torch.stack(t), torch.stack(second), token, torch.stack(second_token),
        before(target), before(current), z.shape[1],
    )  # fmt: skip


def joined(z, borders, target, current, backend):
    own = (None if x is None else z.double().gather(1, x[:, None]).squeeze(1) for x in (target, current))
    target_logit, current_logit = own
    parts = parts_of(z, borders, target, current)
    return combine(parts, target, target_logit, current, current_logit, backend)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("borders", [[0, 300], [0, 1, 300], [0, 7, 8, 150, 299, 300]], ids=str)
def test_the_parts_of_a_row_join_to_its_statistics(kind, borders, backend):
    z = KINDS[kind](17, 300, 1)
    target, current = tokens(17, 300, 2), tokens(17, 300, 3)
    target[::3] = z[::3].argmax(1)
    assert_agree(joined(z, borders, target, current, backend), logit_stats(z, target, current, "reference"))


@given(
    st.lists(st.one_of(st.just(-torch.inf), st.floats(-50, 50, width=32), st.integers(-2, 2)), min_size=1, max_size=9),
    st.sets(st.integers(1, 8)),
    st.integers(0, 8),
)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_row_cut_anywhere(row, cuts, which):
    z = torch.tensor([row], dtype=torch.float32)
    borders = [0, *sorted(c for c in cuts if c < len(row)), len(row)]
    target = torch.tensor([which % len(row)])
    exact = logit_stats(z, target, backend="reference")
    for backend in BACKENDS:
        got = joined(z, borders, target, None, backend)
        assert_agree(got, exact)
        assert got.current_rank.tolist() == [-1]


def test_a_row_with_no_number_in_some_part_is_flagged():
    z = torch.randn(3, 20, generator=torch.Generator().manual_seed(4))
    parts = parts_of(z, [0, 10, 20])
    parts.best[1, 1] = torch.inf
    for backend in BACKENDS:
        got = combine(parts, backend=backend)
        assert got.top_token.tolist()[1] == -1 and bool(got.entropy.isnan()[1])
        assert bool(torch.isfinite(got.entropy[[0, 2]]).all())


def test_the_two_best_decide_what_is_said_of_a_token_among_them():
    """Its own logit may come from another product and differ in its last bit."""
    z = torch.tensor([[3.0, 2.0, 1.0, 0.0]])
    for backend in BACKENDS:
        for token, rank in ((0, 0), (1, 1), (2, 2)):
            target = torch.tensor([token])
            own = torch.nextafter(z[0, token], torch.tensor(9.0)).double()[None]
            got = combine(parts_of(z, [0, 2, 4], target), target, own, backend=backend)
            exact = logit_stats(z, target, backend="reference")
            assert got.target_rank.tolist() == [rank]
            np.testing.assert_allclose(got.target_logp, exact.target_logp, atol=1e-6)
            assert float(got.target_logp[0]) <= float(got.top_logp[0])


def test_a_token_comes_with_its_logit_and_its_counts():
    z, target = torch.zeros(2, 4), torch.tensor([0, 1])
    with pytest.raises(ValueError, match="target"):
        combine(parts_of(z, [0, 4]), target, torch.zeros(2))
    with pytest.raises(ValueError, match="current"):
        combine(parts_of(z, [0, 4], None, target), None, None, target)


def test_no_rows_join_to_none():
    for backend in BACKENDS:
        got = combine(Partials.empty(3, 0, torch.device("cpu"), 30, False, False), backend=backend)
        assert {len(getattr(got, name)) for name in FLOATS} == {0}
