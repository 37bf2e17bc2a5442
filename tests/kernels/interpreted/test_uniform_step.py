"""The fused reverse step and the keyed numbers, interpreted: the same tokens as in torch and in float64."""

import pytest
import torch
from uddm_kernels import LinearHead, corrupt, jump_bound, jump_events, keyed_uniforms, uniform_step
from uddm_kernels.linear_stats import fused as fused_module

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.dit import DiT, DiTConfig
from tests.kernels.test_uniform_step import near_a_border, problem

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


@pytest.fixture(params=[(8, 0), (9, 0)], ids=["pointers", "descriptors"])
def device_generation(request, monkeypatch):
    monkeypatch.setattr(fused_module, "_capability", lambda device: request.param)


@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (200, 11), (100, 257), (100, 1031), (30, 5003)])
@pytest.mark.parametrize("sharpness", [0.1, 2.0])
def test_the_fused_step_is_the_float64_step_token_for_token(rows, vocab, sharpness):
    args, noise = problem(rows, vocab, seed=1, sharpness=sharpness), torch.arange(vocab)
    got, exact = (uniform_step(*args, noise, backend=backend) for backend in ("fused", "reference"))
    different = got != exact
    assert bool((near_a_border(*args, vocab) | ~different).all())
    assert int(different.sum()) <= rows // 50
    assert vocab == 1 or bool((exact != args[2]).any())


@pytest.mark.usefixtures("device_generation")
@pytest.mark.parametrize("discounted", [False, True])
def test_half_precision_a_small_support_a_full_head_and_a_discount(discounted):
    hidden, head, current, *numbers = problem(150, 40, seed=2)
    head = LinearHead(head.weight.half(), torch.linspace(-1, 1, 40), 0.7, 6.0, forbidden=(0, 39))
    args, noise = (hidden.half(), head, current, *numbers), torch.arange(3, 37, 2)
    discount = torch.linspace(0, 4, 150) if discounted else None
    got, exact = (uniform_step(*args, noise, backend, discount) for backend in ("fused", "reference"))
    assert int((got != exact).sum()) <= 2
    assert bool((got != current).any())


def test_a_thinned_step_is_the_full_step():
    hidden, head, current, a, s, u, v = problem(120, 257, seed=3)
    a = s * 0.9
    full = uniform_step(hidden, head, current, a, s, u, v, torch.arange(257), "fused")
    rows = (u < jump_bound(a, s)).nonzero().squeeze(1)
    assert 10 < len(rows) < 110
    thinned = current.clone()
    some = (hidden[rows], head, *(x[rows] for x in (current, a, s, u, v)))
    thinned[rows] = uniform_step(*some, torch.arange(257), "fused")
    assert torch.equal(thinned, full)


@pytest.mark.parametrize("v", [0.0, 1 - 2**-53])
def test_the_first_and_the_last_number_give_the_first_and_the_last_token_that_may_come(v):
    hidden, head, current, *_ = problem(20, 300, seed=4)
    head = LinearHead(head.weight, forbidden=(0, 1, 298, 299))
    a, s = torch.zeros(20, dtype=torch.float64), torch.ones(20, dtype=torch.float64)
    numbers = (a, s, a, torch.full_like(s, v))
    got = uniform_step(hidden, head, current, *numbers, torch.arange(300), "fused")
    # The last tokens may weigh less than a rounding of all others.
    assert set(got.tolist()) <= ({2} if v == 0 else {294, 295, 296, 297})


def test_a_row_that_is_not_finite_stays_and_is_told():
    hidden, head, current, *numbers = problem(9, 300, seed=5)
    healthy = uniform_step(hidden, head, current, *numbers, torch.arange(300), "fused")
    hidden[4, 0] = torch.nan
    with pytest.raises(FloatingPointError):
        uniform_step(hidden, head, current, *numbers, torch.arange(300), "fused")
    failed = torch.zeros(1, dtype=torch.int32)
    got = uniform_step(hidden, head, current, *numbers, torch.arange(300), "fused", failed=failed)
    assert int(failed) == 1 and int(got[4]) == int(current[4])
    others = torch.arange(9) != 4
    assert torch.equal(got[others], healthy[others])


