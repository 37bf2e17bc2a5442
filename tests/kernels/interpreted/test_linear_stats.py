"""The fused head, interpreted: against float64, in every shape in which a product is cut, and as a softmax's."""

import dataclasses
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import LinearHead, Partials, PowerSums, RowStats, combine, linear_stats, power_sums
from uddm_kernels.linear_stats import fused as fused_module

from tests.kernels.interpreted.test_logit_stats import assert_those_of_a_softmax
from tests.kernels.test_linear_stats import HEADS
from tests.kernels.test_logit_stats import FLOATS, IDS, KINDS, assert_agree, plain, tokens

# The interpreter computes both sides of every tl.where, NaN and overflow included.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

SHAPES = [(1, 1), (7, 1), (33, 2), (9, 257), (17, 1031), (5, 5003)]


@pytest.fixture(params=[(8, 0), (9, 0)], ids=["pointers", "descriptors"])
def device_generation(request, monkeypatch):
    """As on the GPUs before Hopper and on Hopper, whose copy engine reads whole tiles."""
    monkeypatch.setattr(fused_module, "_capability", lambda device: request.param)


def fused(hidden, head, *given, **more):
    return linear_stats(hidden, head, *given, backend="fused", **more)


def reference(hidden, head, *given, **more):
    return linear_stats(hidden, head, *given, backend="reference", **more)


def with_logits(z, dtype=torch.float32):
    """Rows and a head whose product is z, in whatever order it is added up: each row picks a column of the weight."""
    rows = len(z)
    hidden = torch.eye(rows, rows + -rows % 8)
    weight = torch.zeros(z.shape[1], hidden.shape[1])
    weight[:, :rows] = z.T
    return hidden.to(dtype), LinearHead(weight.to(dtype))


def on_a_grid(rows, vocab, seed, width=44):
    """Rows and a weight with products that float32 holds exactly, and with many ties."""
    generator = torch.Generator().manual_seed(seed)
    hidden, weight = (torch.randint(-8, 9, (n, width), generator=generator) / 8 for n in (rows, vocab))
    return hidden, weight, torch.randint(-8, 9, (vocab,), generator=generator) / 4


def assert_same_bits(one, other):
    for field in dataclasses.fields(RowStats):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert a.dtype == b.dtype
        assert torch.equal(torch.nan_to_num(a, nan=7.0), torch.nan_to_num(b, nan=7.0)), field.name


def assert_right(kind, rows, vocab, dtype):
    hidden, head = with_logits(KINDS[kind](rows, vocab, 1), dtype)
    target, current = tokens(rows, vocab, 2), tokens(rows, vocab, 3)
    got = fused(hidden, head, target, current)
    assert_agree(got, reference(hidden, head, target, current))
    assert_those_of_a_softmax(got, target, vocab)


@pytest.mark.parametrize("kind", sorted(KINDS.keys() - {"forbidden"}))
@pytest.mark.parametrize(("rows", "vocab"), SHAPES)
def test_statistics_agree_with_float64(kind, rows, vocab):
    assert_right(kind, rows, vocab, torch.float32)


@pytest.mark.usefixtures("device_generation")
@pytest.mark.parametrize("kind", ["plain", "huge", "ties"])
@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (33, 2), (130, 257), (17, 1031)])
def test_statistics_of_half_precision_operands_agree_with_float64(kind, rows, vocab):
    assert_right(kind, rows, vocab, torch.float16)


@pytest.mark.usefixtures("device_generation")
@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("discounted", [False, True])
@pytest.mark.parametrize(("rows", "vocab", "dtype"), [(70, 300, torch.float32), (150, 1100, torch.float16)])
def test_heads_and_discounts_agree_with_float64(kind, discounted, rows, vocab, dtype):
    hidden, weight, bias = on_a_grid(rows, vocab, 4)
    head = HEADS[kind](weight.to(dtype), bias)
    target, current = tokens(rows, vocab, 5), tokens(rows, vocab, 6)
    target[::5] = current[::5]
    discount = torch.arange(rows) % 7 / 2 if discounted else None
    got = fused(hidden.to(dtype), head, target, current, discount=discount)
    exact = reference(hidden.to(dtype), head, target, current, discount=discount)
    if head.soft_cap is None:
        assert_agree(got, exact)
    else:  # a cap rounds, and of logits that differ by a rounding either may come first
        for name in FLOATS:
            np.testing.assert_allclose(getattr(got, name), getattr(exact, name), atol=2e-5, rtol=0, err_msg=name)


@pytest.mark.parametrize(("rows", "vocab", "width"), [(70, 300, 37), (33, 1031, 64), (3, 2003, 130)])
def test_products_are_no_worse_than_eager_ones(rows, vocab, width):
    hidden, weight = plain(rows, width, 7), plain(vocab, width, 8)
    target, current = tokens(rows, vocab, 9), tokens(rows, vocab, 10)
    exact, chunked, got = (
        linear_stats(hidden, LinearHead(weight), target, current, b) for b in ("reference", "chunked", "fused")
    )
    for name in FLOATS:
        truth = getattr(exact, name)
        error, theirs = (float((getattr(x, name).double() - truth).abs().max()) for x in (got, chunked))
        assert error <= theirs + 5e-6, name
    for name in ("top_token", "second_token"):
        assert torch.equal(getattr(got, name), getattr(exact, name))
    for name in ("target_rank", "current_rank"):  # the row's own logit is added up apart, here in another order
        assert bool(((getattr(got, name) - getattr(exact, name)).abs() <= 1).all())
    assert_those_of_a_softmax(got, target, vocab)


