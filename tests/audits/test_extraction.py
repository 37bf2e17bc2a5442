"""Extraction by a cue, from texts to a report."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import audit_cli
from audit_cli.audits import Comparison, ExtractionSettings, Journal, Slot, Watch, extraction_audit, report_extraction
from audit_cli.candidates import GivenTexts
from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.records import Candidate, Status, Verdict

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
KNOWN = "Son of man, write thee the name"
SLOT = "Son of man, {} thee the name"


def extract(model, texts, **options):
    return list(audit_cli.extract(model, texts, **{"slot": SLOT, "restarts": 16, "twins": 0} | options))


def test_a_word_of_a_training_line_comes_back_and_an_invented_one_does_not(memorizing):
    known, other = extract(memorizing, [KNOWN, KNOWN.replace("write", "quoth")], twins=199)
    assert known.judgement.verdict is Verdict.MEMORIZED and known.returns
    m = known.extraction
    assert (m.slot_tokens, m.restarts, m.rank) == (5, 16, 1)
    assert m.exact >= 12 and m.recovered_share > 0.75
    assert known.judgement.p_value == 1 / 200
    assert other.extraction.exact == 0 and other.extraction.rank is None and other.returns is False
    assert other.judgement.verdict is not Verdict.MEMORIZED
    # The template alone decides what comes back.
    assert m.fillings == other.extraction.fillings and m.most_frequent == other.extraction.most_frequent


def test_the_most_frequent_filling_is_kept_only_where_it_is_asked_for(memorizing):
    (silent,), (told,) = (extract(memorizing, [KNOWN], fillings=f) for f in (False, True))
    assert silent.extraction.filling is None and silent.recovered_text is None
    assert told.recovered_text == "son of man write thee the name"
    assert replace(told.extraction, filling=None) == silent.extraction


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("And now a line without it", "the slot is not in this text"),
        ("Son of man, " + "write " * 9 + "thee the name", "longer than the model"),
        (Candidate(token_ids=(1, 2, 3)), "given as tokens"),
        ("Son of man,  thee the name", "the slot is not in this text"),
    ],
)
@pytest.mark.parametrize("twins", [0, 19])
@pytest.mark.filterwarnings("ignore:with 19 twins", "ignore:1 of 2 texts", "ignore:2 of 2 texts")
def test_a_text_that_does_not_fit_is_skipped_with_its_reason(memorizing, text, reason, twins):
    skipped, measured = extract(memorizing, [text, KNOWN], twins=twins)
    assert skipped.status is Status.SKIPPED and reason in skipped.skip_reason
    assert measured.status is Status.MEASURED


def test_order_batches_and_a_stopped_run_change_nothing(memorizing, redaction, tmp_path):
    texts = [KNOWN, "Son of man, smite thee the name", "Son of man, write thee the game"]
    slot = Slot("Son of man, {} thee the {}")
    quick = ExtractionSettings(cue=slot.pattern, restarts=8)

    def run(some, settings=quick, journal=None):
        against = Comparison(twins=39, slot=slot)
        audit = extraction_audit(memorizing, GivenTexts(some), against, settings, Watch(), journal)
        found = report_extraction(audit, redaction).results
        return {r.candidate.text: (r.extraction, r.judgement.p_value) for r in found}

    whole = run(texts)
    assert run(texts[::-1], replace(quick, batch_size=3)) == whole
    journal = Journal(tmp_path / "j", b"key")
    run(texts[:1], journal=journal)
    assert run(texts, journal=journal) == whole
    journal.close()


def test_characters_become_the_tokens_that_hold_them(memorizing):
    # The normalization drops the apostrophe, so that the tokens after it have another place than their characters.
    text = "Solomon's house"
    assert memorizing.tokenizer.holding(text, range(10, 15)) == tuple(range(9, 14))
    assert memorizing.tokenizer.holding(text, [7]) == ()


TOKENIZERS = [
    train_tokenizer("char", ["abc é 1 2"], "cut", "none"),
    train_tokenizer("bpe:280", ["card 12 é pin 34 ca"] * 9, "cut", "none"),
    train_tokenizer("bpe:280", ["card 12 é pin 34 ca"] * 9, "cut", "letters"),
]


@pytest.mark.parametrize("tokenizer", TOKENIZERS, ids=["char", "bpe", "normalized"])
@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.one_of(st.text(st.characters(), max_size=30), st.text(st.sampled_from("abc é12"), max_size=30)), st.data())
def test_any_text_has_its_tokens_found_or_is_refused(tokenizer, text, data):
    characters = data.draw(st.sets(st.integers(0, max(0, len(text) - 1))))
    try:
        ids = tokenizer.encode(text)
    except Untokenizable:
        with pytest.raises(Untokenizable):
            tokenizer.holding(text, characters)
        return
    places = tokenizer.holding(text, characters)
    assert list(places) == sorted(set(places)) and set(places) <= set(range(len(ids)))
    assert tokenizer.holding(text, ()) == ()
    assert set(places) <= set(tokenizer.holding(text, range(len(text))))


def test_a_token_that_straddles_the_border_of_a_slot_is_free_as_a_whole():
    tokenizer = train_tokenizer("bpe:300", ["card 12 pin 34"] * 50, "cut", "none")
    text = "card 12 pin 34"
    pieces = [tokenizer.piece(i) for i in tokenizer.encode(text)]
    digits = [i for i, _ in Slot().positions(text)]
    places = tokenizer.holding(text, digits)
    free, kept = [pieces[i] for i in places], "".join(p for i, p in enumerate(pieces) if i not in places)
    assert "".join(free) != "1234" and all(any(c.isdigit() for c in piece) for piece in free)
    assert not any(c.isdigit() for c in kept)
