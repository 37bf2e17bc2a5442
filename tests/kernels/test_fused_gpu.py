"""The fused kernels where they belong, on a GPU."""

import numpy as np
import pytest
import torch
from uddm_kernels import logit_stats

from tests.kernels.test_logit_stats import FLOATS, IDS

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

ROWS, VOCAB = 4096, 50258
DTYPES = [torch.float32, torch.float16, torch.bfloat16]


def problem(rows, vocab, dtype):
    generator = torch.Generator("cuda").manual_seed(1)
    z = torch.randn(rows, vocab, generator=generator, device="cuda", dtype=torch.float32)
    # From flat to nearly certain, and a forbidden token, as the mask token of a real head is.
    z *= torch.linspace(0.1, 20.0, rows, device="cuda")[:, None]
    z[:, -1] = -torch.inf
    target, current = torch.randint(0, vocab, (2, rows), generator=generator, device="cuda")
    target[::3] = z[::3].argmax(dim=1)
    return z.to(dtype), target, current


def assert_agree(got, other):
    for name in IDS:
        assert torch.equal(getattr(got, name), getattr(other, name)), name
    for name in FLOATS:
        one, two = getattr(got, name).cpu().double(), getattr(other, name).cpu().double()
        np.testing.assert_allclose(one, two, rtol=2e-7, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fused_is_chunked_token_for_token(dtype):
    z, target, current = problem(ROWS, VOCAB, dtype)
    assert_agree(logit_stats(z, target, current, "fused"), logit_stats(z, target, current, "chunked"))


@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (17, 1), (33, 2), (17, 257), (33, 1031), (5, 5003)])
def test_fused_agrees_with_float64(rows, vocab):
    z, target, current = problem(rows, vocab + 1, torch.float32)
    z, target, current = z[:, :vocab], target.clamp(max=vocab - 1), current.clamp(max=vocab - 1)
    exact = logit_stats(z.cpu(), target.cpu(), current.cpu(), "reference")
    got = logit_stats(z, target, current, "fused")
    for name in IDS:
        assert getattr(got, name).tolist() == getattr(exact, name).tolist(), name
    for name in FLOATS:
        np.testing.assert_allclose(getattr(got, name).cpu(), getattr(exact, name), rtol=2e-7, atol=5e-6, err_msg=name)


@pytest.mark.parametrize("vocab", [2, 257, 1031])
def test_the_entropy_of_nearly_certain_rows_keeps_its_digits(vocab):
    z = -torch.linspace(1.0, 80.0, 41, device="cuda")[:, None].expand(-1, vocab).clone()
    z[:, vocab // 2] = 0.0
    got, exact = logit_stats(z, backend="fused"), logit_stats(z.cpu(), backend="reference")
    for name in ("entropy", "top_logp"):
        np.testing.assert_allclose(getattr(got, name).cpu(), getattr(exact, name), rtol=1e-4, atol=0, err_msg=name)


def test_fused_is_what_a_gpu_gets_unasked():
    z, target, current = problem(65, 5003, torch.float32)
    assert torch.equal(logit_stats(z, target, current).entropy, logit_stats(z, target, current, "fused").entropy)
    assert logit_stats(z.double(), target, current).entropy.dtype == torch.float64


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_fused_takes_no_memory_but_its_results(dtype):
    z, target, current = problem(ROWS, VOCAB, dtype)
    logit_stats(z, target, current, "fused")
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    got = logit_stats(z, target, current, "fused")
    torch.cuda.synchronize()
    results = ROWS * (4 * len(FLOATS) + 8 * len(IDS))
    assert torch.cuda.max_memory_allocated() - before <= results + (1 << 16)
    assert len(got.entropy) == ROWS


def test_rows_beyond_two_to_the_31_logits_are_found():
    far = (1 << 31) + 16
    storage = torch.zeros(far + 300, dtype=torch.float16, device="cuda")
    z = storage.as_strided((2, 257), (far, 1))
    z[0, 3], z[1, 5] = 4.0, 6.0
    assert logit_stats(z, backend="fused").top_token.tolist() == [3, 5]
