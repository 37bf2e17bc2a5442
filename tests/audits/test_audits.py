from dataclasses import replace
from pathlib import Path

import pytest

from audit_cli.audits import BasinSettings, EntropySettings, audit_basins, audit_entropy
from audit_cli.candidates import open_texts
from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.loaded import Layout
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import Candidate, ModelInfo, Regime, Skipped, Status, Verdict
from tests.exact import ExactDenoiser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
QUICK = BasinSettings(levels=(0.1, 0.25, 0.5))


def texts(name, count=None):
    return list(open_texts([EXAMPLES / name]))[:count]


def trained_lines():
    """The sixteen lines that the memorizing example was trained on."""
    return {c.text for c in texts("train.txt", 16)}


def exact_model(denoiser):
    info = ModelInfo("exact", "test", 0, denoiser.vocab_size, denoiser.max_length, "log-linear", str(denoiser.law),
                     "cut", "raw", "0" * 64, "none", None, "exact")  # fmt: skip
    return LoadedModel(denoiser, None, Layout(denoiser.max_length), info)


def ids(*token_ids):
    return [Candidate("f", i, f"f:{i}", None, tuple(t)) for i, t in enumerate(token_ids, 1)]


@pytest.fixture(scope="module")
def basins_of_the_memorizing_example(memorizing):
    from audit_cli.redaction import Redaction, ShowText

    redaction = Redaction(ShowText.FINGERPRINT, b"a key for tests")
    return audit_basins(memorizing, texts("candidates.txt"), texts("heldout.txt", 250), QUICK, redaction)


def test_every_training_line_of_the_memorizing_example_is_named_and_no_other(basins_of_the_memorizing_example):
    report = basins_of_the_memorizing_example
    named = {r.candidate.text for r in report.results if r.judgement.verdict is Verdict.MEMORIZED}
    assert named == trained_lines()
    others = {r.judgement.verdict for r in report.results if r.candidate.text not in named}
    assert others == {Verdict.NO_EVIDENCE}


def test_memorized_lines_have_wide_basins(basins_of_the_memorizing_example):
    for result in basins_of_the_memorizing_example.results:
        if result.candidate.text in trained_lines():
            assert result.basin.size >= 0.5
            assert result.basin.low >= 0.25
        else:
            assert result.basin.high <= 0.1


def test_the_verdicts_do_not_depend_on_batch_size_or_order(memorizing, redaction, basins_of_the_memorizing_example):
    def told(report):
        return {r.fingerprint: (r.basin_measurement.levels, r.judgement) for r in report.results}

    settings = replace(QUICK, batch_size=37)
    again = audit_basins(
        memorizing, texts("candidates.txt")[::-1], texts("heldout.txt", 250)[::-1], settings, redaction
    )
    assert told(again) == told(basins_of_the_memorizing_example)
    assert again.run.settings_id == basins_of_the_memorizing_example.run.settings_id


def test_the_generalizing_example_is_not_said_to_have_memorized_anything(generalizing, redaction):
    report = audit_basins(generalizing, texts("candidates.txt"), texts("heldout.txt", 250), QUICK, redaction)
    assert {r.judgement.verdict for r in report.results} == {Verdict.NO_EVIDENCE}


def test_the_regimes_of_the_examples(memorizing, generalizing, redaction):
    settings = EntropySettings(samples=96)
    told = {
        name: audit_entropy(model, (), None, settings, redaction).regime
        for name, model in (("memorizing", memorizing), ("generalizing", generalizing))
    }
    assert told["memorizing"].regime is Regime.MEMORIZING
    assert told["memorizing"].entropy.value < 0.05
    assert told["memorizing"].distinct < 60
    assert told["generalizing"].regime is Regime.GENERALIZING
    assert told["generalizing"].distinct == 96


def test_entropy_names_the_same_lines_familiar(memorizing, redaction):
    report = audit_entropy(memorizing, texts("candidates.txt"), texts("heldout.txt"), EntropySettings(), redaction)
    named = {r.candidate.text for r in report.results if r.judgement.verdict is Verdict.FAMILIAR}
    assert named == trained_lines()


def test_without_heldout_text_there_is_no_verdict(memorizing, redaction):
    report = audit_basins(memorizing, texts("candidates.txt", 2), None, QUICK, redaction)
    assert [r.judgement.verdict for r in report.results] == [None, None]
    assert all(r.judgement.p_value is None for r in report.results)


def test_too_few_references_are_inconclusive_and_not_clean(memorizing, redaction):
    report = audit_basins(memorizing, texts("train.txt", 1), texts("heldout.txt", 5), QUICK, redaction)
    judgement = next(iter(report.results)).judgement
    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert "too few" in judgement.reason
    assert judgement.p_value == pytest.approx(1 / (judgement.references + 1))


