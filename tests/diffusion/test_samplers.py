from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from scipy.stats import chi2
from uddm_kernels.uniform_step.reference import posterior

from audit_cli.diffusion.corruption import Starts, corrupted_starts, noise_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral, Attractor, Finished, OneShot, PosteriorArgmax, time_grid
from audit_cli.diffusion.schedules import SCHEDULES, T_MIN, alpha_at
from tests.exact import ExactDenoiser, TableDenoiser


def transition(net, t, s):
    """The exact (states, states) matrix of one reverse step, positions independent given x_t."""
    vocab, length = net.vocab_size, net.max_length
    states = torch.cartesian_prod(*[torch.arange(vocab)] * length).flip(1)
    x = net.hidden(states, torch.full((len(states),), t, dtype=torch.float64)).double().softmax(2)
    alpha = [torch.full((len(states) * length,), alpha_at(net.schedule, u), dtype=torch.float64) for u in (t, s)]
    q = posterior(x.flatten(0, 1), states.flatten(), *alpha).view(len(states), length, vocab)
    matrix = torch.ones(len(states), len(states), dtype=torch.float64)
    for i in range(length):
        matrix *= q[:, i][:, states[:, i]]
    return matrix


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("thin", [True, False])
def test_the_sampler_has_the_law_of_the_enumerated_chain(name, thin):
    net = TableDenoiser(3, 2, seed=1, schedule=SCHEDULES[name]())
    start, runs = 0.6, 20_000
    clean = torch.tensor([[2, 1]])
    starts = corrupted_starts(net, clean, [start], range(1), 0, redraw=False)
    starts = Starts(
        *(value.expand(runs, *value.shape[1:]) for value in (starts.tokens, starts.clean, starts.free, starts.time)),
        key=starts.key.expand(runs, 2),
        stream=torch.arange(runs),
        level=starts.level.expand(runs),
    )
    grid = time_grid(start, 4, noise_removal=True)
    law = torch.zeros(9, dtype=torch.float64)
    law[net.state(starts.tokens[:1])] = 1.0
    for t, s in pairwise(grid):
        law = law @ transition(net, t, s)
    ends = Ancestral(steps=4, thin=thin).run(net, starts, 512).tokens
    seen = torch.bincount(net.state(ends), minlength=9).double()
    expected = law * runs
    big = expected >= 5
    statistic = float((((seen - expected) ** 2) / expected)[big].sum())
    # A false alarm in one of 10,000 runs of this test.
    assert statistic < chi2.ppf(1 - 1e-4 / 8, int(big.sum()) - 1)


@pytest.mark.parametrize("steps", [3, 16, 200])
def test_a_thinned_trajectory_is_the_full_trajectory(steps):
    net = TableDenoiser(4, 3, seed=2)
    starts = corrupted_starts(net, torch.tensor([[0, 1, 2], [3, 3, 3]]), [0.1, 0.5, 1.0], range(50), 5)
    thinned = Ancestral(steps).run(net, starts, 64)
    spared, net.calls = net.calls, 0
    full = Ancestral(steps, thin=False).run(net, starts, 64)
    assert torch.equal(thinned.tokens, full.tokens)
    assert int(thinned.evaluations.sum()) == spared
    assert spared < net.calls or steps == 3


def test_a_stateful_network_is_never_thinned():
    net = TableDenoiser(4, 3, seed=2)
    net.stateless = False
    starts = corrupted_starts(net, torch.tensor([[0, 1, 2]]), [0.5], range(4), 5)
    outcome = Ancestral(100).run(net, starts, 64)
    assert outcome.evaluations.tolist() == [len(time_grid(0.5, 100, True)) - 1] * 4


@pytest.mark.parametrize(
    "sampler", [Ancestral(), Attractor(), Finished(), OneShot(), PosteriorArgmax()], ids=lambda s: s.name
)
def test_batch_size_and_order_change_nothing(sampler):
    net = TableDenoiser(4, 3, seed=3)
    starts = corrupted_starts(net, torch.tensor([[0, 1, 2], [3, 3, 3], [1, 0, 1]]), [0.2, 0.6], range(10), 1)
    whole = sampler.run(net, starts, 1000)
    for size in (1, 7):
        assert torch.equal(sampler.run(net, starts, size).tokens, whole.tokens)
    back = torch.arange(len(starts.tokens)).flip(0)
    turned = Starts(*(getattr(starts, name)[back] for name in Starts.__dataclass_fields__))
    again = sampler.run(net, turned, 16)
    assert torch.equal(again.tokens.flip(0), whole.tokens)
    assert torch.equal(again.evaluations.flip(0), whole.evaluations)


