"""The search for the nearest text, against looking at every text."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.statistics.edit_distance import edit_distance, edit_similarity
from audit_cli.statistics.nearest import NEAR, NearestSearch, _Block


def contains(long, short):
    return any(long[i : i + len(short)] == short for i in range(len(long) - len(short) + 1))


def by_looking_at_all(row, texts):
    def worth(i):
        alike = edit_similarity(row, texts[i])
        within = contains(row, texts[i]) or contains(texts[i], row)
        return alike >= NEAR and within, alike, -i

    best = max(range(len(texts)), key=worth)
    return str(best), worth(best)[1], worth(best)[0]


def found_by_searching(rows, texts, cuts=()):
    search = NearestSearch(rows)
    edges = [0, *sorted(cuts), len(texts)]
    for a, b in pairwise(edges):
        search.look(texts[a:b], [str(i) for i in range(a, b)])
    return [(f.id, f.similarity, f.copy) for f in search.found]


@st.composite
def rows_and_texts(draw):
    """Rows of up to 90 tokens, so that words of 64 bits carry, and texts among which are damaged and cut rows."""
    letters = draw(st.sampled_from([1, 3, 40]))
    longest = draw(st.sampled_from([4, 12, 90]))
    row = st.lists(st.integers(0, letters), min_size=1, max_size=longest)
    rows = draw(st.lists(row, min_size=1, max_size=3))
    texts = draw(st.lists(row, min_size=1, max_size=12))
    for base in rows:
        where = draw(st.integers(0, len(base) - 1))
        what = draw(st.sampled_from(["same", "changed", "longer", "cut", "nothing"]))
        made = {
            "same": base,
            "changed": [*base[:where], letters + 1, *base[where + 1 :]],
            "longer": [*base, 0],
            "cut": base[:-1] or base,
            "nothing": [letters + 2],
        }[what]
        texts.insert(draw(st.integers(0, len(texts))), made)
    return rows, texts, draw(st.lists(st.integers(0, len(texts)), max_size=2))


@settings(max_examples=300, deadline=None, derandomize=True)
@given(rows_and_texts())
def test_it_finds_what_looking_at_all_finds_in_whatever_portions_they_come(given):
    rows, texts, cuts = given
    assert found_by_searching(rows, texts, cuts) == [by_looking_at_all(row, texts) for row in rows]


@settings(max_examples=150, deadline=None, derandomize=True)
@given(rows_and_texts())
def test_the_bound_is_never_below_the_similarity_and_distances_are_levenshteins(given):
    rows, texts, _ = given
    block = _Block.of(texts)
    for row in rows:
        every = np.arange(len(texts))
        assert block.distances(np.array(row), every).tolist() == [edit_distance(row, text) for text in texts]
        assert all(block.bounds(np.array(row)) >= [edit_similarity(row, text) for text in texts])


def test_of_equally_near_texts_a_copy_comes_first_then_the_first():
    row = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
    changed, cut = [*row[:-1], 0], row[:-1]
    assert found_by_searching([row], [changed, changed, cut, cut]) == [("2", 0.9, True)]
    assert found_by_searching([row], [changed, changed]) == [("0", 0.9, False)]
    # A copy that is near comes before what is more alike and no copy.
    longer = list(range(30))
    nearer = [*longer[:-1], 77]
    assert found_by_searching([longer], [nearer, longer[:-2]]) == [("1", 1 - 2 / 30, True)]


def test_a_short_text_within_a_long_row_is_no_copy():
    (found,) = found_by_searching([[1, 2, 3, 4, 5, 6, 7, 8]], [[3, 4]])
    assert found == ("0", 0.25, False)


def test_nothing_is_near_an_empty_row_and_no_texts_are_no_answer():
    search = NearestSearch([[], [1]])
    search.look([], [])
    assert search.found == [None, None]
    search.look([[1]], ["a"])
    assert search.found[0] is None and search.found[1].similarity == 1


def test_thousands_of_texts_are_searched_in_full():
    rng = np.random.default_rng(0)
    texts = rng.integers(0, 9, (3000, 20)).tolist()
    rows = rng.integers(0, 9, (2, 20)).tolist()
    assert found_by_searching(rows, texts, [700, 2000]) == [by_looking_at_all(row, texts) for row in rows]
