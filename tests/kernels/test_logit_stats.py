"""Row statistics against float64, against eager float32, and the statements that hold for any softmax."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import RowStats, logit_stats

FLOATS = ("lse", "entropy", "top_logp", "second_logp", "target_logp", "current_logp")
IDS = ("top_token", "second_token", "target_rank", "current_rank")


def plain(rows, vocab, seed, scale=1.0, offset=0.0):
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * scale + offset


def with_forbidden_blocks(rows, vocab, seed):
    z = plain(rows, vocab, seed, scale=3.0)
    for i in range(rows):
        z[i, : vocab * (i % 4) // 4] = -torch.inf
    return z


def with_ties(rows, vocab, seed):
    return plain(rows, vocab, seed).round()


KINDS = {
    "plain": lambda r, v, s: plain(r, v, s),
    "sharp": lambda r, v, s: plain(r, v, s, scale=10.0),
    "huge": lambda r, v, s: plain(r, v, s, scale=1e4),
    "offset": lambda r, v, s: plain(r, v, s, scale=3.0, offset=200.0),
    "forbidden": with_forbidden_blocks,
    "ties": with_ties,
}


def tokens(rows, vocab, seed):
    return torch.randint(0, vocab, (rows,), generator=torch.Generator().manual_seed(seed))


def assert_agree(got, exact):
    for name in IDS:
        assert getattr(got, name).tolist() == getattr(exact, name).tolist(), name
    for name in FLOATS:
        # Facts, section 7: 5e-6 absolute; and where a value is large, the rounding of float32 itself (2**-24, thrice).
        np.testing.assert_allclose(
            getattr(got, name).double().numpy(), getattr(exact, name).numpy(), rtol=2e-7, atol=5e-6, err_msg=name
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (17, 1), (33, 2), (17, 257), (33, 1031), (5, 5003)])
def test_chunked_statistics_agree_with_float64(kind, rows, vocab):
    z = KINDS[kind](rows, vocab, 1)
    target, current = tokens(rows, vocab, 2), tokens(rows, vocab, 3)
    assert_agree(logit_stats(z, target, current), logit_stats(z, target, current, backend="reference"))


def test_the_reference_agrees_with_textbook_formulas():
    z, target = plain(9, 40, 4, scale=2.0), tokens(9, 40, 5)
    exact = logit_stats(z, target, backend="reference")
    logp = z.double() - torch.logsumexp(z.double(), dim=1, keepdim=True)
    np.testing.assert_allclose(exact.lse, torch.logsumexp(z.double(), dim=1), rtol=1e-13)
    np.testing.assert_allclose(exact.entropy, -(logp.exp() * logp).sum(dim=1), rtol=1e-12)
    np.testing.assert_allclose(exact.top_logp, logp.max(dim=1).values, rtol=1e-12)
    np.testing.assert_allclose(exact.second_logp, logp.sort(dim=1).values[:, -2], rtol=1e-12)
    np.testing.assert_allclose(exact.target_logp, logp[torch.arange(9), target], rtol=1e-12)


@pytest.mark.parametrize("vocab", [2, 257])
@pytest.mark.parametrize("offset", [0.0, 200.0])
def test_the_entropy_of_nearly_certain_rows_keeps_its_digits(vocab, offset):
    gaps = torch.linspace(1.0, 80.0, 40)
    z = torch.full((40, vocab), offset) - gaps[:, None] - plain(40, vocab, 6).abs() * 0.1
    best = torch.arange(40) % vocab
    z[torch.arange(40), best] = offset
    got, exact = logit_stats(z, best), logit_stats(z, best, backend="reference")
    assert float(exact.entropy.min()) < 1e-30
    # Facts, section 7: relative error at most 1e-4 down to entropies of 1e-36.
    np.testing.assert_allclose(got.entropy.double(), exact.entropy, rtol=1e-4, atol=0)
    np.testing.assert_allclose(got.top_logp.double(), exact.top_logp, rtol=1e-4, atol=0)
    np.testing.assert_allclose(got.target_logp.double(), exact.target_logp, rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", ["plain", "sharp", "offset", "ties"])
@pytest.mark.parametrize("vocab", [257, 1031, 5003])
def test_chunked_float32_is_no_worse_than_eager_float32(kind, vocab):
    z, target = KINDS[kind](33, vocab, 7), tokens(33, vocab, 8)
    logp = torch.log_softmax(z.double(), dim=1)
    eager = torch.log_softmax(z, dim=1)
    got = logit_stats(z, target)
    truth_and_eager = {
        "target_logp": (logp, eager),
        "top_logp": (logp, eager),
        "entropy": (-(logp.exp() * logp).sum(dim=1), -(eager.exp() * eager).sum(dim=1)),
    }
    for name, (truth, ours) in truth_and_eager.items():
        if name != "entropy":
            picks = target if name == "target_logp" else z.argmax(dim=1)
            truth, ours = (x[torch.arange(33), picks] for x in (truth, ours))
        error = float((getattr(got, name).double() - truth).abs().max())
        assert error <= float((ours.double() - truth).abs().max()) + 1e-6, name


LOGIT = st.one_of(
    st.floats(-1e4, 1e4, width=32), st.sampled_from([0.0, 1.0, -1.0, -math.inf]), st.floats(-5, 5, width=16)
)


@given(st.lists(LOGIT, min_size=1, max_size=12), st.data())
@settings(max_examples=200, deadline=None, derandomize=True)
def test_statistics_of_any_row_agree_with_float64_and_are_those_of_a_softmax(row, data):
    z = torch.tensor([row], dtype=torch.float32)
    token = data.draw(st.integers(0, len(row) - 1))
    target = torch.tensor([token])
    got = logit_stats(z, target, target)
    assert_agree(got, logit_stats(z, target, target, backend="reference"))
    if max(row) == -math.inf:
        assert int(got.top_token) == -1
        return
    assert 0.0 <= float(got.entropy) <= math.log(len(row)) + 1e-6
    assert float(got.top_logp) <= 0.0
    assert float(got.target_logp) <= float(got.top_logp)
    assert (int(got.target_rank) == 0) == (int(got.top_token) == token)
    assert int(got.target_rank) == sum(
        z_v > row[token] or (z_v == row[token] and v < token) for v, z_v in enumerate(row)
    )


@pytest.mark.parametrize("spoil", [[math.nan], [math.inf], [math.nan, math.inf], [-math.inf] * 7])
def test_a_row_that_is_not_finite_is_flagged_and_its_neighbours_are_not(spoil):
    z, target = plain(5, 7, 9), tokens(5, 7, 10)
    healthy = logit_stats(z, target, target)
    z[2, : len(spoil)] = torch.tensor(spoil)
    for backend in ("chunked", "reference"):
        got = logit_stats(z, target, target, backend=backend)
        for name in FLOATS:
            assert math.isnan(float(getattr(got, name)[2])), name
        for name in IDS:
            assert int(getattr(got, name)[2]) == -1, name
    others = torch.tensor([0, 1, 3, 4])
    got = logit_stats(z, target, target)
    for field in dataclasses.fields(RowStats):
        assert torch.equal(getattr(got, field.name)[others], getattr(healthy, field.name)[others])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_logits_are_widened_before_anything_is_computed(dtype):
    z, target = plain(17, 257, 11, scale=5.0).to(dtype), tokens(17, 257, 12)
    got, wide = logit_stats(z, target), logit_stats(z.float(), target)
    assert got.entropy.dtype == torch.float32
    for name in ("lse", "entropy", "top_token", "top_logp", "second_token", "second_logp", "target_logp"):
        assert torch.equal(getattr(got, name), getattr(wide, name)), name


def test_float64_logits_give_float64_statistics():
    z = plain(9, 257, 13, scale=5.0).double()
    got, exact = logit_stats(z), logit_stats(z, backend="reference")
    np.testing.assert_allclose(got.entropy, exact.entropy, rtol=1e-13)
    assert got.entropy.dtype == torch.float64


def test_a_one_token_vocabulary_is_certain_and_has_no_second():
    got = logit_stats(torch.tensor([[3.5]]), torch.tensor([0]))
    assert (float(got.entropy), float(got.top_logp), float(got.lse)) == (0.0, 0.0, 3.5)
    assert (int(got.second_token), math.isnan(float(got.second_logp))) == (-1, True)


def test_what_is_not_asked_for_is_nan_and_minus_one():
    got = logit_stats(plain(3, 5, 14), target=torch.zeros(3, dtype=torch.int64))
    assert got.current_rank.tolist() == [-1] * 3
    assert bool(got.current_logp.isnan().all())
    assert not bool(got.target_logp.isnan().any())


def test_the_callers_logits_are_left_alone():
    z = plain(5, 31, 15)
    kept = z.clone()
    logit_stats(z, tokens(5, 31, 16), tokens(5, 31, 17))
    assert torch.equal(z, kept)
