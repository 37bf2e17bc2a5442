"""Statistics under a linear head: the head's options, blocks of rows, and what is never held in memory."""

import dataclasses

import numpy as np
import pytest
import torch
from uddm_kernels import LinearHead, RowStats, linear_stats, logit_stats
from uddm_kernels.head import MIN_ROWS
from uddm_kernels.linear_stats import chunked

WIDTH = 24


def problem(rows, vocab, seed=1, width=WIDTH):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(rows, width, generator=generator)
    weight = torch.randn(vocab, width, generator=generator)
    bias = torch.randn(vocab, generator=generator)
    target = torch.randint(0, vocab, (rows,), generator=generator)
    # Every third row points along its target's own row of the head: nearly certain predictions.
    hidden[::3] = weight[target[::3]]
    return hidden, weight, bias, target


def assert_same_bits(one, other):
    for field in dataclasses.fields(RowStats):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(torch.nan_to_num(a, nan=7.0), torch.nan_to_num(b, nan=7.0)), field.name


HEADS = {
    "plain": lambda w, b: LinearHead(w),
    "bias": lambda w, b: LinearHead(w, b),
    "scale": lambda w, b: LinearHead(w, b, scale=0.25),
    "soft cap": lambda w, b: LinearHead(w, b, soft_cap=5.0),
    "forbidden": lambda w, b: LinearHead(w, b, forbidden=(0, w.shape[0] - 1)),
    "all": lambda w, b: LinearHead(w, b, 0.5, 8.0, (1,)),
}


@pytest.mark.parametrize("kind", HEADS)
def test_logits_follow_the_formula_of_the_head(kind):
    hidden, weight, bias, _ = problem(19, 57)
    head = HEADS[kind](weight, bias)
    z = hidden.double().numpy() @ weight.double().numpy().T
    if head.bias is not None:
        z = z + bias.double().numpy()
    z = z * head.scale
    if head.soft_cap is not None:
        z = head.soft_cap * np.tanh(z / head.soft_cap)
    z[:, list(head.forbidden)] = -np.inf
    np.testing.assert_allclose(head.logits(hidden), z, rtol=1e-5, atol=1e-5)


def test_without_a_weight_the_hidden_rows_are_the_logits_and_stay_as_they_are():
    logits = torch.tensor([[1.0, 2.0, 3.0]])
    got = LinearHead(None, scale=2.0, forbidden=(1,)).logits(logits)
    assert got.tolist() == [[2.0, -torch.inf, 6.0]]
    assert logits.tolist() == [[1.0, 2.0, 3.0]]


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize(("rows", "vocab"), [(1, 2), (17, 257), (33, 1031), (3, 5003)])
def test_chunked_linear_statistics_agree_with_float64(kind, rows, vocab):
    hidden, weight, bias, target = problem(rows, vocab)
    head = HEADS[kind](weight, bias)
    got = linear_stats(hidden, head, target, target)
    exact = linear_stats(hidden, head, target, target, backend="reference")
    # A logit is a float32 product of `WIDTH` terms, off by some 1e-5 of its size (up to 50); a near-tie may change a
    # rank, so ranks are compared where the float64 neighbours in the order are further apart than that.
    for name in ("lse", "entropy", "top_logp", "second_logp", "target_logp", "current_logp"):
        np.testing.assert_allclose(getattr(got, name).double(), getattr(exact, name), rtol=1e-5, atol=1e-4)
    z = torch.nan_to_num(head.logits(hidden).double(), neginf=-1e9)
    own = z.gather(1, target[:, None])
    clear = ((z - own).abs() < 1e-4).sum(dim=1) == 1
    assert torch.equal(got.target_rank[clear], exact.target_rank[clear])
    predicted = int(exact.target_rank.max()) >= 0
    assert bool(clear.any()) == predicted


def test_linear_statistics_are_the_logit_statistics_of_the_heads_logits():
    hidden, weight, bias, target = problem(33, 257)
    head = LinearHead(weight, bias, 0.5, 8.0, (1,))
    assert_same_bits(linear_stats(hidden, head, target), logit_stats(head.logits(hidden), target))


@pytest.mark.parametrize("rows", [1, MIN_ROWS - 1, MIN_ROWS, MIN_ROWS + 1, 3 * MIN_ROWS + 1])
@pytest.mark.parametrize("block_elements", [1, 257 * 20, 1 << 30])
def test_results_do_not_depend_on_the_size_of_a_block(monkeypatch, rows, block_elements):
    hidden, weight, bias, target = problem(rows, 257)
    head = LinearHead(weight, bias)
    before = linear_stats(hidden, head, target, target)
    monkeypatch.setattr(chunked, "BLOCK_ELEMENTS", block_elements)
    monkeypatch.setattr(chunked, "BLOCK_ROWS", 1)
    assert_same_bits(linear_stats(hidden, head, target, target), before)


