"""Streams of texts: windows, twins, reference models, memory that runs out, runs that were stopped."""

from dataclasses import replace

import pytest
import torch

from audit_cli.audits import (  # fmt: skip
    BasinSettings,
    Comparison,
    EntropySettings,
    Journal,
    Slot,
    audit_entropy,
    basins_audit,
    entropy_audit,
    report_basins,
    report_entropy,
)
from audit_cli.audits.plan import plan
from audit_cli.audits.watch import Watch, WatchedDenoiser
from audit_cli.candidates import CandidateError, GivenTexts, open_texts
from audit_cli.checkpoints.memory import Memory
from audit_cli.records import Candidate, Status, Verdict
from audit_cli.verdicts.judge import NO_TWINS
from tests.audits.test_audits import EXAMPLES, exact_model, ids, texts
from tests.exact import ExactDenoiser

QUICK = BasinSettings(levels=(0.1, 0.25), restarts=8)
TEXTS = [[0, 1, 2, 3], [3, 2, 1, 0], [1, 1, 2, 2]]
EVERY = ids(*([a, b, c, d] for a in range(4) for b in range(4) for c in range(4) for d in range(4)))


class Counting(Watch):
    """Counts evaluations by stage."""

    def __init__(self, stop_after=None):
        self.done, self.warned, self.stop_after, self.name = {}, [], stop_after, ""

    def stage(self, name, evaluations):
        self.name = name

    def advance(self, evaluations):
        self.done[self.name] = self.done.get(self.name, 0) + evaluations
        if self.stop_after is not None and sum(self.done.values()) > self.stop_after:
            raise KeyboardInterrupt

    def warn(self, message):
        self.warned.append(message)


class Evaluations:
    """A denoiser that counts what is really computed."""

    def __init__(self, denoiser, stop_after=None):
        self._denoiser, self.rows, self._stop_after = denoiser, 0, stop_after

    def __getattr__(self, name):
        return getattr(self._denoiser, name)

    def hidden(self, tokens, t, context=None):
        self.rows += len(tokens)
        if self._stop_after is not None and self.rows > self._stop_after:
            raise KeyboardInterrupt
        return self._denoiser.hidden(tokens, t, context)


def told(report):
    """Everything that is said of the texts."""
    return [replace(result, fingerprint="") for result in report.results]


def test_a_run_that_was_stopped_goes_on_to_the_same_result(memorizing, redaction, tmp_path):
    candidates, heldout = texts("candidates.txt"), texts("heldout.txt", 120)
    whole = report_basins(basins_audit(memorizing, candidates, Comparison(heldout), QUICK), redaction)
    spent = []
    for stop_after in (2_000, 4_000, 6_000, None):
        counted = replace(memorizing, denoiser=Evaluations(memorizing.denoiser, stop_after))
        journal = Journal(tmp_path / "out.part", redaction.key)
        audit = basins_audit(counted, candidates, Comparison(heldout), QUICK, journal=journal)
        if stop_after is None:
            assert told(report_basins(audit, redaction)) == told(whole)
        else:
            with pytest.raises(KeyboardInterrupt):
                report_basins(audit, redaction)
        spent.append((journal.count(), counted.denoiser.rows))
        journal.close()
    kept = [count for count, _ in spent]
    assert kept == sorted(kept) and kept[0] > 0
    # The last run did not measure again what the others had filed.
    counted = replace(memorizing, denoiser=Evaluations(memorizing.denoiser), memory=Memory())
    report_basins(basins_audit(counted, candidates, Comparison(heldout), QUICK), redaction)
    assert spent[-1][1] < counted.denoiser.rows


def test_texts_that_were_added_do_not_undo_what_was_measured(memorizing, redaction, tmp_path):
    settings = EntropySettings()
    journal = Journal(tmp_path / "out.part", redaction.key)
    report_entropy(
        entropy_audit(memorizing, texts("candidates.txt", 8), Comparison(), settings, journal=journal), redaction
    )
    counted = replace(memorizing, denoiser=Evaluations(memorizing.denoiser), memory=Memory())
    more = texts("candidates.txt", 9)[::-1]
    report = report_entropy(entropy_audit(counted, more, Comparison(), settings, journal=journal), redaction)
    again = audit_entropy(memorizing, more, None, settings, redaction)
    assert told(report) == told(again)
    # One new text, and the law check on both.
    alone = replace(memorizing, denoiser=Evaluations(memorizing.denoiser), memory=Memory())
    audit_entropy(alone, more, None, settings, redaction)
    assert alone.denoiser.rows - counted.denoiser.rows == 8


