"""Length bands, how held-out text is cut for them, and which of it is too near to a candidate."""

import itertools
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.verdicts.lengths import RATIO, Band, band_of, bands, near_duplicates, shingle_size

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=30)
TEXT = st.lists(st.integers(0, 60), min_size=0, max_size=320)


@given(LENGTHS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_length_is_in_exactly_one_band_as_often_as_it_occurs(lengths):
    found = bands(lengths)
    assert Counter(n for band in found for n in band.lengths) == Counter(lengths)
    for n in lengths:
        assert [i for i, band in enumerate(found) if n in band.lengths] == [band_of(n, found)]


@given(LENGTHS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_bands_are_narrow_ordered_and_as_few_as_that_allows(lengths):
    found = bands(lengths)
    for band in found:
        assert max(band.lengths) <= RATIO * min(band.lengths)
    for longer, shorter in itertools.pairwise(found):
        assert max(shorter.lengths) * RATIO < max(longer.lengths)


def test_no_lengths_make_no_bands():
    assert bands([]) == []


def test_bands_of_some_lengths():
    # 100 down to 80 are within a quarter of each other; 79 begins the next band, which reaches down to 64.
    assert bands([80, 64, 100, 79, 100]) == [Band((100, 100, 80)), Band((79, 64))]


@given(LENGTHS, TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_text_is_cut_to_a_length_of_the_band_that_it_has(lengths, text):
    for band in bands(lengths):
        cut = band.cut(text)
        if cut is None:
            assert len(text) < min(band.lengths)
        else:
            assert cut in band.lengths
            assert cut <= len(text)
        if len(text) in band.lengths:
            assert cut == len(text)


@given(LENGTHS, TEXT)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_cut_depends_on_nothing_but_the_tokens_and_the_band(lengths, text):
    for band in bands(lengths):
        assert band.cut(tuple(text)) == band.cut(list(text)) == Band(band.lengths).cut(text)


def test_longer_texts_are_cut_to_the_candidates_lengths_in_the_candidates_shares():
    band = Band((20, 20, 20, 17))
    draw = random.Random(1)
    cuts = Counter(band.cut([draw.randrange(50) for _ in range(40)]) for _ in range(2000))
    assert set(cuts) == {20, 17}
    # Binomial(2000, 3/4), 5 standard deviations: false alarm 6e-7; fixed seed.
    assert abs(cuts[20] - 1500) < 5 * (2000 * 0.75 * 0.25) ** 0.5


@pytest.mark.parametrize(("length", "size"), [(1, 8), (8, 8), (10, 8), (11, 9), (12, 9), (128, 96)])
def test_a_long_run_is_three_quarters_of_a_text_and_at_least_eight_tokens(length, size):
    assert shingle_size(length) == size


def shares_a_run(one, other, size):
    """The longest common run by dynamic programming, at least `size` long."""
    longest, previous = 0, [0] * (len(other) + 1)
    for a in one:
        row = [0] * (len(other) + 1)
        for j, b in enumerate(other):
            if a == b:
                row[j + 1] = previous[j] + 1
                longest = max(longest, row[j + 1])
        previous = row
    return longest >= size


FEW = st.lists(st.lists(st.integers(0, 1), min_size=6, max_size=14), max_size=4)


@given(FEW, FEW)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_near_duplicates_are_beginnings_of_candidates_and_texts_with_a_long_common_run(references, candidates):
    expected = set()
    if references and candidates:
        size = max(8, -(-3 * min(map(len, references + candidates)) // 4))
        expected = {
            i for i, r in enumerate(references) if any(c[: len(r)] == r or shares_a_run(r, c, size) for c in candidates)
        }
    assert near_duplicates(references, candidates) == expected


@given(st.integers(0, 8), st.integers(0, 8), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_candidate_hidden_in_a_reference_is_found_and_unrelated_text_is_not(before, after, draw):
    candidate = [draw.randrange(1000) for _ in range(32)]
    kept = candidate[2:28]  # 26 of 32: more than three quarters
    hidden = [draw.randrange(1000, 2000) for _ in range(before)] + kept + [1] * after
    unrelated = [draw.randrange(1000, 2000) for _ in range(32)]
    assert near_duplicates([unrelated, hidden], [candidate]) == {1}
