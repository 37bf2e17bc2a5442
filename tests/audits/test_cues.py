"""Cues: which tokens are known, and which cues ask for nothing."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.audits.cues import Cue, cue_of, parse_cue
from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.records import Candidate, Skipped

LINES = ["in the beginning god created the heaven and the earth", "and the earth was without form and void"]
LETTERS = train_tokenizer("char", LINES, "pad", "letters")
PIECES = train_tokenizer("bpe:290", LINES * 4, "pack", "none")

words = st.text(alphabet="abdeghinortv", min_size=1, max_size=6)
texts = st.lists(words, min_size=1, max_size=6).map(" ".join)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(texts, st.data())
def test_of_characters_each_mark_is_one_and_all_others_stay_where_they_are(text, data):
    whole = LETTERS.encode(text)
    places = data.draw(st.sets(st.integers(0, len(text) - 1)))
    cue = "".join("_" if i in places else c for i, c in enumerate(text))
    assert parse_cue(LETTERS, cue) == tuple(None if i in places else token for i, token in enumerate(whole))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.just(""), texts), min_size=1, max_size=5))
def test_of_word_pieces_each_mark_is_one_and_what_is_between_is_tokenized_by_itself(parts):
    found = parse_cue(PIECES, "_".join(parts))
    assert found.count(None) == len(parts) - 1
    expected = []
    for i, part in enumerate(parts):
        expected += [*([None] if i else []), *PIECES.encode(part)]
    assert list(found) == expected


def test_a_space_beside_an_unknown_character_is_kept_though_the_normalizer_strips_texts():
    assert [token is None for token in parse_cue(LETTERS, "god _ created")] == [i == 4 for i in range(13)]
    assert len(parse_cue(LETTERS, "__god__")) == 7


def test_word_pieces_have_no_stand_in_and_characters_have_a_letter():
    assert PIECES.stand_in() is None
    assert LETTERS.stand_in().isalpha()


def test_a_character_that_is_not_in_the_vocabulary_is_named_alone():
    with pytest.raises(Untokenizable, match="'日' is not in the model's vocabulary") as told:
        parse_cue(LETTERS, "god _ 日")
    assert "god" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "freeze", "level", "reason"),
    [
        ("", False, None, "empty"),
        (" \t", False, 0.5, "empty"),
        ("____", False, None, "uddm-audit generate"),
        ("____", True, None, "uddm-audit generate"),
        ("son of man", False, None, "or give --level"),
        ("son of man", True, None, "write _ for every position that is to be found"),
        ("son of man _ " * 3, False, None, "tokens, and the model takes 32"),
        ("sön of man 1_", False, None, "'1' is not in the model's vocabulary"),
    ],
)
def test_a_cue_by_which_nothing_can_be_retrieved_has_a_reason_without_its_text(memorizing, text, freeze, level, reason):
    found = cue_of(memorizing, Candidate("cue", 1, "cue:1", text), freeze, level)
    assert isinstance(found, Skipped)
    assert reason in found.reason and "son of man" not in found.reason


def test_a_cue_is_a_row_whose_unknown_positions_are_known_by_their_place(memorizing):
    cue = cue_of(memorizing, Candidate("cue", 1, "cue:1", "Son of m_n"), False, None)
    assert isinstance(cue, Cue)
    assert cue.unknown == (8,) and len(cue.row.own) == 10
    assert isinstance(cue_of(memorizing, Candidate("cue", 1, "cue:1", "son of man"), False, 0.2), Cue)