def test_duplicates_are_measured_once_and_counted_once(memorizing, redaction):
    twice = texts("candidates.txt", 3) + texts("candidates.txt", 1)
    report = audit_basins(memorizing, twice, texts("heldout.txt", 60), QUICK, redaction)
    once = audit_basins(memorizing, twice[:3], texts("heldout.txt", 60), QUICK, redaction)
    assert [r.status for r in report.results] == [Status.MEASURED] * 3 + [Status.DUPLICATE]
    assert list(report.results)[3].duplicate_of == "candidates.txt:1"
    assert (
        list(report.results)[3].judgement == next(iter(report.results)).judgement == next(iter(once.results)).judgement
    )


def test_candidates_among_the_heldout_text_are_left_out_of_it(memorizing, redaction):
    mixed = texts("heldout.txt", 60) + texts("candidates.txt", 3)
    report = audit_basins(memorizing, texts("candidates.txt", 3), mixed, QUICK, redaction)
    assert report.heldout.near_duplicates == 3
    assert report.heldout.too_short > 0
    assert report.heldout.references == 60 - report.heldout.too_short


def test_what_cannot_be_measured_is_a_row_with_a_reason(memorizing, redaction):
    candidates = [
        Candidate("f", 1, "f:1", "In the beginning"),
        Skipped(Candidate("f", 2, "f:2"), "not valid UTF-8 (byte 1 of the line)"),
        Candidate("f", 3, "f:3", "In the beginning God created the heaven and the earth"),
        Candidate("f", 4, "f:4", None, (0, 1, 99)),
    ]
    report = audit_basins(memorizing, candidates, None, QUICK, redaction)
    assert [r.status for r in report.results] == [Status.MEASURED, Status.SKIPPED, Status.MEASURED, Status.SKIPPED]
    assert [r.skip_reason for r in report.results if r.skip_reason] == [
        "not valid UTF-8 (byte 1 of the line)",
        "token 99 is outside the model's vocabulary of 27",
    ]


def test_a_posterior_law_gets_no_verdict_and_no_regime(redaction):
    rows = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 2, 2]]
    model = exact_model(ExactDenoiser(rows, 4, law=Law.POSTERIOR))
    heldout = ids(*([a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(2)))
    report = audit_entropy(model, ids(rows[0]), heldout, EntropySettings(), redaction)
    assert next(iter(report.results)).judgement.verdict is Verdict.INCONCLUSIVE
    assert "leave-one-out law" in next(iter(report.results)).judgement.reason


def test_a_law_that_lies_is_found_out(redaction):
    rows = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 2, 2]]
    liar = ExactDenoiser(rows, 4, law=Law.POSTERIOR)
    network_law = liar.hidden
    liar.law = Law.LEAVE_ONE_OUT
    liar.hidden = lambda tokens, t, context=None: ExactDenoiser(rows, 4, law=Law.POSTERIOR).hidden(tokens, t)
    assert network_law is not liar.hidden
    heldout = ids(*([a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(2)))
    report = audit_entropy(exact_model(liar), ids(rows[0]), heldout, EntropySettings(samples=16), redaction)
    assert next(iter(report.results)).judgement.verdict is Verdict.INCONCLUSIVE
    assert report.regime.regime is None


def test_the_papers_protocol_takes_its_times_one_restart_and_every_grid_step(memorizing, redaction):
    settings = replace(QUICK, protocol="paper")
    probe = settings.probe(memorizing)
    assert probe.times == (0.05, 0.1, 0.25, 0.5, 1.0)
    assert (probe.restarts, probe.sampler.steps, probe.sampler.snap) == (1, 1000, True)
    report = audit_basins(memorizing, texts("train.txt", 2), None, settings, redaction)
    for result in report.results:
        assert [level.restarts for level in result.basin_measurement.levels] == [1] * 5
        # From pure noise nothing of the text is left: that level is no part of the basin.
        assert result.basin.size <= 0.5


def test_shorter_candidates_meet_references_of_their_own_length(memorizing, redaction):
    short = [Candidate("f", 1, "f:1", "quiet zebras vex it")]
    report = audit_entropy(memorizing, short + texts("candidates.txt", 2), texts("heldout.txt", 80), EntropySettings(),
                           redaction)  # fmt: skip
    # The short candidate has a band of its own, in which all 80 are cut to 19 letters; in the other some are too short.
    assert next(iter(report.results)).judgement.references >= 78  # texts that are alike once cut count once
    assert list(report.results)[1].judgement.references == list(report.results)[2].judgement.references < 80
    assert report.heldout.measured == sum(list(report.results)[i].judgement.references for i in (0, 1))
    longer = [Candidate("f", 1, "f:1", "and it came to pass that the fem")]
    report = audit_entropy(memorizing, longer, [Candidate("g", 1, "g:1", "too short")], EntropySettings(), redaction)
    assert next(iter(report.results)).judgement.verdict is Verdict.INCONCLUSIVE
    assert "all are shorter" in next(iter(report.results)).judgement.reason
