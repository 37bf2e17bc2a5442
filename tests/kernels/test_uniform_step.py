"""The step in torch against the step in float64 with the same numbers; thinning, noise support, what is refused."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from uddm_kernels import LinearHead, jump_bound, uniform_step
from uddm_kernels.linear_stats import chunked as linear_chunked

BACKENDS = ("chunked", "reference")


def problem(rows, vocab, seed, width=16, sharpness=1.0):
    """hidden, weight, current, alpha_t, alpha_s, u, v: a random step, some rows sure of their own token."""
    g = torch.Generator().manual_seed(seed)
    weight = torch.randn(vocab, width, generator=g) * sharpness
    current = torch.randint(0, vocab, (rows,), generator=g)
    hidden = torch.randn(rows, width, generator=g)
    hidden[::4] = weight[current[::4]]
    s = torch.rand(rows, generator=g, dtype=torch.float64) * 0.95 + 0.05
    a = torch.rand(rows, generator=g, dtype=torch.float64) * s * 0.99
    u, v = torch.rand(2, rows, generator=g, dtype=torch.float64) * 0.999
    return hidden, LinearHead(weight), current, a, s, u, v


def near_a_border(hidden, head, current, a, s, u, v, n):
    """Rows whose v/s is within 1e-6 of a cumulative border, or u as near to the jump probability."""
    x = head.logits(hidden).double().softmax(dim=1)
    at_draw = ((x.cumsum(dim=1) - (v / s)[:, None]).abs() < 1e-6).any(dim=1) & (v < s)
    own = x.gather(1, current[:, None]).squeeze(1)
    return at_draw | ((s - a) / (s * (a * n * own + 1 - a)) - u).abs().lt(1e-6)


@pytest.mark.parametrize(("rows", "vocab"), [(1, 1), (400, 11), (200, 257), (100, 1031), (50, 5003)])
@pytest.mark.parametrize("sharpness", [0.1, 2.0])
def test_the_chunked_step_is_the_float64_step_token_for_token(rows, vocab, sharpness):
    args = problem(rows, vocab, seed=1, sharpness=sharpness)
    noise = torch.arange(vocab)
    fast, exact = (uniform_step(*args, noise, backend=backend) for backend in BACKENDS)
    different = fast != exact
    assert bool((near_a_border(*args, vocab) | ~different).all())
    assert int(different.sum()) <= rows // 50
    assert vocab == 1 or bool((exact != args[2]).any())


def test_the_float64_step_and_the_chunked_step_agree_on_a_small_noise_support_and_a_capped_head():
    hidden, head, current, a, s, u, v = problem(300, 40, seed=2)
    head = LinearHead(head.weight, torch.linspace(-1, 1, 40), 0.7, 6.0, forbidden=(0, 39))
    args, noise = (hidden, head, current, a, s, u, v), torch.arange(3, 37, 2)
    fast, exact = (uniform_step(*args, noise, backend=backend) for backend in BACKENDS)
    different = fast != exact
    assert bool((near_a_border(*args, len(noise)) | ~different).all())
    assert int(different.sum()) <= 3


@given(st.integers(0, 10_000), st.floats(0, 0.99), st.floats(1e-3, 1), st.floats(0, 1, exclude_max=True))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_a_thinned_row_never_jumps(seed, share, alpha_s, v):
    hidden, head, current, *_ = problem(8, 13, seed, sharpness=3.0)
    s = torch.full((8,), alpha_s, dtype=torch.float64)
    a = s * share
    at_bound = jump_bound(a, s)
    v = torch.full((8,), v, dtype=torch.float64)
    for u in (at_bound, torch.nextafter(at_bound, torch.tensor(2.0).double()), (1 + at_bound) / 2):
        for backend in BACKENDS:
            assert torch.equal(uniform_step(hidden, head, current, a, s, u, v, torch.arange(13), backend), current)


@pytest.mark.parametrize("vocab", [40, 1031])
def test_a_thinned_step_is_the_full_step(vocab):
    hidden, head, current, a, s, u, v = problem(200, vocab, seed=3)
    a, s = s * 0.9, s  # a short step, so that many rows are thinned
    full = uniform_step(hidden, head, current, a, s, u, v, torch.arange(vocab))
    rows = (u < jump_bound(a, s)).nonzero().squeeze(1)
    assert 20 < len(rows) < 180
    thinned = current.clone()
    thinned[rows] = uniform_step(hidden[rows], head, *(x[rows] for x in (current, a, s, u, v)), torch.arange(vocab))
    assert torch.equal(thinned, full)


@pytest.mark.parametrize("block_elements", [1, 257 * 20, 1 << 30])
def test_a_step_does_not_depend_on_blocks_or_order(monkeypatch, block_elements):
    args = problem(70, 257, seed=4)
    before = uniform_step(*args, torch.arange(257))
    monkeypatch.setattr(linear_chunked, "BLOCK_ELEMENTS", block_elements)
    monkeypatch.setattr(linear_chunked, "BLOCK_ROWS", 1)
    assert torch.equal(uniform_step(*args, torch.arange(257)), before)
    order = torch.randperm(70, generator=torch.Generator().manual_seed(5))
    hidden, head, *rest = args
    assert torch.equal(uniform_step(hidden[order], head, *(x[order] for x in rest), torch.arange(257)), before[order])


class LargestTensor(TorchDispatchMode):
    """Watches every operation for the largest tensor that it makes."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        made = [out] if isinstance(out, torch.Tensor) else out if isinstance(out, list | tuple) else []
        self.elements = max([self.elements, *(x.numel() for x in made if isinstance(x, torch.Tensor))])
        return out


