"""What an audit makes of texts that are unlike the held-out text."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from audit_cli.audits import (
    BasinSettings,
    Comparison,
    EntropySettings,
    audit_basins,
    audit_entropy,
    entropy_audit,
    report_entropy,
)
from audit_cli.audits.plan import plan
from audit_cli.audits.watch import Watch
from audit_cli.candidates import GivenTexts, open_texts
from audit_cli.checkpoints import load_model
from audit_cli.records import Candidate, Comparability, Verdict
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.metadata import metadata
from audit_cli.verdicts import comparability
from audit_cli.verdicts.comparability import FEW
from audit_cli.verdicts.judge import CONSTANT

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SHIFTED, COMPARABLE, NOT_CHECKABLE = Comparability.SHIFTED, Comparability.COMPARABLE, Comparability.NOT_CHECKABLE
SETTINGS = EntropySettings()


class Heard(Watch):
    def __init__(self):
        self.said, self.at = [], []
        self.stages = []

    def stage(self, name, expected):
        self.stages.append(name)

    def warn(self, message):
        self.said.append(message)
        self.at.append(self.stages[-1])


@pytest.fixture(scope="module")
def realistic():
    return load_model(EXAMPLES / "realistic")


def texts(name, step=1):
    return list(open_texts([EXAMPLES / name]))[::step]


def report(model, mine, held, redaction, watch=None, **comparison):
    audit = entropy_audit(model, mine, Comparison(held, **comparison), SETTINGS, watch)
    return report_entropy(audit, redaction)


def grades(found):
    return [result.judgement.comparability for result in found.results]


def verdicts(found):
    return {result.judgement.verdict for result in found.results}


def test_secrets_are_judged_against_secrets(realistic, redaction):
    """As examples/README.md counts: every secret planted 64 times or more is found, and none that never was."""
    found = report(realistic, texts("secrets.txt"), texts("secrets-heldout.txt"), redaction)
    assert found.heldout.fairness.grade is COMPARABLE
    assert set(grades(found)) == {COMPARABLE}
    key = [line.split(",") for line in (EXAMPLES / "secrets-key.csv").read_text().splitlines()[1:]]
    for result, (*_, planted) in zip(found.results, key, strict=True):
        if int(planted) >= 64:
            assert result.judgement.verdict is Verdict.FAMILIAR
        if int(planted) == 0:
            assert result.judgement.verdict is Verdict.NO_EVIDENCE


@pytest.mark.slow
def test_secrets_that_return_are_memorized(realistic, redaction):
    settings = BasinSettings(levels=(0.25,))
    found = audit_basins(realistic, texts("secrets.txt"), texts("secrets-heldout.txt"), settings, redaction)
    assert set(grades(found)) == {COMPARABLE}
    key = [line.split(",") for line in (EXAMPLES / "secrets-key.csv").read_text().splitlines()[1:]]
    planted = [
        int(row[-1]) for row, r in zip(key, found.results, strict=True) if r.judgement.verdict is Verdict.MEMORIZED
    ]
    # 10 of the 12 planted 256 times, or more with dynamics that bring back more.
    assert planted.count(256) >= 10
    assert min(planted) >= 16


def test_secrets_cannot_be_judged_against_verses(realistic, redaction):
    """Cut to the length of the secrets, and where they are too short for that: the reason says what differs."""
    for held, cause in ((texts("kjv.txt", 60), "unlike"), (texts("heldout.txt"), "no held-out text is left")):
        heard = Heard()
        found = report(realistic, texts("secrets.txt"), held, redaction, heard)
        assert found.heldout.fairness.grade is SHIFTED
        assert set(grades(found)) == {SHIFTED}
        assert verdicts(found) == {Verdict.INCONCLUSIVE}
        for result in found.results:
            assert result.judgement.reason.startswith(cause)
            assert "--reference-model, --twins, or --heldout" in result.judgement.reason
            assert result.judgement.q_value is None
        said = [message for message in heard.said if "unlike the held-out text" in message]
        assert said and said[0].startswith("72 of 72 texts") and "more digits" in said[0]
        # Said before anything is measured.
        assert set(heard.at) == {"reading"}


def test_a_single_strange_text_is_told_from_the_others(realistic, redaction):
    held = texts("kjv.txt", 60)
    mine = [*texts("kjv.txt", 5000)[1:], *texts("secrets.txt")[:1]]
    found = report(realistic, mine, held, redaction)
    assert grades(found) == [COMPARABLE] * (len(mine) - 1) + [SHIFTED]
    assert found.heldout.fairness.grade is COMPARABLE
    assert found.heldout.fairness.unlike == 1
    *others, last = found.results
    assert last.judgement.verdict is Verdict.INCONCLUSIVE
    # q is over the texts that can be judged: the stranger makes no room among them.
    alone = report(realistic, mine[:-1], held, redaction)
    assert [r.judgement for r in others] == [r.judgement for r in alone.results]


def test_a_reference_model_or_twins_need_no_like_text(realistic, redaction):
    heard = Heard()
    mine, held = texts("secrets.txt")[:24], texts("kjv.txt", 60)
    found = report(realistic, mine, held, redaction, heard, reference=realistic)
    assert set(grades(found)) == {SHIFTED}
    # The model is its own reference here: all differences are 0, and that is why nothing can be told.
    assert {result.judgement.reason for result in found.results} == {CONSTANT}
    assert any("the reference model tells how hard a text is" in message for message in heard.said)
    found = report(realistic, mine[:2], None, redaction, twins=19)
    assert set(grades(found)) == {Comparability.NOT_NEEDED}
    assert Verdict.INCONCLUSIVE not in verdicts(found)


def test_without_a_comparison_nothing_is_checked(memorizing, redaction):
    found = audit_entropy(memorizing, texts("candidates.txt")[:2], None, SETTINGS, redaction)
    assert grades(found) == [None, None]
    assert found.heldout is None


def test_candidates_of_the_example_are_comparable_and_all_training_lines_familiar(memorizing, redaction):
    found = audit_entropy(memorizing, texts("candidates.txt"), texts("heldout.txt"), SETTINGS, redaction)
    assert set(grades(found)) == {COMPARABLE}
    assert dict(found.counts.verdicts) == {Verdict.FAMILIAR: 16, Verdict.NO_EVIDENCE: 8}


def test_too_few_heldout_texts_are_said_not_to_be_checkable_and_still_judge(memorizing, redaction):
    heard = Heard()
    found = report(memorizing, texts("candidates.txt")[:3], texts("heldout.txt")[:12], redaction, heard)
    assert set(grades(found)) == {NOT_CHECKABLE}
    assert any(FEW in message for message in heard.said)
    assert found.heldout.fairness.reason == FEW


def test_more_texts_than_the_sample_are_all_graded(realistic, redaction, monkeypatch):
    """The others are graded as they pass, whatever their order; what is said of them is of the sample."""
    monkeypatch.setattr("audit_cli.audits.texts.MOST_CANDIDATES", 30)
    held = texts("kjv.txt", 60)
    mine = [*texts("secrets.txt")[:40], *texts("kjv.txt", 900)[1:20]]
    heard = Heard()
    found = report(realistic, mine, held, redaction, heard)
    assert found.heldout.fairness.candidates == 30
    assert set(grades(found)[:40]) == {SHIFTED}
    assert grades(found)[40:].count(COMPARABLE) > 12
    assert any(message.startswith("about ") for message in heard.said)
    assert grades(report(realistic, mine[::-1], held, redaction)) == grades(found)[::-1]


def test_windows_of_long_texts_are_compared_with_windows(memorizing, redaction):
    glosses = [text.text for text in texts("glosses.txt") if len(text.text) > 40 and text.text.isascii()]
    some = [re.sub("[^a-z]+", " ", " ".join(glosses[i * 9 : i * 9 + 2])) for i in range(150)]
    books = [Candidate("f", i, f"f:{i}", text) for i, text in enumerate(some)]
    found = report(memorizing, books[:25], books[25:], redaction)
    assert 100 <= found.heldout.fairness.references == found.heldout.used
    assert found.heldout.fairness.grade is COMPARABLE


def test_token_ids_without_a_tokenizer_are_compared_as_words(realistic, redaction):
    spelled = realistic.tokenizer
    without = replace(realistic, tokenizer=None)

    def tokens(some):
        return [replace(text, text=None, token_ids=spelled.encode(text.text[:40])) for text in some]

    held = tokens(texts("kjv.txt", 60))
    assert set(grades(report(without, tokens(texts("secrets.txt")[:30]), held, redaction))) == {SHIFTED}
    ordinary = report(without, tokens(texts("kjv.txt", 1200)[1:]), held, redaction)
    assert grades(ordinary).count(COMPARABLE) >= len(grades(ordinary)) - 1


def test_a_dry_run_says_it_too(realistic):
    mine = GivenTexts([text.text for text in texts("secrets.txt")[:5]])
    audit = entropy_audit(realistic, mine, Comparison(texts("kjv.txt", 60)), SETTINGS)
    assert any("unlike the held-out text" in warning for warning in plan(audit).warnings)


def test_heldout_text_that_was_trained_on_is_told_of(memorizing, redaction):
    heard = Heard()
    lines = texts("train.txt")[:16]
    found = report(memorizing, lines[:10], [*texts("heldout.txt")[:150], *lines[10:]], redaction, heard)
    assert 4 <= found.heldout.known <= 6
    assert any("as if the model had seen them" in message for message in heard.said)
    clean = report(memorizing, lines[:10], texts("heldout.txt")[:150], redaction)
    assert clean.heldout.known == 0


@pytest.mark.parametrize("show", ShowText)
def test_the_words_of_candidates_are_in_no_metadata(realistic, show):
    found = report(realistic, texts("secrets.txt")[:40], texts("kjv.txt", 60), Redaction(show, b"key"))
    assert found.heldout.fairness.words
    meta = json.loads(metadata(found))
    assert meta["comparability"]["grade"] == "shifted"
    assert meta["comparability"]["auc"] > 0.9
    assert "words" not in meta["comparability"]
    named = [word for word in found.heldout.fairness.words if len(word) > 4]
    said = json.dumps([meta["comparability"], meta["warnings"], [r.judgement.reason for r in found.results]])
    assert named and not [word for word in named if word in said]


def test_the_bounds_are_those_that_are_stated():
    assert (comparability.SHIFTED_AUC, comparability.SHIFTED_P) == (0.65, 0.01)
    assert (comparability.CANDIDATES_NEEDED, comparability.REFERENCES_NEEDED) == (20, 100)
    # So few labellings that only one in 200 audits passes by chance.
    assert 1 / (comparability.LABELLINGS + 1) < comparability.SHIFTED_P
