"""A row's statistics are a function of the row: not of its neighbours, its place, or the size of a chunk."""

import dataclasses

import pytest
import torch
from uddm_kernels import RowStats, logit_stats
from uddm_kernels.logit_stats import chunked


def assert_same_bits(one, other):
    for field in dataclasses.fields(RowStats):
        a, b = getattr(one, field.name), getattr(other, field.name)
        assert torch.equal(torch.nan_to_num(a, nan=7.0), torch.nan_to_num(b, nan=7.0)), field.name


def rows_of(vocab, rows):
    generator = torch.Generator().manual_seed(vocab)
    z = torch.randn(rows, vocab, generator=generator) * 3
    return z, torch.randint(0, vocab, (rows,), generator=generator)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("vocab", [2, 257, 1031])
@pytest.mark.parametrize("chunk_elements", [1, 5000, 1 << 20])
def test_statistics_do_not_depend_on_the_chunk_size(monkeypatch, vocab, chunk_elements):
    z, target = rows_of(vocab, 33)
    before = logit_stats(z, target, target)
    monkeypatch.setattr(chunked, "CHUNK_ELEMENTS", chunk_elements)
    assert_same_bits(logit_stats(z, target, target), before)


@pytest.mark.parametrize("tile", [1, 2, 3, 5, 8, 100])
@pytest.mark.parametrize("vocab", [1, 2, 3, 7, 8, 9, 30])
def test_the_best_two_do_not_depend_on_tiles(monkeypatch, vocab, tile):
    z = torch.randint(0, 3, (500, vocab), generator=torch.Generator().manual_seed(vocab)).float()
    z[::7] -= torch.where(torch.arange(vocab) % 2 == 0, torch.inf, 0.0)
    before = logit_stats(z)
    monkeypatch.setattr(chunked, "TILE", tile)
    assert_same_bits(logit_stats(z), before)
    exact = logit_stats(z, backend="reference")
    assert torch.equal(before.top_token, exact.top_token)
    assert torch.equal(before.second_token, exact.second_token)


def test_a_token_asked_for_twice_has_the_same_statistics_twice():
    z, token = rows_of(1031, 33)
    once, twice = logit_stats(z, current=token), logit_stats(z, token, token.clone())
    for logp, rank in ((twice.target_logp, twice.target_rank), (twice.current_logp, twice.current_rank)):
        assert torch.equal(logp, once.current_logp)
        assert torch.equal(rank, once.current_rank)


@pytest.mark.parametrize("vocab", [257, 50257])
@pytest.mark.usefixtures("two_threads")
def test_a_row_alone_has_the_statistics_that_it_has_among_others(vocab):
    z, target = rows_of(vocab, 4)
    together = logit_stats(z, target, target)
    for i in range(4):
        alone = logit_stats(z[i : i + 1], target[i : i + 1], target[i : i + 1])
        of_row = RowStats(*(getattr(together, f.name)[i : i + 1] for f in dataclasses.fields(RowStats)))
        assert_same_bits(alone, of_row)


def test_rows_may_come_in_any_order():
    z, target = rows_of(1031, 33)
    order = torch.randperm(33, generator=torch.Generator().manual_seed(1))
    together = logit_stats(z, target, target)
    shuffled = RowStats(*(getattr(together, f.name)[order] for f in dataclasses.fields(RowStats)))
    assert_same_bits(logit_stats(z[order], target[order], target[order]), shuffled)


def test_no_rows_give_no_statistics():
    got = logit_stats(torch.empty(0, 5), torch.empty(0, dtype=torch.int64))
    assert {tuple(getattr(got, f.name).shape) for f in dataclasses.fields(RowStats)} == {(0,)}


@pytest.mark.parametrize(
    "logits",
    [torch.zeros(3), torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 0)],
    ids=["vector", "three dimensions", "integers", "no vocabulary"],
)
def test_logits_of_a_wrong_shape_or_kind_are_refused(logits):
    with pytest.raises(ValueError, match="logits must be floating point"):
        logit_stats(logits)


@pytest.mark.parametrize("name", ["target", "current"])
@pytest.mark.parametrize(
    ("tokens", "message"),
    [
        (torch.tensor([0, 5]), "outside"),
        (torch.tensor([-1, 0]), "outside"),
        (torch.tensor([0, 1, 2]), "must be int64"),
        (torch.tensor([[0], [1]]), "must be int64"),
        (torch.tensor([0, 1], dtype=torch.int32), "must be int64"),
    ],
)
def test_tokens_outside_the_vocabulary_or_of_a_wrong_shape_are_refused(name, tokens, message):
    with pytest.raises(ValueError, match=f"{name} .*{message}"):
        logit_stats(torch.zeros(2, 5), **{name: tokens})
