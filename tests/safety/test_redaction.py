"""What may be shown of a text: masks, fingerprints, and nothing."""

import hashlib
import hmac
import itertools
import string
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.redaction import FINGERPRINT_HEX, Redaction, ShowText, masked

ANY_TEXT = st.text(st.characters())
KEY = b"a key of thirty-two bytes, or so"


def runs_of_letters(text):
    """Positions of the letters of each maximal run; marks (accents, vowel signs) do not end a run."""
    kinds = itertools.groupby(range(len(text)), lambda i: unicodedata.category(text[i])[0] in "LM")
    return [[i for i in run if unicodedata.category(text[i])[0] == "L"] for is_run, run in kinds if is_run]


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_mask_changes_characters_to_stars_and_nothing_else(text):
    shown = masked(text)
    assert len(shown) == len(text)
    assert all(after in (before, "*") for before, after in zip(text, shown, strict=True))


@given(ANY_TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_mask_shows_no_decimal_digit(text):
    assert not any(c.isdecimal() for c in masked(text))


@pytest.mark.parametrize("text", ["1234 5678", "٤٣٢١", "１２３４", "𝟙𝟚𝟛", "x²³", "①②③④", "4①1②3③", "Ⅷ½"])
def test_a_mask_shows_no_digit_of_any_kind(text):
    assert not any(unicodedata.category(c)[0] == "N" for c in masked(text))


@given(st.text(st.characters(categories=("L", "Zs", "P", "N"))))
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_mask_shows_at_most_two_letters_of_a_run(text):
    shown = masked(text)
    for run in runs_of_letters(text):
        assert [shown[i] for i in run[:2]] + ["*"] * len(run[2:]) == [shown[i] for i in run]


@pytest.mark.parametrize("text", ["cafe\u0301s", "e\u0301te\u0301s", "हिन्दी", "ภาษาไทยที่นี่", "שָׁלוֹם"])
def test_an_accent_or_vowel_sign_does_not_begin_a_new_word(text):
    shown = masked(text)
    assert sum(unicodedata.category(c)[0] == "L" for c in shown) <= 2 * len(runs_of_letters(text))


@pytest.mark.parametrize("secret", ["a1b2c3d4", "sk4Tb9xQ7m", "GB29NWBK6016"])
def test_a_word_of_letters_and_digits_shows_two_letters_at_most(secret):
    assert sum(c.isalpha() for c in masked(secret)) <= 2


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("card 4242", "ca** ****"),
        ("mr john o", "mr jo** o"),
        ('{"iden": 7}', '{"id**": *}'),
        ("Grüße", "Gr***"),
        ("", ""),
        ("a-b", "a-b"),
    ],
)
def test_masks_of_some_texts(text, shown):
    assert masked(text) == shown


@pytest.mark.parametrize("show", [ShowText.FINGERPRINT, ShowText.EXCERPT, ShowText.FULL])
def test_a_fingerprint_is_an_hmac_under_the_key(show):
    expected = hmac.new(KEY, "text\0geheim ü".encode(), hashlib.sha256).hexdigest()[:FINGERPRINT_HEX]
    assert Redaction(show, KEY).fingerprint("geheim ü", None) == expected
    assert len(expected) == 16


@given(ANY_TEXT, st.binary(min_size=1, max_size=40), st.binary(min_size=1, max_size=40))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_fingerprint_depends_on_the_key_and_on_nothing_but_key_and_text(text, key, other):
    one = Redaction(ShowText.FINGERPRINT, key).fingerprint(text, None)
    assert one == Redaction(ShowText.FULL, key).fingerprint(text, (1, 2, 3))
    assert set(one) <= set(string.hexdigits)
    if key.ljust(64, b"\0") != other.ljust(64, b"\0"):  # HMAC pads keys with zeros to a block
        assert one != Redaction(ShowText.FINGERPRINT, other).fingerprint(text, None)


@given(ANY_TEXT, ANY_TEXT)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_different_texts_have_different_fingerprints(one, other):
    of = Redaction(ShowText.FINGERPRINT, KEY).fingerprint
    assert (of(one, None) == of(other, None)) == (one == other)


def test_token_ids_have_fingerprints_of_their_own():
    of = Redaction(ShowText.FINGERPRINT, KEY).fingerprint
    marks = [of(None, (1, 23)), of(None, (12, 3)), of(None, (1, 2, 3)), of(None, ()), of("1,23", None), of("", None)]
    assert len(set(marks)) == len(marks)


def test_under_none_there_is_neither_a_fingerprint_nor_text():
    nothing = Redaction(ShowText.NONE, KEY)
    assert nothing.fingerprint("secret", None) == ""
    assert nothing.fingerprint(None, (1, 2)) == ""
    assert nothing.text("secret") == ""


def test_each_setting_shows_as_much_as_its_name_says():
    shown = {show: Redaction(show, KEY).text("my card 4242") for show in ShowText}
    assert shown == {
        ShowText.NONE: "",
        ShowText.FINGERPRINT: "",
        ShowText.EXCERPT: "my ca** ****",
        ShowText.FULL: "my card 4242",
    }


@pytest.mark.parametrize("show", ShowText)
def test_a_candidate_without_text_shows_none(show):
    assert Redaction(show, KEY).text(None) == ""
