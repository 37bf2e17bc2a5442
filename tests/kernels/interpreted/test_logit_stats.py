"""The fused row statistics, interpreted: against float64, against the torch implementation, and as a softmax's."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import RowStats, logit_stats

from tests.kernels.test_logit_stats import FLOATS, IDS, KINDS, LOGIT, assert_agree, plain, tokens

# The interpreter computes both sides of every tl.where, NaN and overflow included.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHAPES = [(1, 1), (7, 1), (33, 2), (9, 257), (9, 1031), (5, 5003)]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def fused(z, target=None, current=None):
    return logit_stats(z, target, current, backend="fused")


def reference(z, target=None, current=None):
    return logit_stats(z, target, current, backend="reference")


def assert_same_bits(one, other):
    for field in dataclasses.fields(RowStats):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert a.dtype == b.dtype
        assert torch.equal(torch.nan_to_num(a, nan=7.0), torch.nan_to_num(b, nan=7.0)), field.name


def assert_those_of_a_softmax(got, target, vocab):
    known = got.top_token >= 0
    assert bool((got.top_logp[known] <= 0).all() and (got.target_logp[known] <= got.top_logp[known]).all())
    assert bool((got.second_logp[known].nan_to_num(nan=-1.0) <= 0).all())
    assert bool((got.entropy[known] >= 0).all() and (got.entropy[known] <= math.log(vocab) + 1e-6).all())
    assert torch.equal(got.target_rank[known] == 0, (got.top_token == target)[known])
    assert bool((got.second_token[known] != got.top_token[known]).all())


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "vocab"), SHAPES)
def test_fused_statistics_agree_with_float64(kind, rows, vocab, dtype):
    z = KINDS[kind](rows, vocab, 1).to(dtype)
    target, current = tokens(rows, vocab, 2), tokens(rows, vocab, 3)
    got = fused(z, target, current)
    assert_agree(got, reference(z, target, current))
    assert_those_of_a_softmax(got, target, vocab)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocab", [257, 1031, 5003])
def test_fused_float32_is_no_worse_than_chunked_float32(kind, vocab):
    z, target, current = KINDS[kind](17, vocab, 7), tokens(17, vocab, 8), tokens(17, vocab, 9)
    exact, chunked, got = (logit_stats(z, target, current, b) for b in ("reference", "chunked", "fused"))
    for name in FLOATS:
        truth = getattr(exact, name)
        finite = torch.isfinite(truth)
        error, theirs = (float((getattr(x, name).double() - truth)[finite].abs().max()) for x in (got, chunked))
        assert error <= theirs + 1e-6, name


@pytest.mark.parametrize("vocab", [2, 257, 1031])
@pytest.mark.parametrize("offset", [0.0, 200.0])
def test_the_entropy_of_nearly_certain_rows_keeps_its_digits(vocab, offset):
    gaps = torch.linspace(1.0, 82.0, 21)
    z = torch.full((21, vocab), offset) - gaps[:, None] - plain(21, vocab, 6).abs() * 0.1
    best = torch.arange(21) * 67 % vocab
    z[torch.arange(21), best] = offset
    got, exact = fused(z, best), reference(z, best)
    assert float(exact.entropy.min()) < 1e-30
    # Facts, section 7: relative error at most 1e-4.
    for name in ("entropy", "top_logp", "target_logp"):
        np.testing.assert_allclose(getattr(got, name).double(), getattr(exact, name), rtol=1e-4, atol=0, err_msg=name)


@given(st.lists(LOGIT, min_size=1, max_size=12), st.data())
@settings(max_examples=60, deadline=None, derandomize=True)
def test_statistics_of_any_row_agree_with_float64_and_are_those_of_a_softmax(row, data):
    z = torch.tensor([row], dtype=torch.float32)
    target = torch.tensor([data.draw(st.integers(0, len(row) - 1))])
    got = fused(z, target, target)
    assert_agree(got, reference(z, target, target))
    assert_those_of_a_softmax(got, target, len(row))


@pytest.mark.parametrize("vocab", [7, 2500])
@pytest.mark.parametrize("spoil", [[math.nan], [math.inf], [math.nan, math.inf], [math.inf, math.nan]], ids=str)
@pytest.mark.parametrize("place", ["first", "last"])
def test_a_row_that_is_not_finite_is_flagged_and_its_neighbours_are_not(vocab, spoil, place):
    z, target = plain(5, vocab, 9), tokens(5, vocab, 10)
    healthy = fused(z, target, target)
    z[2, slice(len(spoil)) if place == "first" else slice(-len(spoil), None)] = torch.tensor(spoil)
    assert_flagged(fused(z, target, target), healthy, 2)


@pytest.mark.parametrize("vocab", [1, 7, 2500])
def test_a_row_without_a_finite_logit_is_flagged(vocab):
    z, target = plain(5, vocab, 9), tokens(5, vocab, 10)
    healthy = fused(z, target, target)
    z[2] = -math.inf
    assert_flagged(fused(z, target, target), healthy, 2)


def assert_flagged(got, healthy, row):
    others = torch.arange(len(got.lse)) != row
    for name in FLOATS:
        assert math.isnan(float(getattr(got, name)[row])), name
    for name in IDS:
        assert int(getattr(got, name)[row]) == -1, name
    for field in dataclasses.fields(RowStats):
        one, other = getattr(got, field.name)[others], getattr(healthy, field.name)[others]
        assert torch.equal(one.nan_to_num(nan=7.0), other.nan_to_num(nan=7.0)), field.name


@pytest.mark.parametrize("vocab", [2, 257, 1031])
@pytest.mark.parametrize("only", [0, 1, -1])
def test_where_all_other_tokens_are_forbidden_the_second_is_the_lowest_other_id(vocab, only):
    z = torch.full((3, vocab), -torch.inf)
    z[:, only] = torch.tensor([-3.0, 0.0, 1e4])
    target, current = torch.full((3,), only % vocab), torch.full((3,), vocab // 2)
    got = fused(z, target, current)
    assert_agree(got, reference(z, target, current))
    assert got.entropy.tolist() == [0.0] * 3
    assert got.second_logp.tolist() == [-math.inf] * 3


@pytest.mark.parametrize("vocab", [1031, 5003])
def test_equal_logits_rank_by_token_id_across_tiles(vocab):
    z = torch.zeros(9, vocab)
    z[1:, 5] = z[1:, vocab - 2] = 3.0
    target, current = tokens(9, vocab, 11), torch.tensor([0, 5, vocab - 2] * 3)
    got = fused(z, target, current)
    assert_agree(got, reference(z, target, current))
    assert (int(got.top_token[0]), int(got.second_token[0])) == (0, 1)
    assert (int(got.top_token[1]), int(got.second_token[1])) == (5, vocab - 2)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "view",
    [
        lambda z: z[:, 3:-5],
        lambda z: z[::2],
        lambda z: z[:, ::3],
        lambda z: z[:, :31].T,
        lambda z: z[4].expand(7, -1),
        lambda z: z[:, 5:6],
    ],
    ids=["columns", "every other row", "every third column", "transposed", "one row repeated", "one column"],
)
def test_logits_may_lie_in_memory_in_any_way(view, dtype):
    z = view(plain(17, 300, 12, scale=3.0).to(dtype))
    target = tokens(len(z), z.shape[1], 13)
    twice = torch.stack([target, target], dim=1)[:, 0]
    assert_same_bits(fused(z, twice, target), fused(z.clone().contiguous(), target, target))


def test_no_rows_give_no_statistics():
    got = fused(torch.empty(0, 5), torch.empty(0, dtype=torch.int64))
    assert {tuple(getattr(got, f.name).shape) for f in dataclasses.fields(RowStats)} == {(0,)}


@pytest.mark.parametrize("vocab", [257, 1031])
def test_a_row_does_not_feel_its_neighbours(vocab):
    z, target = plain(17, vocab, 14, scale=3.0), tokens(17, vocab, 15)
    together = fused(z, target, target)
    for part in (slice(3, 4), slice(5, 12)):
        alone = RowStats(*(getattr(together, f.name)[part] for f in dataclasses.fields(RowStats)))
        assert_same_bits(fused(z[part], target[part], target[part]), alone)


@pytest.mark.parametrize("dtype", DTYPES[1:], ids=str)
def test_half_precision_logits_are_widened_before_anything_is_computed(dtype):
    z, target = plain(17, 257, 16, scale=5.0).to(dtype), tokens(17, 257, 17)
    assert_same_bits(fused(z, target), fused(z.float(), target))


def test_what_is_not_asked_for_is_nan_and_minus_one():
    z, target, current = plain(3, 5, 18), tokens(3, 5, 19), tokens(3, 5, 20)
    both, one, other, neither = fused(z, target, current), fused(z, target), fused(z, None, current), fused(z)
    for got in (other, neither):
        assert got.target_rank.tolist() == [-1] * 3 and bool(got.target_logp.isnan().all())
    for got in (one, neither):
        assert got.current_rank.tolist() == [-1] * 3 and bool(got.current_logp.isnan().all())
    assert torch.equal(one.target_rank, both.target_rank) and torch.equal(one.target_logp, both.target_logp)
    assert torch.equal(other.current_rank, both.current_rank) and torch.equal(other.current_logp, both.current_logp)
    assert torch.equal(neither.entropy, both.entropy)


def test_the_callers_logits_are_left_alone():
    z = plain(5, 31, 21)
    kept = z.clone()
    fused(z, tokens(5, 31, 22), tokens(5, 31, 23))
    assert torch.equal(z, kept)


def test_float64_logits_are_refused():
    with pytest.raises(ValueError, match="float64"):
        fused(torch.zeros(2, 5, dtype=torch.float64))
