"""Sums of powers of a softmax, against their definitions in float64, in which nothing is subtracted from 1."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from uddm_kernels import LinearHead, linear_stats, power_sums

from audit_cli.probes.trajectory import observables
from audit_cli.records import OBSERVABLES
from tests.kernels.test_linear_stats import HEADS, problem


def softmax_of(head, hidden, current=None, discount=None):
    """p (rows, vocab) in float64, by the formula of the head."""
    z = hidden.double() if head.weight is None else hidden.double() @ head.weight.double().T
    if head.bias is not None:
        z = z + head.bias.double()
    z = z * head.scale
    if head.soft_cap is not None:
        z = head.soft_cap * torch.tanh(z / head.soft_cap)
    z[:, list(head.forbidden)] = -torch.inf
    if discount is not None:
        z[torch.arange(len(z)), current] -= discount.double()
    return z.softmax(dim=1)


def plain(p, vocab):
    """The observables by their definitions. What p leaves of 1 is the sum of the other probabilities."""
    entropy = -torch.special.xlogy(p, p).sum(1)
    # 1 - p_v as a sum: in a row of ones but for p_v itself.
    rest = torch.stack([torch.cat([p[:, :v], p[:, v + 1 :]], 1).sum(1) for v in range(p.shape[1])], 1)
    # -x log x of x near 1 has no digits of 1 - x; log1p has.
    best = p.argmax(1, keepdim=True)
    others = p.scatter(1, best, 0.0)
    certain = -torch.special.xlogy(others, others).sum(1)
    own = p.gather(1, best).squeeze(1) * -torch.log1p(-rest.gather(1, best).squeeze(1))
    torch.testing.assert_close(certain + own, entropy, rtol=1e-9, atol=1e-12)
    squares = p.square()
    pairs = torch.stack([squares[:, v] * squares[:, v + 1 :].sum(1) for v in range(p.shape[1])], 1).sum(1)
    top = p.topk(min(2, p.shape[1]), dim=1).values
    return dict(
        zip(
            OBSERVABLES,
            (
                certain + own,
                (p * rest).sum(1),
                (p * rest).square().sum(1).sqrt(),
                pairs.sqrt(),
                -(p * rest).sum(1) / (vocab * (vocab - 1)) / 2,
                top[:, 0],
                top[:, 0] - top[:, 1],
            ),
            strict=True,
        )
    )


def found(head, hidden, vocab, **more):
    return dict(zip(OBSERVABLES, observables(power_sums(hidden, head, **more), vocab), strict=True))


def assert_close(got, expected, rtol):
    for name in OBSERVABLES:
        # A lead is a difference: of two nearly equal probabilities it has their absolute error.
        atol = rtol if name == "spectral_gap" else 0.0
        torch.testing.assert_close(got[name], expected[name], rtol=rtol, atol=atol, msg=lambda m, n=name: f"{n}: {m}")


def nearly_one_hot(rows, vocab, dtype=torch.float64):
    """Logits of rows whose other tokens are from 1 to 40 nats below the best one."""
    gaps = torch.linspace(1, 40, rows, dtype=torch.float64)[:, None]
    noise = torch.rand(rows, vocab, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    z = -gaps - 3 * noise
    z[torch.arange(rows), torch.arange(rows) % vocab] = 0.0
    return z.to(dtype)


@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
@pytest.mark.parametrize("vocab", [2, 57, 257])
def test_nearly_certain_rows_keep_their_digits(dtype, rtol, vocab):
    z = nearly_one_hot(40, vocab, dtype)
    expected = plain(softmax_of(LinearHead(None), z), vocab)
    assert float(expected["stability_sum"].min()) < 1e-15
    assert_close(found(LinearHead(None), z, vocab), expected, rtol)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("sharpness", [0.1, 1.0])
def test_the_observables_of_every_kind_of_head_are_those_of_its_softmax(kind, sharpness):
    hidden, weight, bias, _ = problem(33, 101)
    head = HEADS[kind](weight.double(), bias.double())
    hidden = sharpness * hidden.double()
    expected = plain(softmax_of(head, hidden), 101)
    assert_close(found(head, hidden, 101), expected, 1e-11)
    assert_close(found(head, hidden, 101, backend="reference"), expected, 1e-11)
    # Of float32 products of 24 terms, off by 1e-5 of logits up to 50: k times that in an exponent.
    assert_close(found(HEADS[kind](weight, bias), hidden.float(), 101), expected, 3e-4)


def test_a_discount_is_taken_off_before_the_powers():
    hidden, weight, bias, current = problem(40, 57)
    head, hidden = LinearHead(weight.double(), bias.double(), 0.5, 8.0, (3,)), hidden.double()
    discount = torch.linspace(-3, 12, 40, dtype=torch.float64)
    current = torch.where(current == 3, 4, current)
    expected = plain(softmax_of(head, hidden, current, discount), 57)
    assert_close(found(head, hidden, 57, current=current, discount=discount), expected, 1e-11)


@pytest.mark.parametrize("k", [0.5, 2.0, 3.0])
@pytest.mark.parametrize("kind", HEADS)
def test_a_powered_head_has_so_many_times_the_logits(kind, k):
    hidden, weight, bias, _ = problem(9, 31)
    head = HEADS[kind](weight.double(), bias.double())
    torch.testing.assert_close(head.powered(k).logits(hidden.double()), k * head.logits(hidden.double()))


@given(st.lists(st.floats(-60, 60, width=32), min_size=2, max_size=9))
@settings(max_examples=150, deadline=None, derandomize=True)
def test_any_row_of_logits_has_the_observables_of_its_softmax(row):
    z = torch.tensor([row], dtype=torch.float64)
    assert_close(found(LinearHead(None), z, len(row)), plain(softmax_of(LinearHead(None), z), len(row)), 1e-9)


def test_what_is_possible_bounds_what_is_found():
    flat = {name: float(value) for name, value in found(LinearHead(None), torch.zeros(1, 50), 50).items()}
    assert flat["stability_sum"] == pytest.approx(49 / 50, rel=1e-6)
    assert flat["interaction_mean"] == pytest.approx(-1 / 50 / 50 / 2, rel=1e-6)
    assert flat["spectral_gap"] == 0
    alone = torch.full((1, 50), -torch.inf)
    alone[0, 7] = 3.0
    certain = {name: float(value) for name, value in found(LinearHead(None), alone, 50).items()}
    assert certain == dict.fromkeys(OBSERVABLES, 0.0) | {"top_probability": 1.0, "spectral_gap": 1.0}


def test_rows_that_are_no_numbers_are_not_made_up():
    z = torch.randn(4, 9)
    z[1, 3], z[2, 0] = torch.nan, torch.inf
    values = observables(power_sums(z, LinearHead(None)), 9)
    assert torch.isnan(values[:, 1:3]).all() and torch.isfinite(values[:, [0, 3]]).all()


def test_the_entropy_is_that_of_the_row_statistics():
    hidden, weight, bias, _ = problem(20, 57)
    head = LinearHead(weight, bias)
    assert torch.equal(power_sums(hidden, head).entropy, linear_stats(hidden, head).entropy.double())