@pytest.mark.parametrize(
    "sampler", [Ancestral(), Attractor(), Finished(), OneShot(), PosteriorArgmax()], ids=lambda s: s.name
)
def test_frozen_positions_stay(sampler):
    net = TableDenoiser(4, 3, seed=3)
    free = torch.tensor([[True, False, True]])
    starts = corrupted_starts(net, torch.tensor([[0, 1, 2]]), [0.9], range(64), 1, free)
    assert bool((sampler.run(net, starts, 16).tokens[:, 1] == 1).all())


def test_a_lone_memory_comes_back_from_any_noise():
    net = ExactDenoiser([[1, 2, 3, 4, 0, 1, 2, 3]], 5)
    starts = corrupted_starts(net, net.texts, [0.1, 0.5, 1.0], range(20), 0)
    for sampler in (Ancestral(), Attractor(), Finished(), OneShot(), PosteriorArgmax(64)):
        assert torch.equal(sampler.run(net, starts, 64).tokens, starts.clean), sampler.name


def test_the_attractor_ends_in_a_fixed_point():
    net = ExactDenoiser([[0, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 1], [0, 1, 0, 1, 0, 1]], 3)
    starts = corrupted_starts(net, net.texts, [0.3], range(10), 0)
    ends = Attractor().run(net, starts, 64).tokens
    again = Attractor().run(net, replace(starts, tokens=ends, time=torch.full_like(starts.time, T_MIN)), 64)
    assert torch.equal(again.tokens, ends)


def test_a_finished_sample_is_where_the_ancestral_one_settles():
    net = TableDenoiser(4, 3, seed=3)
    starts = corrupted_starts(net, torch.tensor([[0, 1, 2], [3, 3, 3]]), [0.5], range(20), 1)
    both = Finished(Ancestral(16), Attractor(3))
    sampled, finished = (sampler.run(net, starts, 64) for sampler in (both.ancestral, both))
    settled = replace(starts, tokens=sampled.tokens, time=torch.full_like(starts.time, T_MIN))
    map_alone = both.attractor.run(net, settled, 64)
    assert torch.equal(finished.tokens, map_alone.tokens)
    assert torch.equal(finished.evaluations, sampled.evaluations + map_alone.evaluations)
    assert not torch.equal(finished.tokens, sampled.tokens)


def test_posterior_argmax_takes_the_mode_of_the_dense_posterior():
    net = TableDenoiser(3, 2, seed=4, sharpness=4.0)
    states = torch.cartesian_prod(torch.arange(3), torch.arange(3)).flip(1)
    t, s = 0.5, 0.02
    x = net.hidden(states, torch.full((9,), t, dtype=torch.float64)).double().softmax(2)
    alpha = [torch.full((18,), alpha_at(net.schedule, u), dtype=torch.float64) for u in (t, s)]
    modes = posterior(x.flatten(0, 1), states.flatten(), *alpha).argmax(1).view(9, 2)
    free = torch.ones_like(states, dtype=torch.bool)
    assert torch.equal(PosteriorArgmax._step(net, states, free, t, s), modes)


@pytest.mark.parametrize("sampler", [Ancestral(24), Ancestral(24, thin=False)])
def test_a_posterior_law_takes_the_steps_of_the_leave_one_out_law(sampler):
    """Bayes' rule in both ways: with the same numbers every row ends where it would have ended."""
    texts = [[0, 1, 2, 3], [3, 3, 1, 0], [2, 0, 2, 0]]
    ends = []
    for law in Law:
        net = ExactDenoiser(texts, 4, law)
        starts = corrupted_starts(net, torch.tensor(texts), [0.4, 0.9], range(50), 7)
        ends.append(sampler.run(net, starts, 64).tokens)
    assert torch.equal(*ends)
    assert not torch.equal(ends[0], starts.tokens)


def test_under_a_posterior_law_there_is_no_attractor():
    net = ExactDenoiser([[0, 1]], 3, law=Law.POSTERIOR)
    with pytest.raises(ValueError, match="leave-one-out"):
        Attractor().run(net, noise_starts(net, 2, 2, 0), 4)


def test_the_level_is_the_first_point_of_the_grid():
    assert time_grid(0.25, 4, noise_removal=True) == pytest.approx([0.25, T_MIN, 0.0], abs=1e-4)
    assert time_grid(0.3, 4, noise_removal=False) == pytest.approx([0.3, 0.25, T_MIN], abs=1e-4)


def test_a_snapped_grid_starts_at_the_smallest_grid_time_not_before_the_level():
    grid = time_grid(0.25, 1000, noise_removal=True, snap=True)
    assert grid[0] >= 0.25 > grid[1]
    assert len(grid) == 252
    assert time_grid(1.0, 8, noise_removal=True, snap=True)[0] == 1.0