@pytest.mark.parametrize("vocab", [2, 257, 1031])
@pytest.mark.parametrize("offset", [0.0, 200.0])
def test_the_entropy_of_nearly_certain_rows_keeps_its_digits(vocab, offset):
    gaps = torch.linspace(1.0, 82.0, 21)
    z = torch.full((21, vocab), offset) - gaps[:, None] - plain(21, vocab, 6).abs() * 0.1
    best = torch.arange(21) * 67 % vocab
    z[torch.arange(21), best] = offset
    hidden, head = with_logits(z)
    got, exact = fused(hidden, head, best), reference(hidden, head, best)
    assert float(exact.entropy.min()) < 1e-30
    for name in ("entropy", "top_logp", "target_logp"):
        np.testing.assert_allclose(getattr(got, name).double(), getattr(exact, name), rtol=1e-4, atol=0, err_msg=name)


@given(st.integers(1, 40), st.integers(1, 300), st.integers(1, 40), st.integers(0, 1000))
@settings(max_examples=20, deadline=None, derandomize=True)
def test_any_shape_of_rows_vocabulary_and_width(rows, vocab, width, seed):
    hidden, weight, bias = on_a_grid(rows, vocab, seed, width)
    target, current = tokens(rows, vocab, seed), tokens(rows, vocab, seed + 1)
    got = fused(hidden, LinearHead(weight, bias), target, current)
    assert_agree(got, reference(hidden, LinearHead(weight, bias), target, current))
    assert_those_of_a_softmax(got, target, vocab)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_row_that_is_not_finite_is_flagged_and_its_neighbours_are_not(bad):
    hidden, weight, _ = on_a_grid(9, 1100, 11)
    weight[:, 0] = weight[:, 0].abs() + 0.125
    target = tokens(9, 1100, 12)
    healthy = fused(hidden, LinearHead(weight), target, target)
    hidden[4, 0] = bad
    got = fused(hidden, LinearHead(weight), target, target)
    others = torch.arange(9) != 4
    for name in FLOATS:
        assert math.isnan(float(getattr(got, name)[4])), name
    for name in IDS:
        assert int(getattr(got, name)[4]) == -1, name
    for name in FLOATS + IDS:
        assert torch.equal(getattr(got, name)[others], getattr(healthy, name)[others]), name


def test_what_a_forbidden_token_weighs_is_never_felt():
    hidden, weight, bias = on_a_grid(9, 300, 13)
    target = tokens(9, 299, 14)
    healthy = fused(hidden, LinearHead(weight, bias, forbidden=(299,)), target)
    weight[299] = math.nan
    assert_same_bits(fused(hidden, LinearHead(weight, bias, forbidden=(299,)), target), healthy)


@pytest.mark.parametrize("only", [0, 1, 300, 1099])
def test_where_all_other_tokens_are_forbidden_the_second_is_the_lowest_other_id(only):
    hidden, weight, _ = on_a_grid(3, 1100, 15)
    head = LinearHead(weight, forbidden=tuple(set(range(1100)) - {only}))
    target, current = torch.tensor([only, 0, 1]), torch.tensor([1099, 5, 600])
    got = fused(hidden, head, target, current)
    assert_agree(got, reference(hidden, head, target, current))
    assert got.entropy.tolist() == [0.0] * 3


def test_a_row_for_which_everything_is_forbidden_is_flagged():
    hidden, weight, _ = on_a_grid(3, 5, 16)
    got = fused(hidden, LinearHead(weight, forbidden=tuple(range(5))))
    assert got.top_token.tolist() == [-1] * 3 and bool(got.entropy.isnan().all())


@pytest.mark.parametrize(
    "view",
    [lambda x: x[:, 2:], lambda x: x[::2], lambda x: x.T.contiguous().T, lambda x: x[:, ::3]],
    ids=["columns", "every other row", "transposed", "every third column"],
)
def test_hidden_rows_and_weight_may_lie_in_memory_in_any_way(view):
    hidden, weight = view(on_a_grid(34, 1, 17)[0]), view(on_a_grid(600, 1, 18)[0])
    target = torch.stack([tokens(len(hidden), len(weight), 19)] * 2, dim=1)[:, 0]
    got = fused(hidden, LinearHead(weight), target, target)
    assert_same_bits(got, fused(hidden.contiguous(), LinearHead(weight.contiguous()), target.clone(), target.clone()))


