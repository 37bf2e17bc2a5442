"""The n-gram model that tells how ordinary a text is."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_cli.records import Comparability
from audit_cli.verdicts.comparability import Compared, Fairness
from audit_cli.verdicts.kinds import looked_at
from audit_cli.verdicts.ordinary import BACKOFF, ORDER, Ordinary

TEXTS = ["the lord said unto moses", "and the lord said", "in the beginning was the word", "let there be light"]


def by_counting(learned, text):
    """The same model, one symbol at a time."""
    grams, contexts, symbols = Counter(), Counter(), set()
    for other in learned:
        padded = [""] * (ORDER - 1) + list(looked_at(other))
        for i in range(ORDER - 1, len(padded)):
            symbols.add(padded[i])
            for n in range(1, ORDER + 1):
                grams[(n, *padded[i - n + 1 : i + 1])] += 1
                contexts[(n, *padded[i - n + 1 : i])] += 1
    return grams, contexts, len(symbols) + 1, text


def likelihood(grams, contexts, symbols, text):
    padded, total = [""] * (ORDER - 1) + list(looked_at(text)), 0.0
    for i in range(ORDER - 1, len(padded)):
        p = 1 / symbols
        for n in range(1, ORDER + 1):
            gram = (n, *padded[i - n + 1 : i + 1])
            p = (grams[gram] + BACKOFF * p) / (contexts[gram[:-1]] + BACKOFF)
        total += np.log(p)
    return total / (len(padded) - ORDER + 1)


@pytest.mark.parametrize("text", ["the lord said", "zebra", "light", "x"])
def test_likelihoods_are_those_of_counting(text):
    assert Ordinary(TEXTS).scores([text])[0] == pytest.approx(likelihood(*by_counting(TEXTS, text)))


def test_a_learned_text_is_left_out_of_its_own_model():
    own = np.arange(len(TEXTS))
    alone = [likelihood(*by_counting([t for t in TEXTS if t != text], text)) for text in TEXTS]
    found = Ordinary(TEXTS).scores(TEXTS, own)
    # The number of symbols is of all texts: some letters stand in one text alone.
    assert found == pytest.approx(alone, abs=0.05)
    assert (found < Ordinary(TEXTS).scores(TEXTS)).all()


@given(st.lists(st.text(max_size=20), max_size=6), st.lists(st.text(max_size=20), max_size=6))
def test_any_text_has_a_likelihood(learned, asked):
    found = Ordinary(learned).scores(asked)
    assert np.isfinite(found).all()
    assert (found <= 0).all()


def test_token_ids_are_symbols_too():
    model = Ordinary([(5, 6, 7, 8, 5, 6, 7, 8), (5, 6, 7, 9)])
    known, strange = model.scores([(5, 6, 7, 8), (1, 2, 3, 4)])
    assert known > strange


def lines(rng, count, common):
    """Lines of twelve words, some from a short list and the others from a long one."""
    long = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]
    return [" ".join(rng.choice(long[:20] if rng.random() < common else long) for _ in range(12)) for _ in range(count)]


def test_more_ordinary_candidates_are_shifted_and_like_ones_are_not():
    """Of 60 audits of like candidates 4 or more have a probability of 1 in 500 at the rate of 1 in 100."""
    alarms = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        candidates, references = ([Compared(line, 0) for line in lines(rng, n, 0.5)] for n in (30, 150))
        alarms += Fairness(candidates, references).found.grade is Comparability.SHIFTED
    assert alarms <= 3
    rng = np.random.default_rng(0)
    easy = [Compared(line, 0) for line in lines(rng, 30, 0.85)]
    found = Fairness(easy, [Compared(line, 0) for line in lines(rng, 150, 0.5)]).found
    assert found.grade is Comparability.SHIFTED
    assert found.auc >= 0.65 and found.unlike >= 15
