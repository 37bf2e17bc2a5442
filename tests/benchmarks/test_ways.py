"""All ways of a table do the same thing."""

import pytest
import torch
from benchmarks import rivals
from benchmarks.replay import recording, replays
from benchmarks.sweeps import random_network
from benchmarks.workloads import TABLES
from uddm_kernels import LinearHead, linear_stats
from uddm_kernels.uniform_step.reference import posterior

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import LogLinear, time_at_level

ROWS, WIDTH, VOCAB = 33, 8, 257


def test_the_materialised_statistics_are_ours():
    torch.manual_seed(0)
    hidden, weight, target = torch.randn(ROWS, WIDTH), torch.randn(VOCAB, WIDTH), torch.randint(VOCAB, (ROWS,))
    entropy, logp = rivals.materialised(hidden, weight, target)
    ours = linear_stats(hidden, LinearHead(weight), target)
    torch.testing.assert_close(entropy, ours.entropy)
    torch.testing.assert_close(logp, ours.target_logp)


def test_the_dense_steps_draw_from_the_published_posterior():
    torch.manual_seed(0)
    vocab, draws, a, s = 5, 40_000, 0.4, 0.7
    logits = torch.randn(vocab).expand(1, draws, vocab)
    current = torch.full((1, draws), 2)
    alphas = [torch.tensor([alpha], dtype=torch.float64) for alpha in (a, s)]
    expected = posterior(logits[0, :1].double().softmax(1), current[0, :1], *alphas)[0]
    # Five standard deviations of a share among so many draws.
    allowed = 5 * float((expected * (1 - expected) / draws).sqrt().max())
    for step in (rivals.published_step, rivals.multinomial_step):
        found = torch.bincount(step(logits.clone(), current, a, s).flatten(), minlength=vocab) / draws
        assert float((found - expected).abs().max()) < allowed, step


def test_a_replay_asks_for_what_the_run_asked_for_and_parts_make_a_whole():
    network = random_network(16, 1, 2, VOCAB, 12)
    denoiser = NetworkDenoiser(network, LogLinear(), Law.LEAVE_ONE_OUT)
    clean = torch.randint(VOCAB, (3, 12), generator=torch.Generator().manual_seed(0))
    starts = corrupted_starts(denoiser, clean, [time_at_level(denoiser.schedule, 0.5)], range(2), seed=0)
    sampler = Ancestral(steps=16)
    with recording(denoiser) as asked:
        recorded = sampler.run(asked, starts, 4)
    plain = sampler.run(denoiser, starts, 4)
    assert torch.equal(recorded.tokens, plain.tokens)
    assert asked.forwards == int(plain.evaluations.sum())
    assert 0 < asked.head_rows < asked.forwards * 12
    with recording(denoiser) as again:
        replay = replays(again, asked.calls, parts=3)
        for _ in range(3):
            replay()
    assert again.forwards == asked.forwards
    assert len(again.calls) == len(asked.calls)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("quick", [False, True])
def test_every_table_has_sizes_for_a_device(device, quick):
    for kind, tasks in TABLES.items():
        chosen = tasks(device, quick)
        assert {task.kind for task in chosen} == {kind}
        assert len({task.title for task in chosen}) == len(chosen)