@pytest.mark.parametrize("token", [-1, 300])
def test_an_id_outside_the_vocabulary_is_told_without_looking_at_values(token):
    hidden, head, current, *numbers = problem(9, 300, seed=6)
    current[2] = token
    failed = torch.zeros(1, dtype=torch.int32)
    got = uniform_step(hidden, head, current, *numbers, torch.arange(300), "fused", failed=failed)
    assert int(failed) == 1 and int(got[2]) == token


def test_no_rows_take_no_step():
    hidden, head, current, *numbers = problem(1, 30, seed=7)
    none = (hidden[:0], head, current[:0], *(x[:0] for x in numbers))
    assert uniform_step(*none, torch.arange(30), "fused").shape == (0,)


def words(*shape, seed):
    return torch.randint(0, 2**32, shape, generator=torch.Generator().manual_seed(seed))


def test_keyed_numbers_are_the_same_bits():
    given = (words(5, 1, 2, seed=1), words(5, 1, seed=2), words(1, 7, seed=3), words(5, 7, seed=4), words(7, seed=5))
    exact = keyed_uniforms(*given, backend="reference")
    for backend in ("chunked", "fused"):
        for got, expected in zip(keyed_uniforms(*given, backend=backend), exact, strict=True):
            assert got.shape == (5, 7) and torch.equal(got, expected)


def test_candidates_for_a_jump_are_the_same_in_the_same_order():
    key, stream, level = words(6, 2, seed=6), words(6, seed=7), words(6, seed=8)
    bound = torch.tensor([0.02, 0.0, 1.0, 0.5, 0.001], dtype=torch.float64)
    free = torch.rand(6, 300, generator=torch.Generator().manual_seed(9)) < 0.7
    free[3] = False
    exact = jump_events(key, stream, level, bound, free, "reference")
    assert len(exact.row) > 1000
    for backend in ("chunked", "fused"):
        for got, expected in zip(jump_events(key, stream, level, bound, free, backend), exact, strict=True):
            assert got.dtype == expected.dtype and torch.equal(got, expected)


@pytest.mark.parametrize(("rows", "steps", "length"), [(0, 3, 5), (4, 0, 5), (4, 3, 0), (4, 3, 5)])
def test_nothing_may_jump_where_there_is_nothing_or_nothing_is_free(rows, steps, length):
    bound, free = torch.ones(steps, dtype=torch.float64), torch.zeros(rows, length, dtype=torch.bool)
    for backend in ("reference", "chunked", "fused"):
        got = jump_events(words(rows, 2, seed=1), words(rows, seed=2), words(rows, seed=3), bound, free, backend)
        assert [len(column) for column in got] == [0] * 5


def test_corruption_is_the_same():
    g = torch.Generator().manual_seed(10)
    clean, free = torch.randint(0, 50, (6, 91), generator=g), torch.rand(6, 91, generator=g) < 0.8
    u, v = torch.rand(2, 6, 91, generator=g, dtype=torch.float64)
    level = torch.rand(6, 1, generator=g, dtype=torch.float64).expand(6, 91)
    exact = corrupt(clean, level, u, v, torch.arange(3, 40), free, "reference")
    assert bool((exact != clean).any())
    assert torch.equal(corrupt(clean, level, u, v, torch.arange(3, 40), free, "fused"), exact)


@pytest.mark.usefixtures("device_generation")
@pytest.mark.parametrize("law", Law)
def test_a_whole_run_ends_in_the_same_tokens(law):
    torch.manual_seed(0)
    network = DiT(DiTConfig(11, 16, width=16, layers=1, heads=2))
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=0.5)
    ends = {}
    for backend in ("chunked", "fused"):
        denoiser = NetworkDenoiser(network, LogLinear(), law)
        denoiser.head = LinearHead(network.head.weight, network.head.bias, backend=backend)
        clean = torch.randint(0, 11, (3, 16), generator=torch.Generator().manual_seed(1))
        starts = corrupted_starts(denoiser, clean, [0.3, 0.8], range(2), seed=3)
        ends[backend] = Ancestral(steps=6).run(denoiser, starts, batch_size=5)
    assert torch.equal(ends["fused"].tokens, ends["chunked"].tokens)
    assert torch.equal(ends["fused"].evaluations, ends["chunked"].evaluations)
    assert bool((ends["fused"].tokens != ends["fused"].tokens[0]).any())
