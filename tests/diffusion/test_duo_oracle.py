"""Held against numbers computed with DUO's own code (tests/data/oracles)."""

import numpy as np
import pytest
import torch
from scipy.stats import chi2, norm
from uddm_kernels.uniform_step.reference import posterior

from audit_cli.diffusion.corruption import corrupted_starts, noise_starts
from audit_cli.diffusion.denoiser import predict
from audit_cli.diffusion.elbo import nelbo_integrand
from audit_cli.diffusion.samplers import Ancestral
from tests.oracles import TIMES, duo_denoiser, duo_numbers

CASES = [(which, i) for which in ("raw", "ema") for i in range(len(TIMES))]


@pytest.fixture(scope="module")
def networks():
    return {which: duo_denoiser(which) for which in ("raw", "ema")}


@pytest.mark.parametrize(("which", "i"), CASES)
def test_log_probabilities_and_entropies_agree(networks, which, i):
    net, numbers = networks[which], duo_numbers(which)
    noisy = torch.from_numpy(numbers[f"{i}/xt"])
    t = torch.full((len(noisy),), TIMES[i], dtype=torch.float64)
    log_p = net.head.logits(net.hidden(noisy, t).flatten(0, 1)).log_softmax(1).view(*noisy.shape, -1)
    np.testing.assert_allclose(log_p.numpy(), numbers[f"{i}/log_p"], atol=1e-4, rtol=0)
    entropy = predict(net, noisy, t).entropy.view(noisy.shape)
    np.testing.assert_allclose(entropy.numpy(), numbers[f"{i}/entropy"], atol=1e-4, rtol=0)


@pytest.mark.parametrize(("which", "i"), CASES)
@pytest.mark.parametrize("to", ["half", "final"])
def test_posteriors_agree_at_the_stored_alphas(which, i, to):
    numbers = duo_numbers(which)
    log_p = torch.from_numpy(numbers[f"{i}/log_p"]).double()
    length = log_p.shape[1]
    alpha_t, alpha_s = (
        torch.from_numpy(numbers[key]).double().reshape(-1).repeat_interleave(length)
        for key in (f"{i}/alpha", f"{i}/posterior_{to}/alpha_s")
    )
    q = posterior(log_p.exp().flatten(0, 1), torch.from_numpy(numbers[f"{i}/xt"]).reshape(-1), alpha_t, alpha_s)
    np.testing.assert_allclose(q.view(log_p.shape).numpy(), numbers[f"{i}/posterior_{to}/q"], atol=1e-5, rtol=0)


@pytest.mark.parametrize(("which", "i"), CASES)
def test_the_elbo_integrand_agrees_at_the_stored_alphas(which, i):
    numbers = duo_numbers(which)
    log_p = torch.from_numpy(numbers[f"{i}/log_p"]).double()
    rows, length, vocab = log_p.shape
    alpha = torch.from_numpy(numbers[f"{i}/alpha"]).double().reshape(-1).repeat_interleave(length)
    ours = nelbo_integrand(
        log_p.flatten(0, 1),
        torch.from_numpy(duo_numbers("raw")["x0"]).reshape(-1),
        torch.from_numpy(numbers[f"{i}/xt"]).reshape(-1),
        alpha,
        torch.full_like(alpha, -(1 - 1e-3)),
        vocab,
    ).view(rows, length)
    # Upstream computes it in float32: half a unit in the last place of 1 - alpha is 6e-8, which at t = 1e-5 is
    # .6 % of it, and the same share of the integrand.
    rounding = 6e-8 / (1 - float(alpha[0]))
    np.testing.assert_allclose(ours.numpy(), numbers[f"{i}/nll"], rtol=2e-3 + rounding, atol=2e-4)


def test_the_sampler_writes_what_upstreams_sampler_writes(networks):
    theirs = torch.from_numpy(duo_numbers("raw")["sampler16/histogram"]).double()
    rows = int(theirs[0].sum())
    starts = noise_starts(networks["raw"], rows, theirs.shape[0], seed=0)
    ends = Ancestral(16).run(networks["raw"], starts, 512).tokens
    ours = torch.stack([(ends == v).sum(0) for v in range(theirs.shape[1])], 1).double()
    filled = ours + theirs >= 10
    statistic = float((((ours - theirs) ** 2) / (ours + theirs))[filled].sum())
    # Positions are dependent, which widens the statistic a little: 1.25 x the .9999 quantile of independent cells.
    degrees = int(filled.sum()) - theirs.shape[0]
    assert statistic < 1.25 * chi2.ppf(0.9999, degrees)
    # The two differ where they should: counts against a shuffled vocabulary do not pass.
    wrong = ours.roll(1, 1)
    both = wrong + theirs >= 10
    assert float((((wrong - theirs) ** 2) / (wrong + theirs))[both].sum()) > 10 * statistic


@pytest.mark.parametrize(("which", "first"), [("trained", 0), ("random", 2)])
def test_recovery_counts_agree(networks, which, first):
    numbers = duo_numbers("raw")
    theirs = {k: int(numbers[f"recovery16/{which}/{k}"]) for k in ("recovered", "corrupted", "unstable", "kept")}
    clean = torch.from_numpy(numbers["x0"][first : first + 2])
    starts = corrupted_starts(networks["raw"], clean, [0.5], range(512), seed=1, redraw=False)
    ends = Ancestral(16, snap=True).run(networks["raw"], starts, 512).tokens
    changed, right = starts.tokens != starts.clean, ends == starts.clean
    for good, of, mine, all_mine in (
        ("recovered", "corrupted", changed & right, changed),
        ("unstable", "kept", ~changed & ~right, ~changed),
    ):
        n1, n2 = int(all_mine.sum()), theirs[of]
        p1, p2 = int(mine.sum()) / n1, theirs[good] / n2
        pooled = (int(mine.sum()) + theirs[good]) / (n1 + n2)
        z = (p1 - p2) / (pooled * (1 - pooled) * (1 / n1 + 1 / n2)) ** 0.5
        # Tokens of a row are dependent: at most 16 move together, so the deviation can be 4 times a binomial's.
        assert abs(z) < 4 * norm.ppf(1 - 1e-3 / 4)
        assert abs(p1 - p2) < 0.03
