"""Length bands, and how held-out text is cut for them."""

import itertools
import random
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.verdicts.lengths import RATIO, Band, bands

LENGTHS = st.lists(st.integers(1, 300), min_size=1, max_size=30)
TEXT = st.lists(st.integers(0, 60), min_size=0, max_size=320)


@given(LENGTHS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_length_is_in_exactly_one_band_as_often_as_it_occurs(lengths):
    found = bands(Counter(lengths))
    assert [n for band in found for n in band.counts] == sorted(set(lengths), reverse=True)
    assert {n: count for band in found for n, count in band.counts.items()} == Counter(lengths)


@given(LENGTHS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_bands_are_narrow_ordered_and_as_few_as_that_allows(lengths):
    found = bands(Counter(lengths))
    for band in found:
        assert max(band.counts) <= RATIO * min(band.counts)
    for longer, shorter in itertools.pairwise(found):
        assert max(shorter.counts) * RATIO < max(longer.counts)


def test_no_lengths_make_no_bands():
    assert bands({}) == []


def test_bands_of_some_lengths():
    # 100 down to 80 are within a quarter of each other; 79 begins the next band, which reaches down to 64.
    assert bands({80: 1, 64: 1, 100: 2, 79: 1}) == [Band({100: 2, 80: 1}), Band({79: 1, 64: 1})]


@given(LENGTHS, TEXT)
@settings(max_examples=300, deadline=None, derandomize=True)
def test_a_text_is_cut_to_a_length_of_the_band_that_it_has(lengths, text):
    for band in bands(Counter(lengths)):
        cut = band.cut(text)
        if cut is None:
            assert len(text) < min(band.counts)
        else:
            assert cut in band.counts
            assert cut <= len(text)
        if len(text) in band.counts:
            assert cut == len(text)


@given(LENGTHS, TEXT)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_cut_depends_on_nothing_but_the_tokens_and_the_band(lengths, text):
    for band in bands(Counter(lengths)):
        assert band.cut(tuple(text)) == band.cut(list(text)) == Band(band.counts).cut(text)


def test_longer_texts_are_cut_to_the_candidates_lengths_in_the_candidates_shares():
    band = Band({20: 3, 17: 1})
    draw = random.Random(1)
    cuts = Counter(band.cut([draw.randrange(50) for _ in range(40)]) for _ in range(2000))
    assert set(cuts) == {20, 17}
    # Binomial(2000, 3/4), 5 standard deviations: false alarm 6e-7; fixed seed.
    assert abs(cuts[20] - 1500) < 5 * (2000 * 0.75 * 0.25) ** 0.5
