"""A calibration in the place of the held-out text: the same verdicts, and nothing said that it cannot know."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from audit_cli.audits import (  # fmt: skip
    BasinSettings,
    Comparison,
    EntropySettings,
    Journal,
    basins_audit,
    entropy_audit,
    report_basins,
    report_entropy,
)
from audit_cli.audits.calibrate import Calibrator
from audit_cli.audits.calibrated import NONE_LEFT, OTHER_KEY
from audit_cli.checkpoints.memory import Memory
from audit_cli.records import Candidate, Comparability, Skipped, Verdict
from audit_cli.verdicts.calibration import CalibrationError, parsed
from tests.audits.test_audits import exact_model, ids, texts
from tests.audits.test_stream import Counting
from tests.exact import ExactDenoiser

KEY = b"a key for tests"
QUICK = BasinSettings(levels=(0.1, 0.25), restarts=4)
PROBES = {
    "basins": (basins_audit, report_basins, QUICK),
    "entropy": (entropy_audit, report_entropy, EntropySettings()),
}
LENGTH = 32


@pytest.fixture(scope="module")
def cut(memorizing):
    """Candidates and held-out texts, all of LENGTH tokens."""

    def of(name, count):
        every = ((c, memorizing.token_ids(c)) for c in texts(name, 500))
        long = [(c, ids[:LENGTH]) for c, ids in every if len(ids) >= LENGTH]
        return [replace(c, text=memorizing.tokenizer.decode(ids)) for c, ids in long[:count]]

    return SimpleNamespace(candidates=of("train.txt", 6), heldout=of("heldout.txt", 60))


def calibrated(model, heldout, command="entropy", lengths=None, settings=None, key=KEY, watch=None):
    build, _, own = PROBES[command]
    audit = build(model, (), Comparison(), settings or own, watch or Counting(), Journal(None, key))
    return parsed(Calibrator(audit, heldout, lengths).made().encoded())


def run(model, candidates, comparison, redaction, command="entropy", settings=None, key=KEY):
    build, report, own = PROBES[command]
    watch = Counting()
    made = report(build(model, candidates, comparison, settings or own, watch, Journal(None, key)), redaction)
    return made, watch


def told(report):
    return [
        (r.status, r.judgement and replace(r.judgement, comparability=None), r.entropy, r.basin_measurement)
        for r in report.results
    ]


@pytest.mark.parametrize("command", PROBES)
def test_verdicts_are_those_of_the_heldout_text_itself(memorizing, redaction, cut, command):
    calibration = calibrated(memorizing, cut.heldout, command)
    mine, watch = run(memorizing, cut.candidates, Comparison(calibration=calibration), redaction, command)
    theirs, _ = run(memorizing, cut.candidates, Comparison(cut.heldout), redaction, command)
    assert told(mine) == told(theirs)
    assert {r.judgement.references for r in mine.results} == {60}
    assert mine.counts == theirs.counts
    assert "held-out texts" not in watch.done
    for name in ("given", "measured", "skipped", "duplicates", "near_duplicates", "too_short", "used", "references"):
        assert getattr(mine.heldout, name) == getattr(theirs.heldout, name), name
    assert mine.heldout.median.score == pytest.approx(theirs.heldout.median.score, rel=1e-5)
    assert mine.heldout.best_hundredth.returned == theirs.heldout.best_hundredth.returned
    assert mine.heldout.median.basin == theirs.heldout.median.basin
    assert mine.run.settings["heldout_sha256"] == theirs.run.settings["heldout_sha256"]
    assert mine.run.settings["calibration_sha256"] == calibration.sha256
    assert "calibration_sha256" not in theirs.run.settings


def test_nobody_can_tell_whether_the_kinds_agree(memorizing, redaction, cut):
    comparison = Comparison(calibration=calibrated(memorizing, cut.heldout))
    report, watch = run(memorizing, cut.candidates, comparison, redaction)
    assert {r.judgement.comparability for r in report.results} == {Comparability.NOT_CHECKABLE}
    assert report.heldout.fairness.grade is Comparability.NOT_CHECKABLE
    assert report.heldout.fairness.reason == "the calibration holds no text"
    assert any("the calibration holds no text" in warning for warning in watch.warned)
    assert report.heldout.calibrated


def test_references_that_are_candidates_are_dropped(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout)
    among = [*cut.heldout[:3], *cut.candidates]
    mine, _ = run(memorizing, among, Comparison(calibration=calibration), redaction)
    theirs, _ = run(memorizing, among, Comparison(cut.heldout), redaction)
    near = theirs.heldout.near_duplicates
    assert mine.heldout.near_duplicates == near >= 3
    assert {r.judgement.references for r in mine.results} == {60 - near}
    assert told(mine) == told(theirs)


def test_under_another_key_they_cannot_be_found_and_that_is_said(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout)
    report, watch = run(memorizing, cut.heldout[:3], Comparison(calibration=calibration), redaction, key=b"another")
    assert watch.warned.count(OTHER_KEY) == 1
    assert report.heldout.near_duplicates == 0


def test_where_every_reference_is_a_candidate_nothing_is_judged(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout[:20])
    report, _ = run(memorizing, cut.heldout[:20], Comparison(calibration=calibration), redaction)
    assert {(r.judgement.verdict, r.judgement.reason) for r in report.results} == {(Verdict.INCONCLUSIVE, NONE_LEFT)}
    assert report.heldout.median is None


def test_a_candidate_of_no_bands_length_is_inconclusive_and_the_others_are_judged(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout, lengths=(28, 32))
    candidates = [cut.candidates[0], Candidate("f", 9, "f:9", cut.candidates[1].text[:20])]
    report, watch = run(memorizing, candidates, Comparison(calibration=calibration), redaction)
    first, second = (r.judgement for r in report.results)
    assert first.references == 60
    assert (second.verdict, second.reason, second.references) == (Verdict.INCONCLUSIVE, NONE_LEFT, 0)
    assert any("1 of 2 texts will be inconclusive" in w and "28-32 tokens" in w for w in watch.warned)


def test_bands_cover_the_lengths_asked_for_and_no_more(memorizing, cut):
    facts = calibrated(memorizing, cut.heldout, lengths=(20, 32)).facts
    assert [(b.shortest, b.longest, b.windows) for b in facts.bands] == [(26, 32, False), (20, 25, False)]
    assert {len(b) for b in facts.bands} == {60}
    assert facts.heldout.used == facts.texts == 60


def test_without_lengths_the_ladder_is_that_of_the_heldout_texts(memorizing):
    mixed = texts("heldout.txt", 80)
    facts = calibrated(memorizing, mixed).facts
    lengths = [len(memorizing.token_ids(text)) for text in mixed]
    assert facts.bands[0].longest == min(max(lengths), memorizing.layout.max_length)
    assert min(b.shortest for b in facts.bands) == min(lengths)
    assert any(b.windows for b in facts.bands) == (max(lengths) > memorizing.layout.max_length)


def test_long_texts_are_compared_with_windows_of_long_ones(memorizing, redaction):
    every = [c.text for c in texts("heldout.txt", 120)]
    heldout = [Candidate("h", i, f"h:{i}", " ".join(every[3 * i : 3 * i + 3])) for i in range(30)]
    candidates = [Candidate("f", i, f"f:{i}", " ".join(every[90 + 3 * i : 93 + 3 * i])) for i in range(4)]
    calibration = calibrated(memorizing, heldout, lengths=(60, 200))
    assert [(b.windows, len(b)) for b in calibration.facts.bands] == [(True, 30)]
    mine, _ = run(memorizing, candidates, Comparison(calibration=calibration), redaction)
    theirs, _ = run(memorizing, candidates, Comparison(heldout), redaction)
    assert told(mine) == told(theirs)


@pytest.mark.parametrize(
    ("changed", "said"),
    [({"seed": 1}, "seed (0 there, 1 here)"), ({"t": 0.1, "draws": 2}, "t (1e-05 there, 0.1 here)")],
)
def test_other_settings_are_refused(memorizing, redaction, cut, changed, said):
    calibration = calibrated(memorizing, cut.heldout[:5])
    with pytest.raises(CalibrationError, match="was made for something else") as error:
        run(memorizing, cut.candidates, Comparison(calibration=calibration), redaction,
            settings=replace(EntropySettings(), **changed))  # fmt: skip
    assert said in str(error.value)


def test_settings_that_decide_no_score_may_differ(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout[:30])
    other = EntropySettings(fdr=0.2, samples=8, sample_steps=2, per_token=True, batch_size=3)
    report, _ = run(memorizing, cut.candidates, Comparison(calibration=calibration), redaction, settings=other)
    assert {r.judgement.references for r in report.results if r.origin == "given"} == {30}


def test_another_model_command_or_tool_is_refused_or_said(memorizing, generalizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout[:30])
    with pytest.raises(CalibrationError, match="weights"):
        run(generalizing, cut.candidates, Comparison(calibration=calibration), redaction)
    with pytest.raises(CalibrationError, match="command"):
        run(memorizing, cut.candidates, Comparison(calibration=calibration), redaction, "basins")
    older = replace(calibration, facts=replace(calibration.facts, tool="0.0.1\x1b"))
    _, watch = run(memorizing, cut.candidates, Comparison(calibration=older), redaction)
    assert any("made by uddm-audit 0.0.1" in warning for warning in watch.warned)


def test_a_file_holds_no_text_and_no_plain_hash_of_any(memorizing, cut):
    import hashlib

    content = calibrated(memorizing, cut.heldout).encoded().decode()
    words = {word for text in cut.heldout for word in text.text.split() if len(word) > 5}
    assert not [word for word in words if word in content]
    # Under another key every hash of a run is another.
    other = json.loads(calibrated(memorizing, cut.heldout, key=b"another").encoded())
    assert not {h for m in other["marks"] for h in m["hashes"]} & {
        h for m in json.loads(content)["marks"] for h in m["hashes"]
    }
    assert hashlib.sha256(cut.heldout[0].text.encode()).hexdigest()[:12] not in content


def test_the_same_command_writes_the_same_file(memorizing, cut):
    assert calibrated(memorizing, cut.heldout).encoded() == calibrated(memorizing, cut.heldout[::1]).encoded()


def test_a_stopped_calibration_goes_on(memorizing, cut, tmp_path):
    build, _, settings = PROBES["basins"]
    journal = Journal(tmp_path / "c.json.part", KEY)
    half = build(memorizing, (), Comparison(), settings).task.of_references().evaluations(None) * 30
    with pytest.raises(KeyboardInterrupt):
        Calibrator(build(memorizing, (), Comparison(), settings, Counting(half), journal), cut.heldout).made()
    kept = journal.count()
    assert 0 < kept < 60
    made = Calibrator(build(memorizing, (), Comparison(), settings, Counting(), journal), cut.heldout).made()
    journal.close()
    assert made.encoded() == calibrated(memorizing, cut.heldout, "basins").encoded()


@pytest.mark.parametrize(
    ("heldout", "lengths", "said"),
    [
        ([], None, "no held-out text can be measured"),
        ([Skipped(Candidate("h", 1, "h:1"), "not UTF-8")], None, "no held-out text can be measured"),
        ([Candidate("h", 1, "h:1", "a short text")], (20, 30), "no held-out text is long enough.* 12 tokens"),
        ([Candidate("h", 1, "h:1", "a short text")], (500, 600), "no held-out text is long enough"),
    ],
)
def test_where_there_is_nothing_to_measure_it_is_said(memorizing, heldout, lengths, said):
    with pytest.raises(ValueError, match=said):
        calibrated(memorizing, heldout, lengths=lengths)


def test_a_file_that_nobody_would_read_is_not_begun(memorizing, cut, monkeypatch):
    monkeypatch.setattr("audit_cli.audits.calibrate.SIZE", 1000)
    watch = Counting()
    with pytest.raises(ValueError, match="give the --lengths"):
        calibrated(memorizing, cut.heldout, watch=watch)
    assert watch.done == {}


def test_one_reference_is_kept_and_finds_nothing(memorizing, redaction, cut):
    calibration = calibrated(memorizing, cut.heldout[:1])
    report, watch = run(memorizing, cut.candidates, Comparison(calibration=calibration), redaction)
    assert any("nothing can be found" in warning for warning in watch.warned)
    verdicts = {r.judgement.verdict for r in report.results}
    assert verdicts <= {Verdict.INCONCLUSIVE, Verdict.NO_EVIDENCE, Verdict.RECOVERABLE}


def test_scores_that_are_no_numbers_are_left_out(memorizing, cut, monkeypatch):
    build, _, settings = PROBES["entropy"]
    audit = build(memorizing, (), Comparison(), settings, Counting(), Journal(None, KEY))
    first = []

    def score(self, measured, other):
        first.append(measured)
        return float("nan") if len(first) == 1 else -1.0

    monkeypatch.setattr("audit_cli.audits.measuring.Filed.score", score)
    facts = Calibrator(audit, cut.heldout[:5]).made().facts
    assert (facts.texts, facts.heldout.skipped, facts.heldout.used) == (4, 1, 4)
    monkeypatch.setattr("audit_cli.audits.measuring.Filed.score", lambda *_: float("nan"))
    with pytest.raises(ValueError, match="no held-out text has a score"):
        Calibrator(audit, cut.heldout[:5]).made()


def test_a_network_that_gives_no_numbers_is_told_before_anything_is_measured(memorizing, cut, monkeypatch):
    monkeypatch.setattr("audit_cli.probes.law_check._log_ratio", lambda *_: np.full(4, np.nan))
    watch, model = Counting(), replace(memorizing, memory=Memory())
    with pytest.raises(FloatingPointError, match="not finite"):
        calibrated(model, cut.heldout, watch=watch)
    assert watch.done == {}


def test_constant_scores_are_ties_against_every_finding(redaction):
    """A network that is equally unsure of everything tells nothing of any text."""
    every = [[a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(4)]
    model = exact_model(ExactDenoiser(every, 4))
    calibration = calibrated(model, ids(*every[:40]))
    report, _ = run(model, ids(*every[100:110]), Comparison(calibration=calibration), redaction)
    assert {r.judgement.p_value for r in report.results} == {1.0}
    assert {r.judgement.verdict for r in report.results} == {Verdict.NO_EVIDENCE}


def test_a_calibration_is_a_comparison_of_its_own(memorizing, cut):
    calibration = calibrated(memorizing, cut.heldout[:1])
    for other in ({"heldout": cut.heldout}, {"twins": 9}, {"reference": memorizing}):
        with pytest.raises(ValueError, match="no other comparison"):
            Comparison(calibration=calibration, **other)