@pytest.mark.parametrize(("rows", "vocab"), [(10_000, 11), (10_000, 1500), (300, 50257)])
def test_a_step_holds_no_more_than_a_padded_block_of_logits(rows, vocab):
    hidden, head, current, a, s, u, v = problem(rows, vocab, seed=10, width=2)
    with LargestTensor() as largest:  # at alpha 0 to 1 every row draws from the prediction
        uniform_step(hidden, head, current, a * 0, s * 0 + 1, u, v, torch.arange(vocab))
    assert largest.elements >= min(rows * vocab, linear_chunked.BLOCK_ELEMENTS // 2)
    # Rows are padded to whole tiles for the draw, which at most doubles a block.
    assert largest.elements <= 2 * linear_chunked.BLOCK_ELEMENTS


@pytest.mark.parametrize("backend", BACKENDS)
def test_from_pure_noise_to_clean_text_the_prediction_decides_alone(backend):
    hidden, head, current, _, _, u, v = problem(60, 30, seed=6)
    a, s = torch.zeros(60, dtype=torch.float64), torch.ones(60, dtype=torch.float64)
    drawn = uniform_step(hidden, head, current, a, s, u, v, torch.arange(30), backend)
    cumulative = head.logits(hidden).double().softmax(dim=1).cumsum(dim=1)
    assert drawn.tolist() == torch.searchsorted(cumulative, v[:, None], right=True).squeeze(1).tolist()


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_token_outside_the_noise_support_stays(backend):
    hidden, head, current, a, s, u, v = problem(200, 10, seed=7)
    noise = torch.tensor([0, 2, 4, 6])
    out = uniform_step(hidden, head, current, a, s, u * 1e-3, v, noise, backend)
    outside = ~torch.isin(current, noise)
    assert 80 < int(outside.sum()) < 160
    assert torch.equal(out[outside], current[outside])
    assert bool((out[~outside] != current[~outside]).any())
    to_noise = ~outside & (v >= s)
    assert bool(to_noise.any())
    assert bool(torch.isin(out[to_noise], noise).all())


@pytest.mark.parametrize("backend", BACKENDS)
def test_forbidden_tokens_outside_the_noise_are_as_if_they_were_not_in_the_vocabulary(backend):
    hidden, head, current, a, s, u, v = problem(200, 12, seed=8)
    wider = LinearHead(torch.cat([head.weight, torch.ones(3, 16)]), forbidden=(12, 13, 14))
    steps = [uniform_step(hidden, h, current, a, s, u, v, torch.arange(12), backend) for h in (head, wider)]
    assert torch.equal(*steps)


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_last_number_below_one_draws_the_last_noise_token(backend):
    # (v - s)/(1 - s) rounds to exactly 1 here: both differences are halfway between two floats, and go to the even one.
    v, s = 1 - 2.0**-53, next(x for k in range(8) if rounds_to_one(x := 0.25 + k * 2.0**-54))
    numbers = (torch.tensor([x], dtype=torch.float64) for x in (0.0, s, 0.0, v))
    drawn = uniform_step(torch.zeros(1, 4), LinearHead(None), torch.tensor([0]), *numbers, torch.arange(4), backend)
    assert drawn.tolist() == [3]


def rounds_to_one(s):
    return ((1 - 2.0**-53) - s) / (1 - s) == 1.0


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_logits_that_are_not_finite_stop_the_step(backend, value):
    logits = torch.zeros(3, 5)
    logits[1, 2] = value
    numbers = (torch.full((3,), x, dtype=torch.float64) for x in (0.1, 0.5, 0.01, 0.2))
    with pytest.raises(FloatingPointError, match="not finite"):
        uniform_step(logits, LinearHead(None), torch.zeros(3).long(), *numbers, torch.arange(5), backend)


@pytest.mark.parametrize(
    ("a", "s"), [(-0.1, 0.5), (0.5, 0.5), (0.6, 0.5), (0.5, 1.1), (1.0, 1.0), (math.nan, 0.5), (0.5, math.nan)]
)
def test_alphas_that_make_no_reverse_step_are_refused(a, s):
    numbers = [torch.tensor([good, bad], dtype=torch.float64) for good, bad in ((0.1, a), (0.5, s), (0, 0), (0, 0))]
    with pytest.raises(ValueError, match="alpha_t < alpha_s"):
        uniform_step(torch.zeros(2, 5), LinearHead(None), torch.zeros(2).long(), *numbers, torch.arange(5))


@pytest.mark.parametrize("current", [torch.tensor([5]), torch.tensor([-1]), torch.tensor([0, 1])])
def test_tokens_outside_the_vocabulary_are_refused(current):
    numbers = (torch.tensor([x], dtype=torch.float64) for x in (0.1, 0.5, 0.0, 0.0))
    with pytest.raises(ValueError, match="current"):
        uniform_step(torch.zeros(1, 5), LinearHead(None), current, *numbers, torch.arange(5))


def test_the_callers_tokens_are_left_alone():
    args = problem(50, 20, seed=9)
    kept = args[2].clone()
    uniform_step(*args, torch.arange(20))
    assert torch.equal(args[2], kept)
