"""The three regimes on made-up samples, and when there is none."""

import csv
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from audit_cli.records import EntropyMeasurement, LawCheck, Regime
from audit_cli.verdicts.regime import (
    DISTINCT_SHARE,
    GENERALIZING_SHARE,
    MEMORIZING_SHARE,
    regime,
    unigram_entropy,
)

VOCAB, LENGTH, SAMPLES = 16, 20, 60


def measured(entropy, vanishing):
    return EntropyMeasurement(
        tokens=LENGTH,
        law="leave-one-out",
        t=1e-5,
        draws=1,
        context="itself",
        entropy_mean=entropy,
        entropy_sd_draws=None,
        entropy_max=entropy,
        surprise_mean=entropy,
        surprise_max=entropy,
        surprise_rms=entropy,
        margin_mean=1.0,
        vanishing_share=vanishing,
        longest_sure_run=0,
        evaluations=1,
    )


def samples(distinct=SAMPLES):
    """Texts in which all tokens are equally frequent: unigram entropy log V, to a per cent or so."""
    rng = np.random.default_rng(1)
    texts = rng.integers(0, VOCAB, (distinct, LENGTH)).tolist()
    return [texts[i % distinct] for i in range(SAMPLES)]


def judged(share, vanishing, distinct=SAMPLES, law=LawCheck.CONFIRMED, spread=0.0, texts=None):
    """Entropies at `share` of log V, half of them `spread` nats above and half as much below."""
    entropies = share * math.log(VOCAB) + spread * np.tile([1.0, -1.0], SAMPLES // 2)
    texts = samples(distinct) if texts is None else texts
    return regime([measured(float(e), vanishing) for e in entropies], texts, VOCAB, law, seed=3)


@pytest.mark.parametrize(("share", "vanishing", "distinct"), [(0.02, 0.95, 10), (0.25, 0.2, SAMPLES)])
def test_a_model_that_leaves_little_open_memorizes(share, vanishing, distinct):
    assert judged(share, vanishing, distinct).regime is Regime.MEMORIZING


def test_a_model_whose_tokens_stay_uncertain_and_whose_texts_differ_generalizes():
    assert judged(0.6, 0.1).regime is Regime.GENERALIZING


@pytest.mark.parametrize(
    ("share", "vanishing", "distinct"),
    [
        (0.37, 0.4, SAMPLES),  # in the middle
        (0.6, 0.1, 20),  # uncertain tokens, but the same texts again and again
    ],
)
def test_what_is_neither_stays_undecided(share, vanishing, distinct):
    assert judged(share, vanishing, distinct).regime is Regime.UNDECIDED


@pytest.mark.parametrize(("share", "vanishing"), [(0.29, 0.9), (0.465, 0.1)])
def test_an_interval_that_reaches_into_the_middle_decides_nothing(share, vanishing):
    assert judged(share, vanishing).regime is not Regime.UNDECIDED
    # The standard error of the mean share is .35 / sqrt(60) / log 16 = .016.
    assert judged(share, vanishing, spread=0.35).regime is Regime.UNDECIDED


@pytest.mark.parametrize(("share", "vanishing"), [(0.02, 0.95), (0.37, 0.4), (0.6, 0.1)])
def test_a_contradicted_law_leaves_no_regime(share, vanishing):
    report = judged(share, vanishing, law=LawCheck.CONTRADICTED)
    assert report.regime is None
    assert "leave-one-out law" in report.reason


def test_a_leaking_law_still_has_a_regime():
    assert judged(0.6, 0.1, law=LawCheck.LEAKS).regime is Regime.GENERALIZING


def test_a_model_that_writes_one_token_only_memorizes():
    report = judged(0.0, 1.0, texts=[[5] * LENGTH] * SAMPLES)
    assert (report.regime, report.distinct) == (Regime.MEMORIZING, 1)


def test_the_report_counts_and_averages_its_samples():
    report = judged(0.3, 0.25, distinct=20, spread=0.1)
    assert (report.samples, report.distinct, len(report.mean_entropies)) == (SAMPLES, 20, SAMPLES)
    assert report.entropy.value == pytest.approx(np.mean(report.mean_entropies))
    assert report.entropy.low < report.entropy.value < report.entropy.high
    assert report.vanishing_share.value == pytest.approx(0.25)
    assert report.entropy_possible == pytest.approx(math.log(VOCAB))
    assert report.unigram_share.value == pytest.approx(report.entropy.value / unigram_entropy(samples(20)))


def test_the_unigram_entropy_is_that_of_the_pooled_tokens():
    # a three times, b once; texts of unequal length.
    assert unigram_entropy([[0, 0, 1], [0]]) == pytest.approx(0.75 * math.log(4 / 3) + 0.25 * math.log(4))
    assert unigram_entropy([list(range(8))]) == pytest.approx(math.log(8))


def test_no_model_of_the_sweeps_is_called_the_opposite_of_what_it_is():
    """`examples/regime.csv`: what the models' own samples had, and what the sweeps found them to be."""
    with (Path(__file__).parents[2] / "examples" / "regime.csv").open() as file:
        models = list(csv.DictReader(file))
    counts = Counter()
    for model in models:
        low, high, distinct = float(model["share_low"]), float(model["share_high"]), int(model["distinct"])
        if high <= MEMORIZING_SHARE:
            called = "memorizing"
        else:
            called = "generalizing" if low >= GENERALIZING_SHARE and distinct >= DISTINCT_SHARE * 256 else "undecided"
        assert called == model["called"]
        counts[model["truth"], called] += 1
    assert counts["memorizing", "generalizing"] == counts["generalizing", "memorizing"] == 0
    assert counts["between", "memorizing"] == 0
    assert (counts["memorizing", "memorizing"], counts["generalizing", "generalizing"]) == (40, 39)
