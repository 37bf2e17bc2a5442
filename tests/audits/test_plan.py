"""A dry run is cheap whatever it is asked about."""

import time

import pytest
import torch

from audit_cli.audits import BasinSettings, Comparison, EntropySettings, basins_audit, entropy_audit
from audit_cli.audits import plan as planning
from audit_cli.audits.plan import plan
from audit_cli.candidates import GivenTexts
from audit_cli.checkpoints import LoadedModel

TEXTS = GivenTexts(["in the beginning god created the heaven", "let there be light", "and it was so"])


@pytest.mark.parametrize(
    "settings",
    [
        BasinSettings(),
        BasinSettings(restarts=10_000),
        BasinSettings(steps=100_000),
        BasinSettings(restarts=10_000, steps=100_000, argmax=True),
        BasinSettings(protocol="paper"),
    ],
    ids=["default", "restarts", "steps", "both", "paper"],
)
def test_the_timing_takes_seconds(memorizing, settings):
    begun = time.monotonic()
    planned = plan(basins_audit(memorizing, TEXTS, Comparison(), settings))
    # Without a bound the second took most of a minute, and the fourth hours; a busy machine is no failure.
    assert time.monotonic() - begun < 15
    assert planned.text_evaluations == planned.windows * settings.probe(memorizing).evaluations()
    assert 0 < planned.seconds_an_evaluation < 1


def test_entropy_has_no_restarts_to_leave_out(memorizing):
    planned = plan(entropy_audit(memorizing, TEXTS, Comparison(), EntropySettings(context="prefix")))
    assert planned.seconds_an_evaluation > 0


def test_a_slow_network_is_given_up_after_the_time(memorizing, monkeypatch):
    class Slow:
        def __init__(self, denoiser):
            self.denoiser, self.calls = denoiser, 0

        def __getattr__(self, name):
            return getattr(self.denoiser, name)

        def hidden(self, tokens, t, context=None):
            self.calls += 1
            time.sleep(0.05)
            return self.denoiser.hidden(tokens, t, context)

    monkeypatch.setattr(planning, "MOST_SECONDS", 0.3)
    slow = Slow(memorizing.denoiser)
    model = LoadedModel(slow, memorizing.tokenizer, memorizing.layout, memorizing.info)
    settings = BasinSettings(batch_size=1)
    planned = plan(basins_audit(model, TEXTS, Comparison(), settings))
    assert slow.calls < 12
    assert planned.seconds_an_evaluation >= 0.05
    assert torch.is_grad_enabled()


def test_without_texts_nothing_is_timed(memorizing):
    assert plan(basins_audit(memorizing, GivenTexts([]), Comparison(), BasinSettings())).seconds == 0
