"""What a network predicts along the reverse process."""

import numpy as np
import pytest
import torch
from uddm_kernels import LinearHead

from audit_cli.diffusion.corruption import corrupted_starts, noise_starts
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral, time_grid
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.samples import generate
from audit_cli.probes.trajectory import TrajectoryProbe, predicted_tokens
from audit_cli.records import OBSERVABLES, Candidate, Row
from tests.exact import ExactDenoiser, TableDenoiser
from tests.kernels.test_power_sums import plain

TEXTS = [[0, 1, 2, 3, 0, 1], [3, 3, 3, 2, 2, 2], [1, 0, 1, 0, 1, 0]]


def row(tokens, start=0, stop=None, i=1):
    return Row(Candidate("f", i, f"f:{i}"), tuple(tokens), start, stop or len(tokens))


def only(parts):
    (part,) = parts
    return part


class Seen:
    """A denoiser that keeps every row at every time at which it was asked."""

    def __init__(self, net):
        self.net, self.rows = net, {}

    def __getattr__(self, name):
        return getattr(self.net, name)

    def hidden(self, tokens, t, context=None):
        for one, time in zip(tokens, t.tolist(), strict=True):
            self.rows.setdefault(time, []).append(one.clone())
        return self.net.hidden(tokens, t, context)


@pytest.mark.parametrize("steps", [1, 5, 60])
@pytest.mark.parametrize("noise_removal", [True, False])
def test_rows_end_where_the_thinned_sampler_takes_them(steps, noise_removal):
    net, sampler = TableDenoiser(4, 3, seed=2), Ancestral(steps, noise_removal)
    probe = TrajectoryProbe(sampler, seed=5, batch_size=7)
    starts = noise_starts(net, 40, 3, 5)
    expected = sampler.run(net, starts, 16)
    assert expected.evaluations.sum() < 40 * sampler.evaluations(1.0) or steps == 1
    assert torch.equal(only(probe.generated(net, 40, 3)).ends, expected.tokens)
    written = [r.tokens for r in generate(net, 40, sampler, 5, 3)]
    assert only(probe.generated(net, 40, 3)).ends.tolist() == [list(tokens) for tokens in written]


def test_texts_end_where_a_restart_of_them_does():
    net, sampler = TableDenoiser(4, 6, seed=1, sharpness=1.0), Ancestral(12)
    probe = TrajectoryProbe(sampler, 0.4, seed=3)
    part = only(probe.measure(net, [row(text, i=i) for i, text in enumerate(TEXTS)]))
    starts = corrupted_starts(net, torch.tensor(TEXTS), [0.4], range(1), 3, redraw=False)
    assert torch.equal(part.ends, sampler.run(net, starts, 8).tokens)


@pytest.mark.parametrize("noise_removal", [True, False])
def test_every_step_is_measured_as_a_plain_softmax_says(noise_removal):
    net = Seen(TableDenoiser(4, 3, seed=2))
    probe = TrajectoryProbe(Ancestral(30, noise_removal), batch_size=5)
    part = only(probe.generated(net, 20, 3))
    assert probe.times() == time_grid(1.0, 30, noise_removal=False)
    assert list(net.rows) == probe.times() and part.means.shape == (20, 31, len(OBSERVABLES))
    for step, t in enumerate(probe.times()):
        rows = torch.stack(net.rows[t])
        # Each row once, in its order.
        assert len(rows) == 20
        z = net.net.hidden(rows, torch.full((20,), t, dtype=torch.float64))
        values = plain(z.double().softmax(2).flatten(0, 1), 4)
        expected = torch.stack([values[name] for name in OBSERVABLES]).view(len(OBSERVABLES), 20, 3)
        np.testing.assert_allclose(part.means[:, step], expected.mean(2).T, rtol=2e-5, atol=1e-7)
        np.testing.assert_allclose(part.sums[step], expected.sum(1).T, rtol=2e-5, atol=1e-6)


def test_the_last_look_without_noise_removal_is_the_entropy_of_what_was_written(memorizing):
    net, length = memorizing.denoiser, memorizing.denoiser.max_length
    part = only(TrajectoryProbe(Ancestral(8, noise_removal=False)).generated(net, 12, length))
    rows = [row(tokens) for tokens in part.ends.tolist()]
    for measured, means in zip(EntropyProbe().measure(net, rows), part.means[:, -1], strict=True):
        assert measured.entropy_mean == pytest.approx(means[0], rel=1e-6)