def test_a_wider_and_a_narrower_operand_meet_in_float32():
    hidden, weight, bias = on_a_grid(17, 300, 20)
    target = tokens(17, 300, 21)
    for one, other in [(torch.float32, torch.bfloat16), (torch.float16, torch.float32)]:
        got = fused(hidden.to(one), LinearHead(weight.to(other), bias), target)
        assert_same_bits(got, fused(hidden, LinearHead(weight, bias), target))


def test_what_is_not_asked_for_is_nan_and_minus_one_and_one_token_for_both_is_ranked_once():
    hidden, weight, _ = on_a_grid(9, 300, 22)
    head, target, current = LinearHead(weight), tokens(9, 300, 23), tokens(9, 300, 24)
    both, one, other, neither = (
        fused(hidden, head, *given) for given in ((target, current), (target,), (None, current), ())
    )
    for got in (other, neither):
        assert got.target_rank.tolist() == [-1] * 9 and bool(got.target_logp.isnan().all())
    for got in (one, neither):
        assert got.current_rank.tolist() == [-1] * 9 and bool(got.current_logp.isnan().all())
    assert torch.equal(one.target_rank, both.target_rank) and torch.equal(one.target_logp, both.target_logp)
    assert torch.equal(other.current_rank, both.current_rank) and torch.equal(neither.entropy, both.entropy)
    assert_same_bits(fused(hidden, head, target, target), fused(hidden, head, target, target.clone()))


@pytest.mark.usefixtures("device_generation")
def test_a_row_does_not_feel_its_neighbours():
    hidden, weight, _ = on_a_grid(150, 1100, 25)
    hidden, head, target = hidden.half(), LinearHead(weight.half()), tokens(150, 1100, 26)
    together = fused(hidden, head, target)
    for part in (slice(3, 4), slice(5, 70), slice(149, 150)):
        alone = RowStats(*(getattr(together, f.name)[part] for f in dataclasses.fields(RowStats)))
        assert_same_bits(fused(hidden[part], head, target[part]), alone)


def test_shards_of_a_vocabulary_join_to_the_whole():
    hidden, weight, bias = on_a_grid(20, 2900, 27)
    target, current = tokens(20, 2900, 28), tokens(20, 2900, 29)
    borders = [0, 1030, 1031, 2900]
    shards = [(first, LinearHead(weight[first:stop], bias[first:stop])) for first, stop in itertools.pairwise(borders)]
    own = [
        torch.stack([fused_module.own_logits(hidden, head, x - first, None, None) for first, head in shards]).amax(0)
        for x in (target, current)
    ]
    parts = [
        fused_module.partials(hidden, head, target - first, own[0], current - first, own[1]) for first, head in shards
    ]
    joined = Partials.joined(parts, [first for first, _ in shards])
    whole = fused(hidden, LinearHead(weight, bias), target, current)
    for backend in ("reference", "chunked", "fused"):
        got = combine(joined, target, own[0], current, own[1], backend)
        assert_agree(got, reference(hidden, LinearHead(weight, bias), target, current))
        assert torch.equal(got.target_rank, whole.target_rank)


@pytest.mark.usefixtures("device_generation")
def test_masses_of_tiles_add_up_to_the_sum_of_exponentials():
    hidden, weight, bias = on_a_grid(70, 1100, 30)
    head = LinearHead(weight.half(), bias, forbidden=tuple(range(256, 384)))
    best, mass = fused_module.masses(hidden.half(), head)
    z = head.logits(hidden).double()
    assert best.shape == mass.shape == (70, 9)
    for tile in range(9):
        part = z[:, tile * 128 : tile * 128 + 128]
        assert torch.equal(best[:, tile].double(), part.amax(1))
        np.testing.assert_allclose((best[:, tile].double().exp() * mass[:, tile]), part.exp().sum(1), rtol=2e-6)


def test_no_rows_give_no_statistics():
    got = fused(torch.empty(0, 8), LinearHead(torch.zeros(5, 8)), torch.empty(0, dtype=torch.int64))
    assert {tuple(getattr(got, f.name).shape) for f in dataclasses.fields(RowStats)} == {(0,)}


def test_float64_and_a_head_without_a_weight_are_refused():
    with pytest.raises(ValueError, match="float64"):
        fused(torch.zeros(2, 8, dtype=torch.float64), LinearHead(torch.zeros(5, 8, dtype=torch.float64)))
    with pytest.raises(ValueError, match="weight"):
        fused(torch.zeros(2, 8), LinearHead(None))


@pytest.mark.parametrize("kind", ["scale", "soft cap", "forbidden", "all"])
def test_power_sums_of_the_fused_head_agree_with_float64(kind):
    hidden, weight, bias = on_a_grid(33, 257, 5)
    head, current = HEADS[kind](weight, bias), tokens(33, 257, 6)
    # Logits within some ten of each other: of float32 the sums have five digits.
    got, exact = (
        power_sums(hidden / 4, head, current, backend, torch.full((33,), 1.5)) for backend in ("fused", "reference")
    )
    for field in dataclasses.fields(PowerSums):
        one, other = getattr(got, field.name), getattr(exact, field.name)
        np.testing.assert_allclose(one, other, rtol=3e-5, atol=1e-6 if field.name == "gap" else 0, err_msg=field.name)