def test_a_text_longer_than_the_model_is_audited_by_its_windows(redaction):
    model = exact_model(ExactDenoiser(TEXTS, 4))
    long = ids([2, 2, 2, 2, 0, 1, 2, 3, 2, 2])
    report = audit_entropy(model, long, EVERY, EntropySettings(), redaction)
    (result,) = report.results
    assert (result.tokens, result.windows, result.window_offset) == (10, 3, 4)
    alone = next(iter(audit_entropy(model, ids([0, 1, 2, 3]), None, EntropySettings(), redaction).results))
    assert result.judgement.score == alone.judgement.score
    assert report.counts.measured == 1


def test_windows_cover_a_text_and_the_last_one_ends_with_it(memorizing):
    layout = memorizing.layout
    for tokens in (1, 31, 32, 33, 63, 64, 65, 200):
        offsets = layout.offsets(tokens)
        covered = {i for at in offsets for i in range(at, min(tokens, at + layout.max_length))}
        assert covered == set(range(tokens))
        assert offsets[-1] == max(0, tokens - layout.max_length)
        assert len(offsets) == max(1, -(-tokens // layout.max_length))


def test_long_texts_are_compared_with_one_window_of_each_long_held_out_text(redaction):
    model = exact_model(ExactDenoiser(TEXTS, 4))
    long = ids([0, 1, 2, 3, 3, 2, 1, 0, 1])
    heldout = ids(*([a, b, c, d, b, a] for a in range(4) for b in range(4) for c in range(4) for d in range(4)), [1, 2])
    report = audit_entropy(model, long, heldout, EntropySettings(), redaction)
    assert report.heldout.too_short == 1
    (result,) = report.results
    assert 100 < result.judgement.references <= 256


def test_a_secret_stands_out_among_its_twins_and_a_text_like_any_other_does_not(memorizing, redaction):
    trained, unseen = texts("train.txt", 1)[0], GivenTexts(["and the king said unto his men g"])
    settings = EntropySettings()
    comparison = Comparison(twins=99, slot=Slot("{}"))
    report = report_entropy(entropy_audit(memorizing, [trained], comparison, settings), redaction)
    (result,) = report.results
    assert result.judgement.verdict is Verdict.FAMILIAR
    assert (result.judgement.p_value, result.judgement.references) == (0.01, 99)
    assert result.judgement.recipe == "surprise-among-twins"
    # The twins of a twin: nothing sets it apart.
    twin = Slot("{}").twins(next(iter(unseen)).text, 1, 5)
    report = report_entropy(entropy_audit(memorizing, GivenTexts(twin), comparison, settings), redaction)
    assert next(iter(report.results)).judgement.verdict is Verdict.NO_EVIDENCE


def test_a_text_without_a_slot_cannot_be_judged_by_twins(memorizing, redaction):
    audit = entropy_audit(memorizing, texts("candidates.txt", 2), Comparison(twins=20), EntropySettings())
    for result in report_entropy(audit, redaction).results:
        assert (result.judgement.verdict, result.judgement.reason) == (Verdict.INCONCLUSIVE, NO_TWINS)


def test_twins_survive_an_interruption(memorizing, redaction, tmp_path):
    settings, comparison = EntropySettings(), Comparison(twins=30, slot=Slot("letters"))
    candidates = texts("candidates.txt", 6)
    whole = report_entropy(entropy_audit(memorizing, candidates, comparison, settings), redaction)
    journal = Journal(tmp_path / "o.part", redaction.key)
    stopping = Counting(stop_after=100)
    with pytest.raises(KeyboardInterrupt):
        report_entropy(entropy_audit(memorizing, candidates, comparison, settings, stopping, journal), redaction)
    again = entropy_audit(memorizing, candidates, comparison, settings, journal=journal)
    assert told(report_entropy(again, redaction)) == told(whole)


def test_a_reference_model_turns_the_score_into_a_difference(memorizing, generalizing, redaction):
    candidates, heldout = texts("candidates.txt"), texts("heldout.txt", 120)
    comparison = Comparison(heldout, reference=generalizing)
    report = report_entropy(entropy_audit(memorizing, candidates, comparison, EntropySettings()), redaction)
    under = audit_entropy(generalizing, candidates, None, EntropySettings(), redaction)
    for result, other in zip(report.results, under.results, strict=True):
        expected = other.entropy.surprise_mean - result.entropy.surprise_mean
        assert result.judgement.score == pytest.approx(expected, abs=1e-12)
        assert result.judgement.recipe == "surprise-difference"
    assert report.reference_model == generalizing.info


def test_comparisons_that_contradict_each_other_are_refused():
    with pytest.raises(ValueError, match="twins"):
        Comparison(heldout=[], twins=9)


def test_counts_and_statuses_agree(memorizing, redaction):
    given = [*texts("candidates.txt", 3), *texts("candidates.txt", 1), Candidate("f", 9, "f:9", None, (99,))]
    report = audit_entropy(memorizing, given, texts("heldout.txt", 60), EntropySettings(), redaction)
    statuses = [result.status for result in report.results]
    counts = report.counts
    assert len(report.results) == counts.given == 5
    assert counts.measured == statuses.count(Status.MEASURED) == 3
    assert counts.duplicates == statuses.count(Status.DUPLICATE) == 1
    assert counts.skipped == statuses.count(Status.SKIPPED) == 1
    assert sum(count for _, count in counts.verdicts) == 3


def test_texts_that_change_while_they_are_audited_are_an_error(memorizing, redaction, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("In the beginning\nGod created\n")
    audit = entropy_audit(memorizing, open_texts([path]), Comparison(), EntropySettings())
    report = report_entropy(audit, redaction)
    path.write_text("In the beginninG\nGod created\n")
    with pytest.raises(CandidateError, match="changed"):
        list(report.results)


class Cramped:
    """A network that has memory for three rows."""

    def __init__(self, denoiser, error):
        self.denoiser, self.error, self.calls = denoiser, error, []

    def hidden(self, tokens, t, context=None):
        self.calls.append(len(tokens))
        if len(tokens) > 3:
            raise self.error
        return self.denoiser.hidden(tokens, t, context)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_where_memory_runs_out_fewer_rows_are_taken_at_once(error):
    exact = ExactDenoiser(TEXTS, 4)
    cramped, watch = Cramped(exact, error), Counting()
    denoiser = WatchedDenoiser(cramped, watch)
    tokens, t = torch.randint(4, (10, 4)), torch.linspace(0.1, 0.9, 10, dtype=torch.float64)
    assert torch.equal(denoiser.hidden(tokens, t), exact.hidden(tokens, t))
    assert cramped.calls == [10, 5, 2, 2, 2, 2, 2]
    denoiser.hidden(tokens, t)
    assert max(cramped.calls[7:]) == 2
    assert len(watch.warned) == 2 and sum(watch.done.values()) == 20


def test_other_errors_are_not_taken_for_a_lack_of_memory():
    denoiser = WatchedDenoiser(Cramped(ExactDenoiser(TEXTS, 4), RuntimeError("broken")), Watch())
    with pytest.raises(RuntimeError, match="broken"):
        denoiser.hidden(torch.zeros(5, 4, dtype=torch.int64), torch.full((5,), 0.5, dtype=torch.float64))


def test_a_plan_counts_what_a_run_then_takes(memorizing, redaction):
    candidates, heldout = texts("candidates.txt"), open_texts([EXAMPLES / "heldout.txt"])
    audit = entropy_audit(memorizing, candidates, Comparison(heldout), EntropySettings())
    planned = plan(audit)
    assert (planned.given, planned.distinct, planned.skipped) == (24, 24, 0)
    assert planned.seconds > 0 and planned.peak_bytes > 1e8
    report = audit_entropy(memorizing, candidates, heldout, EntropySettings(), redaction)
    assert planned.evaluations == report.run.evaluations


def test_ids_of_any_characters_survive(memorizing, redaction):
    names = ["\ud800", "", "\0", "‮x", "a" * 5000]
    given = [Candidate("f", i, name, "In the beginning") for i, name in enumerate(names, 1)]
    results = list(audit_entropy(memorizing, given, None, EntropySettings(), redaction).results)
    assert [result.candidate.id for result in results] == names
    assert {result.duplicate_of for result in results[1:]} == {"\ud800"}
