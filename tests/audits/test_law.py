"""What a posterior law allows: exact networks of both laws on texts that are known."""

from dataclasses import replace

import pytest
import torch

from audit_cli.audits import BasinSettings, EntropySettings
from audit_cli.audits.law import checked_law, clean_look, sampler_for
from audit_cli.checkpoints.loaded import Layout, LoadedModel, Sampling
from audit_cli.checkpoints.memory import Memory
from audit_cli.diffusion.denoiser import Law, predict
from audit_cli.diffusion.samplers import Ancestral, OneShot, PosteriorArgmax
from audit_cli.diffusion.schedules import Linear, time_at_level
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.law_check import SOUND_LEVELS, sound_time
from audit_cli.records import Candidate, LawCheck, ModelInfo, Row
from tests.exact import ExactDenoiser

# Every token is possible everywhere: of what is impossible no law says anything.
TEXTS = [[(start + step * i) % 5 for i in range(6)] for start in range(5) for step in (1, 2)]


def loaded(denoiser):
    info = ModelInfo("n", "f", 1, 5, 6, "log-linear", str(denoiser.law), "cut", "raw", "w", "t", None, "b")
    return LoadedModel(denoiser, None, Layout(6), info)


@pytest.mark.parametrize("t", [0.02, 0.3, 0.7, 0.9])
def test_the_converted_posterior_is_the_leave_one_out_law(t):
    tokens = torch.tensor(TEXTS).repeat(8, 1)
    noisy = torch.where(
        torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)) < t, tokens.flip(0), tokens
    )
    time = torch.full((len(noisy),), t, dtype=torch.float64)
    direct = predict(ExactDenoiser(TEXTS, 5), noisy, time, tokens)
    converted = predict(ExactDenoiser(TEXTS, 5, Law.POSTERIOR), noisy, time, tokens, leave_one_out=True)
    raw = predict(ExactDenoiser(TEXTS, 5, Law.POSTERIOR), noisy, time, tokens)
    torch.testing.assert_close(converted.entropy, direct.entropy, rtol=1e-4, atol=1e-5)
    known = direct.target_logp > -20
    torch.testing.assert_close(converted.target_logp[known], direct.target_logp[known], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(raw.entropy, direct.entropy, rtol=1e-3, atol=0)


def test_an_exact_posterior_is_looked_at_under_the_least_noise():
    net = ExactDenoiser(TEXTS, 5, Law.POSTERIOR)
    assert sound_time(net, Ancestral(16), 0) == time_at_level(net.schedule, SOUND_LEVELS[0])
    look = clean_look(loaded(net), 0)
    assert (look.t, look.draws, look.convert) == (time_at_level(net.schedule, 0.05), 1, True)
    (found,) = look.measure(net, [Row(Candidate("f", 1, "f:1"), tuple(TEXTS[0]), 0, 6)])
    assert found.law == "leave-one-out, converted"
    assert clean_look(loaded(ExactDenoiser(TEXTS, 5)), 0) == EntropyProbe()


class Copying(ExactDenoiser):
    """A network that is too sure of what stands there, by a factor that no level of noise explains."""

    def hidden(self, tokens, t, context=None):
        out = super().hidden(tokens, t, context)
        return out.scatter_add(2, tokens[..., None], torch.full((*tokens.shape, 1), 3.0))


def test_a_posterior_that_converts_nowhere_is_looked_at_as_it_is():
    net = Copying(TEXTS, 5, Law.POSTERIOR)
    assert sound_time(net, Ancestral(16), 0) is None
    look = clean_look(loaded(net), 0)
    assert (look.t, look.draws, look.convert) == (time_at_level(net.schedule, 0.5), 1, False)
    (found,) = look.measure(net, [Row(Candidate("f", 1, "f:1"), tuple(TEXTS[0]), 0, 6)])
    assert found.law == "posterior"


def test_the_law_is_checked_once_a_model_and_set_of_texts():
    net = ExactDenoiser(TEXTS, 5)
    model, calls = loaded(net), []
    whole = net.hidden
    net.hidden = lambda tokens, t, context=None: calls.append(len(tokens)) or whole(tokens, t)
    first = checked_law(model, 0, TEXTS)
    spent = len(calls)
    assert spent
    assert checked_law(model, 0, TEXTS) == first
    assert len(calls) == spent
    checked_law(model, 1, TEXTS)
    checked_law(model, 0, TEXTS[:2])
    checked_law(replace(model, info=replace(model.info, weights_sha256="other")), 0, TEXTS)
    # Random rows are the same whatever the texts are.
    assert len(calls) == 4 * spent - spent // 2


def test_a_familys_own_dynamics_is_the_default():
    model = loaded(ExactDenoiser(TEXTS, 5, schedule=Linear()))
    assert sampler_for(model, "", None) == Ancestral(16)
    without = replace(model, sampling=Sampling(noise_removal=False))
    assert sampler_for(without, "", 5) == Ancestral(5, noise_removal=False)
    assert sampler_for(without, "posterior-argmax", None) == PosteriorArgmax(16, noise_removal=False)
    assert sampler_for(without, "one-shot", None) == OneShot()
    with pytest.raises(ValueError, match="last prediction"):
        sampler_for(model, "entropy-bound", None)


def test_settings_say_what_is_done():
    model = loaded(ExactDenoiser(TEXTS, 5))
    paper = BasinSettings(protocol="paper").settled(model)
    assert (paper.restarts, paper.steps, paper.sampler) == (1, 1000, "ancestral")
    assert paper.levels == pytest.approx((0.04995, 0.0999, 0.24975, 0.4995, 0.999))
    assert paper.settled(model) == paper
    own = BasinSettings(sampler="attractor").settled(model)
    assert (own.restarts, own.steps, own.sampler) == (8, None, "attractor")
    for name in ("attractor", "one-shot"):
        assert BasinSettings(sampler=name, protocol="paper").settled(model).steps is None
        with pytest.raises(ValueError, match="takes no steps"):
            BasinSettings(sampler=name, steps=4).settled(model)


def test_the_papers_protocol_is_for_the_leave_one_out_law():
    model = loaded(ExactDenoiser(TEXTS, 5, Law.POSTERIOR))
    for settings in (BasinSettings(protocol="paper"), EntropySettings(protocol="paper")):
        with pytest.raises(ValueError, match="leave-one-out law"):
            settings.settled(model)


def test_what_was_found_on_texts_is_not_written_down(tmp_path):
    model = replace(loaded(ExactDenoiser(TEXTS, 5)), memory=Memory(tmp_path))
    checked_law(model, 0)
    before = sorted(file.name for file in tmp_path.iterdir())
    assert len(before) == 1
    checked_law(model, 0, TEXTS)
    assert sorted(file.name for file in tmp_path.iterdir()) == before


def test_one_network_does_not_answer_for_another_with_its_weights(tmp_path):
    first = replace(loaded(ExactDenoiser(TEXTS, 5)), memory=Memory(tmp_path))
    other = replace(loaded(Copying(TEXTS, 5)), memory=Memory(tmp_path))
    assert first.info == other.info
    assert first.network_sha256 != other.network_sha256
    assert checked_law(first, 0).check is LawCheck.CONFIRMED
    assert checked_law(other, 0).check is LawCheck.CONTRADICTED
    sharper = replace(first, denoiser=ExactDenoiser(TEXTS, 5, schedule=Linear()))
    assert sharper.network_sha256 != first.network_sha256
