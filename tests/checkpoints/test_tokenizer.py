import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from audit_cli.checkpoints import Untokenizable
from audit_cli.checkpoints.loaded import Layout
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer, train_tokenizer
from audit_cli.records import Candidate

CHAR = train_tokenizer("char", ["hello world"], "cut", "none")
BPE = train_tokenizer("bpe:300", ["the cat sat on the mat"] * 20, "cut", "none")
LETTERS = train_tokenizer("char", ["the quick brown fox jumps over the lazy dog"], "cut", "letters")


@given(st.text(alphabet="helo wrd"))
def test_characters_survive_the_round_trip(text):
    assert CHAR.decode(CHAR.encode(text)) == text


@given(st.text(st.characters(codec="utf-8")))
def test_byte_level_bpe_takes_every_text(text):
    assert BPE.decode(BPE.encode(text)) == text


@given(st.text())
def test_a_text_is_represented_in_full_or_refused(text):
    try:
        assert CHAR.decode(CHAR.encode(text)) == text
    except Untokenizable as error:
        # The message holds one character of the text at most.
        assert (
            sum(c in str(error) for c in set(text) - set("is not in the model's vocabulary\\xuU0123456789abcdef")) <= 1
        )


def test_letters_are_lower_case_without_accents_and_marks():
    assert LETTERS.decode(LETTERS.encode("  The QUICK, brown—fox's naïve ")) == "the quick brown foxs naive"
    with pytest.raises(Untokenizable, match="'日'"):
        LETTERS.encode("the 日")
    with pytest.raises(Untokenizable, match="'7'"):
        LETTERS.encode("fox 7")


def test_a_text_that_spells_a_special_token_is_a_text():
    padded = train_tokenizer("char", ["[PAD] abc"], "pad", "none")
    assert padded.id_of("[PAD]") not in padded.encode("a[PAD]b")
    assert len(padded.encode("a[PAD]b")) == 7


def test_the_hash_does_not_depend_on_the_files_layout(tmp_path):
    (tmp_path / "tokenizer.json").write_text(CHAR.to_json().replace("\n", "").replace("  ", " "))
    assert load_tokenizer(tmp_path).sha256() == CHAR.sha256()
    assert BPE.sha256() != CHAR.sha256()


@pytest.mark.parametrize("kind", ["word", "bpe:", "bpe:10", "bpe:99999999999", "bpe:-5"])
def test_an_unknown_kind_is_refused(kind):
    with pytest.raises(ValueError, match=r"tokenizer|vocabulary"):
        train_tokenizer(kind, ["abc"], "cut", "none")


def test_padding_is_not_the_candidates_own():
    row = Layout(6, pad_id=0).place(Candidate("f", 1, "f:1", "abc"), (4, 5))
    assert row.tokens == (4, 5, 0, 0, 0, 0)
    assert row.own == (4, 5)


def test_the_character_at_fault_is_named_and_not_a_letter_of_a_known_word():
    """A vocabulary of words: none of their letters is in it."""
    words = Tokenizer(models.WordPiece({"[UNK]": 0, "the": 1, "cat": 2, "##s": 3}, unk_token="[UNK]"))  # noqa: S106
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    for text, told in (("the cat ☃ cats", "'☃' is not"), ("the ☃cat", "'☃' is not"), ("the cow", "'c' is not")):
        with pytest.raises(Untokenizable, match=told):
            TextTokenizer(words).encode(text)
