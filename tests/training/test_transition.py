"""The two ends of the paper's figure, on models that the tool trains here."""

from pathlib import Path

import numpy as np
import pytest
import torch

from audit_cli.audits import BasinSettings, EntropySettings, audit_basins, audit_entropy
from audit_cli.candidates import open_texts
from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.native import NativeConfig
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.additive import AdditiveConfig
from audit_cli.records import Candidate, Regime, Status, Verdict
from audit_cli.statistics.intervals import bootstrap_mean
from audit_cli.training import TrainingSettings, make_rows, train

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SETTINGS = BasinSettings(levels=(0.1, 0.25, 0.5), restarts=8)


def texts(name, count, skip=0):
    return list(open_texts([EXAMPLES / name]))[skip : skip + count]


def recovery(report, level):
    """Mean recovery rate of each measured text at a level."""
    k = report.levels.index(level)
    measured = [r.basin_measurement for r in report.results if r.status is Status.MEASURED]
    return np.array([np.mean(m.levels[k].recovery_rates) for m in measured])


def trained_on(folder, lines, tokenizer, width, steps):
    rows = make_rows(lines, tokenizer, 32, "cut")
    config = NativeConfig("additive", AdditiveConfig(tokenizer.size, 32, width, 2, 4), LogLinear())
    for _ in train(config, rows, tokenizer, TrainingSettings(steps=steps), folder, torch.device("cpu")):
        pass
    return load_model(folder)


def assert_memorizes(model, redaction, train_lines, heldout):
    report = audit_basins(model, train_lines, heldout, SETTINGS, redaction)
    unseen = audit_basins(model, heldout[:60], None, SETTINGS, redaction)
    assert recovery(report, 0.25).mean() > 0.95
    assert recovery(unseen, 0.25).mean() < 0.4
    assert {r.judgement.verdict for r in report.results} == {Verdict.MEMORIZED}
    assert np.mean([r.entropy.entropy_mean for r in report.results]) < 0.05


@pytest.mark.slow
def test_sixteen_lines_are_memorized(tmp_path, redaction):
    everything = [c.text for c in texts("train.txt", 10**6)]
    model = trained_on(tmp_path, everything[:16], train_tokenizer("char", everything, "cut", "letters"), 96, 2500)
    assert_memorizes(model, redaction, texts("train.txt", 16), texts("heldout.txt", 150))
    report = audit_entropy(model, (), None, EntropySettings(samples=128), redaction)
    assert report.regime.regime is Regime.MEMORIZING


@pytest.mark.slow
def test_sixteen_verses_are_memorized_with_a_bpe_vocabulary_too(tmp_path, redaction):
    verses = [c.text for c in texts("kjv.txt", 10**6) if len(c.text) > 120]
    tokenizer = train_tokenizer("bpe:512", verses[:8000], "cut", "none")
    model = trained_on(tmp_path, verses[:16], tokenizer, 96, 5000)

    def rows(chosen):
        return [
            Candidate("kjv.txt", i, f"kjv.txt:{i}", None, tokenizer.encode(verse)[:32])
            for i, verse in enumerate(chosen)
        ]

    assert_memorizes(model, redaction, rows(verses[:16]), rows(verses[9000:9150]))


@pytest.mark.slow
def test_the_generalizing_model_knows_its_training_text_no_better(generalizing, redaction):
    seen = audit_basins(generalizing, texts("train.txt", 256, skip=1000), None, SETTINGS, redaction)
    unseen = audit_basins(generalizing, texts("heldout.txt", 256), None, SETTINGS, redaction)
    for level in SETTINGS.levels:
        # Intervals at 99.9 % overlap: in one run of a thousand they would not, were the two alike.
        a, b = (bootstrap_mean(recovery(r, level), seed=0, confidence=0.999) for r in (seen, unseen))
        assert a.low < b.high and b.low < a.high
    entropies = [r.entropy.entropy_mean for r in unseen.results]
    assert 0.5 < np.mean(entropies) < np.log(27)
