"""Copies of a text with its secret redrawn."""

import string
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.audits.twins import Slot

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
    twins = slot.twins(text, 5, seed)
    assert len(twins) == (5 if where else 0)
    for twin in twins:
        assert len(twin) == len(text)
        for i, (old, new) in enumerate(zip(text, twin, strict=True)):
            assert new in where[i] and old in where[i] if i in where else new == old
    assert twins == slot.twins(text, 5, seed)


def test_every_filling_is_as_likely():
    drawn = Counter(Slot().twins("pin 07", 20_000, 1))
    assert len(drawn) == 100
    # Chi-square over the hundred fillings; p below 1e-4 is the false-alarm rate; fixed seed.
    assert stats.chisquare(list(drawn.values())).pvalue > 1e-4


def test_another_seed_or_text_has_other_twins():
    one = Slot().twins("card 1234 5678", 3, 0)
    assert one != Slot().twins("card 1234 5678", 3, 1)
    assert one != Slot().twins("card 1234 5679", 3, 0)
    assert all(set(twin[5:9]) <= set(string.digits) for twin in one)
