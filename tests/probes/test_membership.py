"""The one probe that measures all that scores are made of."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audit_cli.diffusion.samplers import Ancestral, Attractor
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.membership import MembershipProbe, _moments, _votes
from audit_cli.records import Candidate, Evidence, Row
from tests.exact import ExactDenoiser, TableDenoiser

TEXTS = [[0, 1, 2, 3, 4, 0], [1, 1, 2, 2, 3, 3], [4, 3, 2, 1, 0, 4]]


def rows(*texts):
    return [Row(Candidate("f", i, f"f:{i}"), tuple(t), 0, len(t)) for i, t in enumerate(texts)]


def probe(**more):
    basins = BasinProbe((0.25, 0.5), 0, restarts=4, sampler=Ancestral(4))
    return MembershipProbe(basins, (replace(basins, sampler=Attractor(), times=(0.25,)),), **more)


def test_moments_are_those_of_the_law():
    net = TableDenoiser(5, 4, seed=2, sharpness=3.0)
    tokens = torch.tensor([[0, 4, 2, 1], [3, 3, 0, 2]])
    surprise, entropy, deviation = _moments(net, tokens)
    t = torch.full((2,), 1e-5, dtype=torch.float64)
    p = net.head.logits(net.hidden(tokens, t).flatten(0, 1)).double().softmax(1).numpy()
    target = tokens.flatten().numpy()
    assert surprise.flatten().numpy() == pytest.approx(-np.log(p[np.arange(8), target]))
    assert entropy.flatten().numpy() == pytest.approx(-(p * np.log(p)).sum(1))
    second = (p * np.log(p) ** 2).sum(1)
    assert deviation.flatten().numpy() == pytest.approx(np.sqrt(second - (p * np.log(p)).sum(1) ** 2))


def test_a_token_that_cannot_be_adds_nothing():
    net = ExactDenoiser([[0, 1, 2, 3]], 5)
    surprise, entropy, deviation = _moments(net, torch.tensor([[0, 1, 2, 3]]))
    for column in (surprise, entropy, deviation):
        assert bool(torch.isfinite(column).all())
        assert float(column.abs().max()) < 1e-2


def test_everything_agrees_with_the_probes_that_measure_it_alone():
    net = ExactDenoiser(TEXTS, 5)
    found = list(probe().measure(net, rows(*TEXTS, [0, 0, 0, 0, 0, 0])))
    assert all(isinstance(one, Evidence) for one in found)
    alone = list(probe().basins.measure(net, rows(*TEXTS, [0, 0, 0, 0, 0, 0])))
    clean = list(EntropyProbe(per_token=True).measure(net, rows(*TEXTS, [0, 0, 0, 0, 0, 0])))
    for one, basins, entropy in zip(found, alone, clean, strict=True):
        assert one.basins == basins
        assert [name for name, _ in one.others] == ["attractor"]
        assert one.surprises == pytest.approx([t.surprise for t in entropy.per_token], abs=1e-4)
        assert one.entropies == pytest.approx([t.entropy for t in entropy.per_token], abs=1e-4)
    # A stored text is surer at every noise than one that is not.
    *stored, other = found
    for one in stored:
        assert one.noisy_surprise < other.noisy_surprise
        assert one.nelbo < other.nelbo


def test_batch_size_changes_nothing():
    net = ExactDenoiser(TEXTS, 5)
    whole, one = (list(probe(batch_size=size).measure(net, rows(*TEXTS))) for size in (None, 1))
    assert whole == one


def test_the_reference_sees_the_same_noise():
    net, other = ExactDenoiser(TEXTS, 5), ExactDenoiser(TEXTS[:1], 5)
    same = list(probe(reference=net).measure(net, rows(*TEXTS)))
    for one in same:
        assert one.reference_noisy_surprise == one.noisy_surprise
        assert one.reference_surprise == pytest.approx(one.entropy.surprise_mean, abs=1e-4)
        assert one.votes == 0.0
    known, *unknown = probe(reference=other).measure(net, rows(*TEXTS))
    assert all(one.votes > 0.5 for one in unknown)
    assert known.votes < min(one.votes for one in unknown)


def test_votes_weigh_little_noise_most():
    assert _votes([np.ones(12), -np.ones(12)], (1, 2)) == pytest.approx(1 / 1.5)
    assert _votes([np.empty(0), np.ones(3)], (1, 2)) == 1.0
    assert _votes([np.empty(0)], (1, 2)) == 0.5


def test_a_screened_text_is_not_corrupted():
    net = ExactDenoiser(TEXTS, 5)
    screened = BasinProbe((0.25,), 0, restarts=4, sampler=Ancestral(4), screen=1.0)
    known, other = screened.measure(net, rows(TEXTS[0], [0, 0, 0, 0, 0, 0]))
    assert known.deciding.restarts == 4
    assert other.deciding.restarts == 0
    assert other.evaluations == 1
    assert [level.level for level in other.levels] == [level.level for level in known.levels]
