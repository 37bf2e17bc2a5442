"""Copies of a text with its secret redrawn."""

import string
import tracemalloc
from collections import Counter
from itertools import islice

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.audits import (
    Comparison,
    EntropySettings,
    Journal,
    Slot,
    Watch,
    entropy_audit,
    report_entropy,
    twin_scores,
)
from audit_cli.audits import twins as drawing
from audit_cli.candidates import GivenTexts
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Skipped

ANY_TEXT = st.text(st.characters(), max_size=60)


@pytest.mark.parametrize(
    ("pattern", "text", "redrawn"),
    [
        ("digits", "card 12 pin 3", "12" + "3"),
        ("letters", "aB 3", "aB"),
        ("alphanumeric", "aB 3", "aB3"),
        ("card {} pin {}", "card 12 pin 3", "123"),
        ("card {} pin 3", "card 1-2 pin 3", "12"),
        ("{}", "a 1", "a1"),
        ("mail {}@{}.example", "mail ann@mine.example", "annmine"),
        ("card {}", "no card 12", ""),
        ("card {} pin", "card 12", ""),
        ("digits", "none here", ""),
        ("a{}a", "a", ""),
    ],
)
def test_the_slot(pattern, text, redrawn):
    assert "".join(text[i] for i, _ in Slot(pattern).positions(text)) == redrawn


@pytest.mark.parametrize("pattern", ["", "digit", "card"])
def test_a_pattern_that_is_none_is_refused(pattern):
    with pytest.raises(ValueError, match="neither"):
        Slot(pattern)


@given(ANY_TEXT, st.sampled_from(["digits", "letters", "alphanumeric", "{}", "a{}b{}"]), st.integers(0, 3))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_twins_differ_in_the_slot_only_and_keep_the_kind_of_each_character(text, pattern, seed):
    slot = Slot(pattern)
    where = dict(slot.positions(text))
    twins = list(slot.twins(text, 5, seed))
    assert len(twins) == (5 if where else 0)
    for twin in twins:
        assert len(twin) == len(text)
        for i, (old, new) in enumerate(zip(text, twin, strict=True)):
            assert new in where[i] and old in where[i] if i in where else new == old
    assert twins == list(slot.twins(text, 5, seed))


def test_every_filling_is_as_likely():
    drawn = Counter(Slot().twins("pin 07", 20_000, 1))
    assert len(drawn) == 100
    # Chi-square over the hundred fillings; p below 1e-4 is the false-alarm rate; fixed seed.
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-4


def test_another_seed_or_text_has_other_twins():
    one = list(Slot().twins("card 1234 5678", 3, 0))
    assert one != list(Slot().twins("card 1234 5678", 3, 1))
    assert one != list(Slot().twins("card 1234 5679", 3, 0))
    assert all(set(twin[5:9]) <= set(string.digits) for twin in one)


def test_a_seed_and_a_text_have_the_twins_of_earlier_versions():
    assert list(Slot().twins("card 12 pin Ab3", 3, 7)) == ["card 66 pin Ab6", "card 68 pin Ab3", "card 68 pin Ab6"]


@pytest.mark.parametrize("at_once", [1, 7, 20, 1 << 16])
@pytest.mark.parametrize("pattern", ["digits", "letters", "alphanumeric"])
def test_the_twins_do_not_depend_on_how_many_are_drawn_at_once(monkeypatch, pattern, at_once):
    text = "Card 1234 5678, of Ann"
    whole = list(Slot(pattern).twins(text, 50, 3))
    monkeypatch.setattr(drawing, "DRAWN_AT_ONCE", at_once)
    assert list(Slot(pattern).twins(text, 50, 3)) == whole
    assert list(islice(Slot(pattern).twins(text, 90, 3), 50)) == whole


def test_the_twins_of_a_long_text_do_not_fill_the_memory():
    text = "ab12 " * 30_000
    twins = Slot("{}").twins(text, 100_000, 0)
    tracemalloc.start()
    try:
        assert {len(twin) for twin in islice(twins, 12)} == {len(text)}
        # A hundred thousand twins were 90 GB of numbers.
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


class Noted(Watch):
    """Keeps what is said."""

    def __init__(self):
        self.said = []

    def warn(self, message):
        self.said.append(message)


def audited(model, redaction, texts, twins, slot="letters"):
    watch = Noted()
    settings = EntropySettings(seed=1)
    audit = entropy_audit(model, GivenTexts(texts), Comparison(None, twins, Slot(slot)), settings, watch,
                          Journal(None, b"key"))  # fmt: skip
    report = report_entropy(audit, redaction)
    return report, [result.judgement for result in report.results], watch.said


def test_the_judgement_does_not_depend_on_how_many_twins_are_measured_together(monkeypatch, memorizing, redaction):
    texts = ["and god said let there be light", "the beginning of it all"]
    _, whole, _ = audited(memorizing, redaction, texts, 40)
    monkeypatch.setattr(twin_scores, "TWIN_TOKENS", 64)
    _, parted, _ = audited(memorizing, redaction, texts, 40)
    assert parted == whole
    assert [judgement.references for judgement in whole] == [40, 40]


class WithoutZ(LoadedModel):
    """A model that has no z in its vocabulary."""

    def rows(self, candidate):
        return Skipped(candidate, "no z") if "z" in (candidate.text or "") else super().rows(candidate)


def test_twins_that_the_model_cannot_represent_are_told_of_once(memorizing, redaction):
    model = WithoutZ(memorizing.denoiser, memorizing.tokenizer, memorizing.layout, memorizing.info)
    report, judgements, said = audited(model, redaction, ["in the beginning", "let there be light"], 60)
    few = [message for message in said if "fewer twins" in message]
    assert few == ["2 of 2 texts have fewer twins than asked: the model cannot represent the others"]
    assert few[0] in report.warnings
    assert all(0 < judgement.references < 60 for judgement in judgements)
    _, _, said = audited(memorizing, redaction, ["in the beginning", "let there be light"], 60)
    assert not any("fewer twins" in message for message in said)