def test_neither_the_batch_size_nor_the_others_matter(generalizing, monkeypatch):
    net, length = generalizing.denoiser, generalizing.denoiser.max_length
    whole = only(TrajectoryProbe(Ancestral(4)).generated(net, 24, length))
    for size in (1, 7):
        some = only(TrajectoryProbe(Ancestral(4), batch_size=size).generated(net, 24, length))
        assert np.array_equal(some.means, whole.means) and np.array_equal(some.sums, whole.sums)
    monkeypatch.setattr("audit_cli.probes.trajectory.trajectories_at_once", lambda *_: 10)
    parts = list(TrajectoryProbe(Ancestral(4)).generated(net, 24, length))
    assert [part.indices for part in parts] == [list(range(10)), list(range(10, 20)), list(range(20, 24))]
    assert np.array_equal(np.concatenate([part.means for part in parts]), whole.means)


def test_a_posterior_law_is_measured_as_the_leave_one_out_law_that_it_converts_to():
    nets = [ExactDenoiser(TEXTS, 4, law) for law in (Law.LEAVE_ONE_OUT, Law.POSTERIOR)]
    one, other = (only(TrajectoryProbe(Ancestral(6), 0.9).measure(net, [row(t) for t in TEXTS])) for net in nets)
    assert torch.equal(one.ends, other.ends)
    # At the last look what stands there speaks for itself by 4e5 to 1, and float32 has few digits of the rest.
    np.testing.assert_allclose(other.means[:, :-1], one.means[:, :-1], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(other.means[:, -1], one.means[:, -1], rtol=0.02, atol=1e-6)


def test_the_network_that_knows_the_law_grows_certain_along_the_way():
    part = only(TrajectoryProbe(Ancestral(8)).generated(ExactDenoiser(TEXTS, 4), 64, 6))
    entropy = part.means[:, :, 0].mean(0)
    # From log of what three equally likely texts leave open, to one text.
    assert entropy[0] > 0.8 and entropy[-1] < 0.02


def test_only_the_text_itself_is_measured_and_positions_count_from_its_first_token():
    net = Seen(TableDenoiser(4, 6, seed=1, sharpness=1.0))
    rows = [row([3, 0, 1, 2, 3, 3], 1, 4, 1), row([3, 0, 1, 2, 0, 3], 1, 5, 2)]
    part = only(TrajectoryProbe(Ancestral(4), 0.9).measure(net, rows))
    assert part.counts.tolist() == [2, 2, 2, 1]
    assert part.ends[:, 0].tolist() == [3, 3] and part.ends[0, 4:].tolist() == [3, 3]
    first = torch.stack(net.rows[0.9])
    z = net.net.hidden(first, torch.full((2,), 0.9, dtype=torch.float64)).double().softmax(2)
    entropy = plain(z.flatten(0, 1), 4)["entropy"].view(2, 6)
    assert part.means[0, 0, 0] == pytest.approx(float(entropy[0, 1:4].mean()), rel=1e-5)
    assert part.sums[0, 3, 0] == pytest.approx(float(entropy[1, 4]), rel=1e-5)


def test_texts_of_several_lengths_keep_their_numbers():
    net = ExactDenoiser(TEXTS, 4)
    rows = [row(TEXTS[0]), row(TEXTS[1][:4]), row(TEXTS[2]), row(TEXTS[0][:4])]
    parts = list(TrajectoryProbe(Ancestral(2), 0.5).measure(net, rows))
    assert [part.indices for part in parts] == [[0, 2], [1, 3]]


def test_a_network_that_depends_on_its_last_prediction_is_refused():
    net = TableDenoiser(4, 3)
    net.stateless = False
    with pytest.raises(ValueError, match="in the step before"):
        next(TrajectoryProbe().generated(net, 2, 3))


def test_a_network_whose_output_is_no_number_raises():
    net = TableDenoiser(4, 3)
    net.base[:, 1] = torch.nan
    with pytest.raises(FloatingPointError, match="not finite"):
        next(TrajectoryProbe().generated(net, 2, 3))


def test_the_papers_floor_is_that_of_the_interaction_norm():
    net = ExactDenoiser(TEXTS[:1], 4)
    lows = [
        only(TrajectoryProbe(Ancestral(2), floor=floor).generated(net, 4, 6)).means[:, :, 3].min()
        for floor in (0.0, 1e-6)
    ]
    assert lows[0] < 1e-9 and lows[1] == pytest.approx(1e-6)


def test_forbidden_tokens_are_none_of_those_that_may_be_predicted():
    assert predicted_tokens(LinearHead(None, forbidden=(1, 1, 3)), 10) == 8
