"""The fused head, the fused reverse step and the sampler around it where they belong, on a GPU, at real sizes."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
from uddm_kernels import LinearHead, RowStats, corrupt, jump_events, keyed_uniforms, linear_stats, uniform_step

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.dit import DiT, DiTConfig
from tests.kernels.test_logit_stats import FLOATS, IDS
from tests.kernels.test_uniform_step import near_a_border
from tests.kernels.test_uniform_step import problem as step_problem

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]

HALF = [torch.bfloat16, torch.float16]
DTYPES = [torch.float32, *HALF]
# (rows, width, vocabulary): the heads of DUO, and one whose width is no multiple of a tile.
SIZES = [(4096, 768, 50258), (2000, 256, 30522), (33, 200, 5003)]


def problem(rows, width, vocab, dtype, seed=1):
    """hidden, weight, target, current; from flat predictions to nearly certain ones."""
    generator = torch.Generator("cuda").manual_seed(seed)
    hidden = (
        torch.randn(rows, width, generator=generator, device="cuda")
        * torch.linspace(0.1, 12, rows, device="cuda")[:, None]
    )
    weight = torch.randn(vocab, width, generator=generator, device="cuda") * width**-0.5
    target, current = torch.randint(0, vocab, (2, rows), generator=generator, device="cuda")
    return hidden.to(dtype), weight.to(dtype), target, current


def same_bits(one, other):
    return all(
        torch.equal(getattr(one, f.name).nan_to_num(nan=7.0), getattr(other, f.name).nan_to_num(nan=7.0))
        for f in dataclasses.fields(RowStats)
    )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "width", "vocab"), SIZES)
def test_fused_statistics_are_those_of_float64(rows, width, vocab, dtype):
    hidden, weight, target, current = problem(rows, width, vocab, dtype)
    head = LinearHead(weight, forbidden=(vocab - 1,))
    got = linear_stats(hidden, head, target, current, "fused")
    some = torch.arange(0, rows, max(1, rows // 60), device="cuda")
    exact_head = LinearHead(weight.double(), forbidden=(vocab - 1,))
    exact = linear_stats(hidden[some].double(), exact_head, target[some], current[some], "chunked")
    for name in FLOATS:
        np.testing.assert_allclose(
            getattr(got, name)[some].cpu(), getattr(exact, name).cpu(), rtol=2e-6, atol=1e-4, err_msg=name
        )
    # Logits of float32 that differ by a rounding may change places.
    for name in IDS:
        assert float((getattr(got, name)[some] == getattr(exact, name)).double().mean()) > 0.9, name
    finite = (got.target_logp <= 0) & (got.entropy >= 0)
    assert bool((finite | (target == vocab - 1)).all())
    assert torch.equal(got.target_rank == 0, got.top_token == target)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("rows", "width", "vocab"), SIZES)
def test_a_rows_own_logit_is_the_one_it_has_among_the_others(rows, width, vocab, dtype):
    """In the last bit: the diagonal product adds up as the tiles do, and ranks count on it."""
    from uddm_kernels.linear_stats import fused

    hidden, weight, _, _ = problem(rows, width, vocab, dtype)
    head = LinearHead(weight)
    parts = fused.partials(hidden, head)
    best = linear_stats(hidden, head, backend="fused").top_token
    assert torch.equal(fused.own_logits(hidden, head, best, None, None), parts.best.amax(0))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_does_not_feel_its_neighbours(dtype):
    hidden, weight, target, _ = problem(1000, 768, 50258, dtype)
    together = linear_stats(hidden, LinearHead(weight), target, backend="fused")
    for part in (slice(7, 8), slice(5, 60), slice(100, 900)):
        alone = linear_stats(hidden[part], LinearHead(weight), target[part], backend="fused")
        assert same_bits(alone, RowStats(*(getattr(together, f.name)[part] for f in dataclasses.fields(RowStats))))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_a_row_that_is_not_finite_is_flagged(bad, dtype):
    hidden, weight, target, _ = problem(300, 256, 30522, dtype)
    healthy = linear_stats(hidden, LinearHead(weight), target, backend="fused")
    hidden[17, 3] = bad
    got = linear_stats(hidden, LinearHead(weight), target, backend="fused")
    others = torch.arange(300, device="cuda") != 17
    assert int(got.top_token[17]) == -1 and bool(got.entropy[17].isnan()) and int(got.target_rank[17]) == -1
    assert torch.equal(got.entropy[others], healthy.entropy[others])


def test_no_logits_are_ever_held():
    hidden, weight, target, current = problem(8192, 768, 50258, torch.bfloat16)
    head = LinearHead(weight)
    linear_stats(hidden, head, target, current)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    linear_stats(hidden, head, target, current)
    torch.cuda.synchronize()
    # Ten numbers a row and span of 1024 tokens; the logits would be 824 MB.
    assert torch.cuda.max_memory_allocated() - before < 8192 * 50 * 40 + (8 << 20)


@pytest.mark.parametrize(("rows", "vocab"), [(4000, 11), (2000, 257), (500, 5003)])
@pytest.mark.parametrize("sharpness", [0.1, 2.0])
def test_the_fused_step_is_the_float64_step_token_for_token(rows, vocab, sharpness):
    hidden, head, *rest = step_problem(rows, vocab, seed=1, sharpness=sharpness)
    noise = torch.arange(vocab)
    exact = uniform_step(hidden, head, *rest, noise, backend="reference")
    on_gpu = (hidden.cuda(), LinearHead(head.weight.cuda()), *(x.cuda() for x in rest), noise.cuda())
    got = uniform_step(*on_gpu, backend="fused").cpu()
    different = got != exact
    assert bool((near_a_border(hidden, head, *rest, vocab) | ~different).all())
    assert int(different.sum()) <= rows // 50


def test_the_law_of_a_step_is_the_dense_posterior():
    """Chi-square over 11 tokens at alpha = 1e-4: a right step fails it once in 10,000 seeds."""
    from scipy.stats import chisquare
    from uddm_kernels.uniform_step.reference import posterior

    hidden, head, *_ = step_problem(1, 11, seed=3, sharpness=0.5)
    draws = 200_000
    a, s = (torch.full((draws,), alpha, dtype=torch.float64, device="cuda") for alpha in (0.4, 0.7))
    current = torch.full((draws,), 4, device="cuda")
    words = torch.arange(draws, device="cuda")
    zero = torch.zeros((), dtype=torch.int64, device="cuda")
    u, v = keyed_uniforms(torch.tensor([5, 6], device="cuda"), words, zero, zero, zero)
    got = uniform_step(
        hidden.cuda().expand(draws, -1),
        LinearHead(head.weight.cuda()),
        current,
        a,
        s,
        u,
        v,
        torch.arange(11, device="cuda"),
    )
    x = head.logits(hidden).double().softmax(1)
    expected = posterior(x, torch.tensor([4]), torch.tensor([0.4]).double(), torch.tensor([0.7]).double())[0]
    counts = torch.bincount(got.cpu(), minlength=11).numpy()
    assert chisquare(counts, draws * expected.numpy() / float(expected.sum())).pvalue > 1e-4


def test_numbers_candidates_and_corruption_are_the_same_bits_as_on_a_cpu():
    g = torch.Generator().manual_seed(2)

    def words(*shape):
        return torch.randint(0, 2**32, shape, generator=g)

    key, stream, level = words(300, 2), words(300), words(300)
    step, position = torch.arange(40)[:, None], torch.arange(200)
    given = (key[:, None, None], stream[:, None, None], level[:, None, None], step, position)
    numbers = keyed_uniforms(*given)
    for got, expected in zip(keyed_uniforms(*(x.cuda() for x in given)), numbers, strict=True):
        assert torch.equal(got.cpu(), expected)
    bound, free = torch.rand(40, generator=g).double() * 0.1, torch.rand(300, 200, generator=g) < 0.8
    events = jump_events(key, stream, level, bound, free)
    for got, expected in zip(jump_events(*(x.cuda() for x in (key, stream, level, bound, free))), events, strict=True):
        assert torch.equal(got.cpu(), expected)
    clean, levels = words(300, 200) % 50, torch.rand(300, 1, generator=g).double().expand(300, 200)
    some = (clean, levels, numbers[0][:, 0], numbers[1][:, 0], torch.arange(3, 40), free)
    assert torch.equal(corrupt(*(x.cuda() for x in some)).cpu(), corrupt(*some))


def network(vocab, length):
    torch.manual_seed(0)
    net = DiT(DiTConfig(vocab, length, width=64, layers=2, heads=4))
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.2)
    return net


def run(device, backend, steps, law=Law.LEAVE_ONE_OUT):
    denoiser = NetworkDenoiser(network(97, 32).to(device), LogLinear(), law)
    denoiser.head = dataclasses.replace(denoiser.head, backend=backend)
    clean = torch.randint(0, 97, (20, 32), generator=torch.Generator().manual_seed(1))
    starts = corrupted_starts(denoiser, clean, [0.3, 0.8], range(3), seed=3)
    return Ancestral(steps=steps).run(denoiser, starts, batch_size=50).tokens.cpu()


@pytest.mark.parametrize("law", Law)
def test_a_whole_run_ends_in_the_tokens_of_a_cpu(law):
    on_cpu, fused, chunked = (
        run(*way, 16, law) for way in (("cpu", "chunked"), ("cuda", "fused"), ("cuda", "chunked"))
    )
    # The network rounds otherwise on a GPU: a comparison in a thousand may be decided by it, and change what follows.
    assert float((fused == on_cpu).double().mean()) > 0.97
    assert float((fused == chunked).double().mean()) > 0.97


def test_the_host_waits_no_more_often_for_more_steps():
    """Every wait of the host is warned about; those of laying out a run and of its end do not depend on its length."""
    waits = {}
    run("cuda", "fused", 4)
    for steps in (4, 64):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.cuda.set_sync_debug_mode("warn")
            try:
                run("cuda", "fused", steps)
            finally:
                torch.cuda.set_sync_debug_mode("default")
        waits[steps] = sum("synchroniz" in str(warning.message) for warning in caught)
    assert waits[4] == waits[64]
