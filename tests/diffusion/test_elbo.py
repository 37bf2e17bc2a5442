import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.diffusion.elbo import nelbo_integrand, token_nelbo
from tests.exact import ExactDenoiser


def from_the_definition(p, clean, noisy, a, derivative):
    """UDLM's equation, token by token in float64."""
    n = len(p)
    y = np.full(n, 1 - a)
    y[clean] += a * n
    y_hat = a * n * p + 1 - a
    total = sum(y[v] / y[noisy] * np.log(y_hat[noisy] * y[v] / (y_hat[v] * y[noisy])) for v in range(n))
    return derivative / (n * a) * (n / y[noisy] - n / y_hat[noisy] - total)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=9),
    st.integers(0, 8),
    st.integers(0, 8),
    st.floats(0.01, 0.999),
)
def test_the_integrand_is_its_definition_and_never_negative(weights, clean, noisy, a):
    p = np.array(weights) / sum(weights)
    clean, noisy = clean % len(p), noisy % len(p)
    ours = nelbo_integrand(
        torch.tensor(p).log()[None],
        torch.tensor([clean]),
        torch.tensor([noisy]),
        torch.tensor([a], dtype=torch.float64),
        torch.tensor([-0.999], dtype=torch.float64),
        len(p),
    )
    np.testing.assert_allclose(float(ours), from_the_definition(p, clean, noisy, a, -0.999), rtol=1e-9, atol=1e-9)
    assert float(ours) >= -1e-9


def test_a_perfect_prediction_costs_nothing():
    log_p = torch.tensor([[0.0, -torch.inf, -torch.inf]], dtype=torch.float64)
    for noisy in range(3):
        integrand = nelbo_integrand(
            log_p, torch.tensor([0]), torch.tensor([noisy]), torch.tensor([0.3]).double(), torch.tensor([-1.0]), 3
        )
        assert abs(float(integrand)) < 1e-12


def test_for_the_exact_law_the_bound_is_the_surprise_of_each_text():
    # With the exact leave-one-out law the reverse process is the exact time reversal, so the bound is tight for every
    # text: -log p, here log 4. All 81 noisy rows are weighted exactly; the time integral is Gauss-Legendre. What is
    # left is the prior at t = 1, where alpha is 1e-3 and not 0.
    texts = [[0, 1, 2, 0], [1, 1, 0, 2], [2, 0, 1, 1], [0, 0, 0, 0]]
    net = ExactDenoiser(texts, 3)
    noisy = torch.cartesian_prod(*[torch.arange(3)] * 4)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    for text in texts[:2]:
        clean = torch.tensor([text]).expand(81, 4)
        bound = 0.0
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            t = torch.full((81,), node, dtype=torch.float64)
            a = 1 - 0.999 * node
            chance = torch.where(noisy == clean, a + (1 - a) / 3, (1 - a) / 3).prod(1)
            bound += weight * float((chance * token_nelbo(net, clean, noisy, t).sum(1)).sum())
        np.testing.assert_allclose(bound, np.log(4), atol=0.01)
