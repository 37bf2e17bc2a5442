"""Whether candidates are of the kind of the held-out text: how often innocent ones are accused, and what is noticed."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.records import Comparability
from audit_cli.verdicts.comparability import (
    FEW,
    MOST_CANDIDATES,
    NEIGHBOURS_NEEDED,
    NOTHING,
    OTHER_WORDS,
    SHIFTED_AUC,
    Compared,
    Fairness,
)
from audit_cli.verdicts.kinds import SHAPES, alike, features, looked_at, shapes, words

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
SHIFTED, COMPARABLE, NOT_CHECKABLE = Comparability.SHIFTED, Comparability.COMPARABLE, Comparability.NOT_CHECKABLE


@cache
def lines(name, length=48):
    """The distinct beginnings of so many characters of the lines that are as long."""
    whole = (EXAMPLES / name).read_text().splitlines()
    return list(dict.fromkeys(line[:length] for line in whole if len(line) >= length))


def secrets(name="secrets.txt"):
    return lines(name, 36)


def compared(texts, group=0):
    return [Compared(text, group) for text in texts]


def fair(candidates, references):
    return Fairness(compared(candidates), compared(references))


def unlike(check, texts):
    return np.array([of.grade is SHIFTED for of in check.grades(compared(texts))])


def drawn(rng, texts, *counts):
    """Disjoint random parts of the texts."""
    order = rng.permutation(len(texts))[: sum(counts)]
    return [[texts[i] for i in part] for part in np.split(order, np.cumsum(counts)[:-1])]


@pytest.mark.parametrize("name", ["kjv.txt", "secrets-heldout.txt"])
def test_innocent_candidates_are_seldom_called_unlike(name):
    """60 audits of 24 candidates against 200 references of the same source: all together at most 1 in 200 is shifted,
    and of the texts 1 in 100 by itself (2 of 201 ranks)."""
    rng = np.random.default_rng(1)
    texts = lines(name) if name == "kjv.txt" else secrets(name)
    audits = [(fair(mine, held), mine) for mine, held in (drawn(rng, texts, 24, 200) for _ in range(60))]
    # Binomial(60, 1/200): more than 2 has probability 3e-3; fixed seed.
    assert sum(check.found.grade is SHIFTED for check, _ in audits) <= 2
    # Binomial(1440, .01): 14.4 expected, the standard deviation is 3.8, more as audits share references.
    assert sum(unlike(check, mine).sum() for check, mine in audits) <= 30


def test_with_few_references_one_innocent_text_in_n_plus_1_is_called_unlike():
    rng = np.random.default_rng(2)
    count = sum(
        unlike(fair(mine, held), mine).sum() for mine, held in (drawn(rng, lines("kjv.txt"), 5, 19) for _ in range(100))
    )
    # 500 texts at 1/20: 25 expected. Texts of an audit share references, so allow twice that.
    assert 0 < count <= 50


def test_variants_of_a_few_texts_are_no_other_kind():
    """15 texts and 12 variants of each of five others, a word replaced, count as 20 that are like the references."""
    rng = np.random.default_rng(3)
    shifted = 0
    for _ in range(40):
        mine, held = drawn(rng, lines("kjv.txt"), 20, 200)
        for text in mine[:5]:
            for k in range(12):
                replaced = text.split()
                replaced[int(rng.integers(len(replaced)))] = f"zeb{k}"
                mine.append(" ".join(replaced))
        shifted += fair(list(dict.fromkeys(mine)), held).found.grade is SHIFTED
    # As often as for texts without variants; without folding them together, in every second audit.
    assert shifted <= 2


def test_heldout_text_that_repeats_itself_makes_candidates_no_stranger():
    rng = np.random.default_rng(4)
    shifted = 0
    for _ in range(30):
        mine, held = drawn(rng, lines("kjv.txt"), 24, 150)
        again = [" ".join([*text.split()[:-2], f"zeb{k}"]) for text in held[:20] for k in range(6)]
        shifted += fair(mine, [*held, *dict.fromkeys(again)]).found.grade is SHIFTED
    assert shifted <= 2


@pytest.mark.slow
@pytest.mark.parametrize(("candidates", "references"), [(20, 100), (100, 200), (200, 400)])
def test_the_rates_hold_in_many_audits(candidates, references):
    rng = np.random.default_rng(5)
    runs, together, alone = 200, 0, 0
    for _ in range(runs):
        mine, held = drawn(rng, lines("kjv.txt"), candidates, references)
        check = fair(mine, held)
        together += check.found.p_value is not None and check.found.grade is SHIFTED
        alone += unlike(check, mine).sum()
    # Binomial(200, 1/200): more than 4 has probability 4e-3; fixed seed.
    assert together <= 4
    assert alone / (runs * candidates) <= 0.015


def test_text_of_the_same_source_is_comparable():
    for mine, held in (("candidates.txt", "heldout.txt"), ("secrets.txt", "secrets-heldout.txt")):
        texts = [(EXAMPLES / name).read_text().splitlines() for name in (mine, held)]
        check = fair(*texts)
        assert check.found.grade is COMPARABLE
        assert check.found.auc < SHIFTED_AUC
        assert not unlike(check, texts[0]).any()


def test_secrets_among_verses_are_unlike_whether_they_are_many_or_one():
    held = lines("kjv.txt")[::60]
    for count in (1, 5, 72):
        check = fair(secrets()[:count], held)
        assert check.found.grade is SHIFTED
        assert check.found.unlike == len(secrets()[:count])
        assert "more digits" in check.found.reason


def test_another_kind_of_prose_is_unlike():
    rng = np.random.default_rng(6)
    glosses, verses = drawn(rng, lines("glosses.txt"), 100)[0], drawn(rng, lines("kjv.txt"), 300)[0]
    check = fair(glosses, verses)
    assert check.found.grade is SHIFTED
    assert check.found.auc > 0.95
    assert check.found.p_value == pytest.approx(1 / 200)
    assert unlike(check, glosses).mean() > 0.9


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_of_a_mixture_the_ordinary_texts_stay_judged(share):
    rng = np.random.default_rng(7)
    ordinary, held = drawn(rng, lines("kjv.txt"), 100 - int(100 * share), 300)
    others = secrets("secrets-heldout.txt")[: int(100 * share)]
    check = fair([*ordinary, *others], held)
    assert unlike(check, others).all()
    # Of a half the bound is that of the classifier, whose share of ordinary texts above it is small but not 1 %.
    assert unlike(check, ordinary).mean() <= 0.1
    assert check.found.grade is (SHIFTED if share == 0.5 else COMPARABLE)


def test_a_text_that_was_not_in_the_sample_is_graded_as_those_in_it():
    rng = np.random.default_rng(8)
    glosses, more = drawn(rng, lines("glosses.txt"), 100, 100)
    verses, others, held = drawn(rng, lines("kjv.txt"), 100, 100, 400)
    check = fair([*glosses, *verses], held)
    assert check.found.grade is SHIFTED
    assert unlike(check, more).mean() > 0.8
    assert unlike(check, others).mean() < 0.2


def test_nothing_depends_on_the_order_of_the_texts_or_on_what_is_asked_together():
    rng = np.random.default_rng(9)
    mine, held = [*lines("glosses.txt")[:30], *lines("kjv.txt")[:30]], lines("kjv.txt")[100:300]
    check, again = fair(mine, held), fair(mine[::-1], [held[i] for i in rng.permutation(len(held))])
    assert check.found == again.found
    graded = check.grades(compared(mine))
    assert graded == again.grades(compared(mine[::-1]))[::-1]
    assert graded == [check.grades([text])[0] for text in compared(mine)]


def test_texts_are_told_apart_within_their_groups_only():
    """Two lengths with other shares among candidates than among references are no difference."""
    rng = np.random.default_rng(10)
    shifted = 0
    for _ in range(20):
        texts = drawn(rng, lines("kjv.txt"), 60, 300)
        of = [
            [Compared(text[:20] if i % k else text[:40], int(i % k > 0)) for i, text in enumerate(some)]
            for some, k in zip(texts, (2, 5), strict=True)
        ]
        shifted += Fairness(*of).found.grade is SHIFTED
    assert shifted <= 1


def test_where_texts_were_cut_leaves_no_trace():
    """Whole verses against longer ones, cut in the middle of a sentence to the same lengths."""
    rng = np.random.default_rng(11)
    verses = (EXAMPLES / "kjv.txt").read_text().splitlines()
    whole = drawn(rng, [verse for verse in verses if 40 <= len(verse) <= 60], 24)[0]
    longer = drawn(rng, [verse for verse in verses if len(verse) > 60], 300)[0]
    cut = [verse[: len(whole[i % len(whole)])] for i, verse in enumerate(longer)]
    assert fair(whole, cut).found.grade is COMPARABLE
    assert looked_at("In the beginning.") == "In the beginnin"


def test_too_few_references_are_not_checkable():
    texts = lines("kjv.txt")[::500]
    few = fair(texts[:3], texts[10 : 10 + NEIGHBOURS_NEEDED - 1])
    assert (few.found.grade, few.found.reason) == (NOT_CHECKABLE, FEW)
    assert few.grades(compared(texts[:1]))[0].grade is NOT_CHECKABLE
    enough = fair(texts[:3], texts[10 : 10 + NEIGHBOURS_NEEDED])
    assert enough.found.grade is COMPARABLE
    assert enough.found.auc is None
    # Nor is a text of a group that has none.
    assert enough.grades([Compared(texts[0], 7)])[0].grade is NOT_CHECKABLE


def test_without_candidates_or_references_there_is_nothing_to_check():
    assert fair([], []).found.reason == NOTHING
    assert fair([], lines("kjv.txt")[:50]).found.grade is NOT_CHECKABLE
    assert fair(lines("kjv.txt")[:50], []).found.grade is NOT_CHECKABLE
    assert fair([], []).grades([]) == []


def test_token_ids_are_words():
    rng = np.random.default_rng(12)
    ordinary = [tuple(row) for row in rng.integers(0, 40, (150, 20)).tolist()]
    others = [tuple(row) for row in rng.integers(1_000, 1_040, (30, 20)).tolist()]
    assert fair(ordinary[:30], ordinary[30:]).found.grade is COMPARABLE
    check = fair(others, ordinary)
    assert (check.found.grade, check.found.reason, check.found.words) == (SHIFTED, OTHER_WORDS, ())


def test_a_word_of_one_candidate_is_never_named_and_no_number_is():
    held = lines("kjv.txt")[::100]
    texts = [f"customer zanzibar{chr(97 + i)}bar owes {i + 10_000} dollars on account {777_000 + i}" for i in range(24)]
    found = fair(texts, held).found
    assert found.grade is SHIFTED
    assert not [word for word in found.words if "zanzibar" in word or not word.isalpha()]
    # All are alike: one text, whatever their number.
    assert found.words == ()
    verses = [f"customer {verse[:30]}" for verse in lines("kjv.txt")[1::700]]
    assert "customer" in fair([*verses, *secrets()], held).found.words


def test_a_reason_holds_nothing_of_a_text():
    texts = [*secrets()[:30], *lines("glosses.txt")[:30]]
    check = fair(texts, lines("kjv.txt")[::60])
    said = {pair for pairs in SHAPES for pair in pairs} | {OTHER_WORDS}
    for of in check.grades(compared(texts)):
        assert set(of.differs.split(", ")) <= said | {""}
    assert not [word for text in texts for word in text.split() if len(word) > 6 and word in check.found.reason]


def test_near_duplicates_are_found_and_their_templates_are_not():
    verse = "And the evening and the morning were the third day of it"
    texts = [verse, verse.replace("third", "fourth"), verse[9:], "And God said, Let there be light: and there was"]
    assert alike(texts).tolist() == [0, 0, 0, 3]
    mails = [text for text in secrets() if "e-mail" in text]
    assert alike(mails).tolist() == list(range(len(mails)))
    assert alike(["a", "b", "a", "", "ab"]).tolist() == [0, 1, 0, 3, 4]


def test_shapes_are_of_the_part_that_is_looked_at():
    row = shapes(["Ab1, é 22 xyz!.,", (5, 6, 7)])
    assert row[0].tolist() == pytest.approx([14, 3 / 14, 1 / 14, 2 / 14, 1 / 14, 11 / 4])
    assert row[1].tolist() == [3, 0, 0, 0, 0, 0]
    assert words("Ab1, Über 22 über a") == {"ab", "über"}


def test_a_word_is_a_feature_wherever_it_stands():
    # "b c" and "c b" in other places: the words are common to both, and so are their letters.
    one, other = features(["xx lamb yy shepherd zz", "qq shepherd ww lamb ee"]).toarray() > 0
    lone = features(["lamb"]).toarray()[0] > 0
    assert (one & other).sum() > lone.sum()


def test_thousands_of_texts_are_looked_at_within_seconds():
    import time

    verses = lines("kjv.txt")
    begun = time.monotonic()
    found = fair(lines("glosses.txt")[:MOST_CANDIDATES], verses[:MOST_CANDIDATES]).found
    # Half a second on an idle machine of two cores.
    assert time.monotonic() - begun < 20
    assert found.candidates == MOST_CANDIDATES


hostile = st.one_of(
    st.text(st.characters(exclude_categories=()), max_size=40),
    st.sampled_from(["", " ", "\0", "\ud800", "word", "\x1b[31m", "\u202e\u200b", "=" * 300, "日本語" * 20]),
    st.lists(st.integers(0, 2**31), max_size=20).map(tuple),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(hostile, max_size=30, unique=True), st.lists(hostile, max_size=12))
def test_any_text_gets_a_grade(mine, held):
    check = fair(mine, [*held, *lines("kjv.txt")[:110]])
    graded = check.grades(compared([*mine, *held]))
    assert len(graded) == len(mine) + len(held)
    for of in graded:
        assert of.grade in (SHIFTED, COMPARABLE, NOT_CHECKABLE)
        of.differs.encode("ascii")
    assert check.found.reason.isprintable()


@settings(max_examples=30, deadline=None)
@given(hostile, st.integers(1, 40))
def test_identical_references_accuse_no_copy_of_them(text, count):
    check = fair([text], [text] * count)
    assert check.found.grade is NOT_CHECKABLE
    assert check.grades(compared([text]))[0].grade is NOT_CHECKABLE
