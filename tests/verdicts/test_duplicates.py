"""Which held-out texts are too near to a candidate."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.verdicts.duplicates import LEAST_RUN, NearDuplicates, run_length


def near(heldout, candidates, longest=10_000):
    found = NearDuplicates(heldout, longest)
    for candidate in candidates:
        found.look(candidate)
    return found.found


def longest_common_run(one, other):
    """By dynamic programming."""
    longest, previous = 0, [0] * (len(other) + 1)
    for a in one:
        row = [0] * (len(other) + 1)
        for j, b in enumerate(other):
            if a == b:
                row[j + 1] = previous[j] + 1
                longest = max(longest, row[j + 1])
        previous = row
    return longest


@pytest.mark.parametrize(("tokens", "run"), [(1, 8), (13, 8), (16, 8), (17, 10), (32, 16), (48, 24), (128, 75)])
def test_a_shared_run_is_long_beside_the_text_and_never_below_eight(tokens, run):
    assert run_length(tokens) == run
    assert run == LEAST_RUN or 0.75 * tokens / 1.25 / 1.26 < run <= 0.75 * tokens / 1.25


FEW = st.lists(st.lists(st.integers(0, 1), min_size=1, max_size=24), max_size=4)


@given(FEW, FEW)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_near_duplicates_share_a_run_with_a_candidate_or_begin_with_a_very_short_one(heldout, candidates):
    expected = {
        i
        for i, text in enumerate(heldout)
        for c in candidates
        if (text[: len(c)] == c if len(c) < LEAST_RUN else longest_common_run(text, c) >= run_length(len(c)))
    }
    assert near(heldout, candidates) == expected


@given(st.integers(0, 8), st.integers(0, 8), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_candidate_hidden_in_a_held_out_text_is_found_and_unrelated_text_is_not(before, after, draw):
    candidate = [draw.randrange(1000) for _ in range(32)]
    hidden = [draw.randrange(1000, 2000) for _ in range(before)] + candidate[2:28] + [1] * after
    unrelated = [draw.randrange(1000, 2000) for _ in range(32)]
    assert near([unrelated, hidden], [candidate]) == {1}


def test_of_a_text_longer_than_the_model_a_windows_run_is_enough():
    book = list(range(1000))
    page = list(range(400, 432))
    assert near([page], [book]) == set()
    assert near([page], [book], longest=32) == {0}


def test_tokens_of_any_size_are_told_apart():
    texts = [[2**31 - 1] * 9, [0] * 9, [2**31 - 2] * 9]
    assert near(texts, [[0] * 8]) == {1}
    assert near(texts, [[2**31 - 1] * 8]) == {0}


def test_no_held_out_text_has_no_duplicates():
    assert near([], [[1] * 20]) == set()
    assert near([[1] * 20], []) == set()
    assert near([[1] * 20], [[]]) == set()
