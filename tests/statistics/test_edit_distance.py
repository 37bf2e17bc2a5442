"""Levenshtein's distance, against the table that defines it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.statistics.edit_distance import edit_distance, edit_similarity

rows = st.lists(st.integers(0, 3), max_size=12)


def by_table(a, b):
    above = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (x != y)))
        above = row
    return above[-1]


@settings(max_examples=400, deadline=None, derandomize=True)
@given(rows, rows)
def test_it_is_what_the_table_says(a, b):
    assert edit_distance(a, b) == edit_distance(b, a) == by_table(a, b)
    assert edit_distance([9, *a, 9], [9, *b, 9]) == by_table(a, b)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 30_000), min_size=60, max_size=200), st.data())
def test_columns_longer_than_a_machine_word_are_right_too(a, data):
    b = [data.draw(st.sampled_from([token, token + 1])) for token in a[3:]]
    assert edit_distance(a, b) == by_table(a, b)


@pytest.mark.parametrize(
    ("a", "b", "distance"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("", "", 0), ("abcd", "bcde", 2), ("ab", "ab", 0)],
)
def test_known_distances(a, b, distance):
    assert edit_distance(a, b) == distance


def test_a_shifted_row_is_more_alike_than_its_positions_say():
    row = list(range(10))
    # One token lost at the front and one gained at the end: two edits, though no position agrees.
    assert edit_similarity(row, [*row[1:], 99]) == 0.8
    assert edit_similarity(row, row) == edit_similarity([], []) == 1
    assert edit_similarity([1, 2], [3, 4]) == 0