@pytest.mark.parametrize("part", [slice(0, 1), slice(3, 8), slice(5, 30), slice(None, None, 2)])
def test_a_row_does_not_feel_its_neighbours(part):
    hidden, weight, bias, target = problem(50, 1031, width=64)
    head = LinearHead(weight, bias)
    together = linear_stats(hidden, head, target, target)
    alone = linear_stats(hidden[part], head, target[part], target[part])
    assert_same_bits(alone, RowStats(*(getattr(together, f.name)[part] for f in dataclasses.fields(RowStats))))


@pytest.fixture
def block_shapes(monkeypatch):
    """The shapes of all blocks of logits that are made."""
    shapes = []
    make = LinearHead.logits

    def spy(self, hidden):
        z = make(self, hidden)
        shapes.append(tuple(z.shape))
        return z

    monkeypatch.setattr(LinearHead, "logits", spy)
    return shapes


@pytest.mark.parametrize(("rows", "vocab"), [(2500, 5003), (300, 50257)])
def test_all_logits_are_never_held_at_once(block_shapes, rows, vocab):
    hidden, weight, _, target = problem(rows, vocab, width=4)
    linear_stats(hidden, LinearHead(weight), target)
    assert sum(r for r, _ in block_shapes) == rows
    assert rows * vocab > 2 * chunked.BLOCK_ELEMENTS
    assert max(r * v for r, v in block_shapes) <= chunked.BLOCK_ELEMENTS


@pytest.mark.parametrize(("least", "blocks"), [(1, [MIN_ROWS] * 3 + [2]), (20, [20, 20, 10])])
def test_a_vocabulary_beyond_the_block_size_takes_few_rows_at_a_time(monkeypatch, block_shapes, least, blocks):
    monkeypatch.setattr(chunked, "BLOCK_ELEMENTS", 1000)
    monkeypatch.setattr(chunked, "BLOCK_ROWS", least)
    hidden, weight, _, _ = problem(50, 257)
    linear_stats(hidden, LinearHead(weight))
    assert block_shapes == [(rows, 257) for rows in blocks]


def test_no_rows_give_no_statistics():
    hidden, weight, _, _ = problem(1, 5)
    got = linear_stats(hidden[:0], LinearHead(weight), torch.empty(0, dtype=torch.int64))
    assert {tuple(getattr(got, f.name).shape) for f in dataclasses.fields(RowStats)} == {(0,)}


def test_hidden_rows_that_do_not_fit_the_head_are_refused():
    weight = torch.zeros(5, 3)
    for hidden in (torch.zeros(2, 4), torch.zeros(3), torch.zeros(1, 2, 3)):
        with pytest.raises(ValueError, match="hidden must be"):
            linear_stats(hidden, LinearHead(weight))


@pytest.mark.parametrize("name", ["target", "current"])
def test_token_ids_outside_the_heads_vocabulary_are_refused(name):
    for ids in (torch.tensor([0, 5]), torch.tensor([0, -1]), torch.tensor([0])):
        with pytest.raises(ValueError, match=name):
            linear_stats(torch.zeros(2, 3), LinearHead(torch.zeros(5, 3)), **{name: ids})


@pytest.mark.parametrize("backend", ["chunked", "reference"])
def test_a_discount_is_taken_off_the_current_tokens_logit(backend):
    hidden, weight, bias, target = problem(40, 57)
    current, discount = torch.arange(40) % 57, torch.linspace(-3, 12, 40)
    logits = LinearHead(weight, bias).logits(hidden).double()
    logits[torch.arange(40), current] -= discount.double()
    expected = logit_stats(logits, target, current, backend="reference")
    got = linear_stats(hidden, LinearHead(weight, bias), target, current, backend, discount)
    for field in dataclasses.fields(RowStats):
        np.testing.assert_allclose(getattr(got, field.name), getattr(expected, field.name), rtol=2e-5, atol=2e-5)


def test_a_discount_without_current_tokens_is_refused():
    hidden, weight, *_ = problem(4, 9)
    with pytest.raises(ValueError, match="current"):
        linear_stats(hidden, LinearHead(weight), discount=torch.ones(4))
    with pytest.raises(ValueError, match="one each"):
        linear_stats(hidden, LinearHead(weight), current=torch.zeros(4, dtype=torch.int64), discount=torch.ones(3))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("pieces", [1 << 22, 5 * WIDTH])
def test_a_head_of_16_bits_is_multiplied_in_float32(dtype, pieces, monkeypatch):
    """The statistics are those of the rounded weights, exactly as far as float32 goes."""
    monkeypatch.setattr("uddm_kernels.head.WIDENED_AT_ONCE", pieces)
    hidden, weight, bias, target = problem(33, 101)
    narrow = LinearHead(weight.to(dtype), bias.to(dtype), 0.5, 8.0, (3,))
    wide = LinearHead(weight.to(dtype).float(), bias.to(dtype).float(), 0.5, 8.0, (3,))
    for given in (hidden, hidden.to(dtype)):
        one, other = (head.logits(given.float() if head is wide else given) for head in (narrow, wide))
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-5)
    assert torch.isfinite(linear_stats(hidden, narrow, target).entropy).all()
