"""Which positions a corruption destroys."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from audit_cli.diffusion.corruption import Pattern, corrupted_starts, slot_starts
from audit_cli.diffusion.schedules import time_at_level
from tests.exact import TableDenoiser


class Marking(TableDenoiser):
    """Noise is the token 9, which no text has: what was destroyed is seen."""

    def __init__(self):
        super().__init__(2, 2, noise_tokens=[9])
        self.vocab_size = 10


NET = Marking()
texts = st.lists(st.integers(0, 4), min_size=1, max_size=40)


def destroyed(row, levels, pattern, restarts=3, seed=0, free=None):
    """(levels, restarts, length): where noise stands."""
    times = [time_at_level(NET.schedule, level) for level in levels]
    starts = corrupted_starts(NET, torch.tensor([row]), times, range(restarts), seed, free, pattern=pattern)
    return (starts.tokens == 9).view(len(levels), restarts, -1)


@pytest.mark.parametrize("pattern", [Pattern.SPAN, Pattern.PREFIX])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts, st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3), st.data())
def test_a_level_is_one_run_of_that_share_of_the_free_tokens(pattern, row, levels, data):
    free = data.draw(st.lists(st.booleans(), min_size=len(row), max_size=len(row)).filter(any))
    noisy = destroyed(row, levels, pattern, free=torch.tensor([free]))
    where = torch.tensor(free).nonzero().squeeze(1)
    for level, of_level in zip(levels, noisy, strict=True):
        size = max(1, int(level * len(where) + 0.5 + 1e-9))
        for hit in of_level:
            assert not hit[~torch.tensor(free)].any()
            places = hit[where].nonzero().squeeze(1).tolist()
            assert abs(len(places) - size) <= (abs(level * len(where) % 1 - 0.5) < 1e-6)
            assert places == list(range(places[0], places[0] + len(places)))
            assert pattern is Pattern.SPAN or places[-1] == len(where) - 1


@pytest.mark.parametrize("pattern", [Pattern.SPAN, Pattern.PREFIX])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(texts, st.integers(0, 2**40))
def test_a_higher_level_destroys_a_superset(pattern, row, seed):
    low, middle, high = destroyed(row, [0.3, 0.5, 0.9], pattern, 4, seed)
    assert (middle | ~low).all() and (high | ~middle).all()


def test_a_span_begins_everywhere_alike():
    # 4 of 10 tokens: 7 places. Chi-square over 3,500 restarts; p below 1e-4 is the false-alarm rate; fixed seed.
    noisy = destroyed([0] * 10, [0.4], Pattern.SPAN, 3500)[0]
    assert (noisy.sum(1) == 4).all()
    begins = noisy.int().argmax(1).bincount(minlength=7)
    assert len(begins) == 7 and stats.chisquare(begins.numpy()).pvalue > 1e-4


@pytest.mark.parametrize("pattern", [Pattern.SPAN, Pattern.PREFIX])
def test_what_stands_there_is_uniform_noise_and_the_same_under_every_pattern(pattern):
    net = TableDenoiser(5, 2)
    row, times = torch.tensor([[0, 1, 2, 3, 4, 0, 1, 2]]), [time_at_level(net.schedule, 0.5)]
    patterned, uniform = (
        corrupted_starts(net, row, times, range(2000), 3, redraw=False, pattern=p) for p in (pattern, Pattern.UNIFORM)
    )
    both = (patterned.tokens != row) & (uniform.tokens != row)
    assert both.any() and (patterned.tokens[both] == uniform.tokens[both]).all()
    # The sixth of eight stands in every ending of four. Chi-square over five tokens; p below 1e-4 is the false-alarm
    # rate; fixed seed.
    if pattern is Pattern.PREFIX:
        assert stats.chisquare(patterned.tokens[:, 5].bincount(minlength=5).numpy()).pvalue > 1e-4


@pytest.mark.parametrize("pattern", list(Pattern))
def test_company_and_order_change_nothing(pattern):
    net = TableDenoiser(5, 2)
    a, b = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[4, 4, 4, 4, 4]])
    together = corrupted_starts(net, torch.cat([b, a]), [0.2, 0.5], range(3), 7, pattern=pattern)
    alone = corrupted_starts(net, a, [0.5], range(2, 3), 7, pattern=pattern)
    assert torch.equal(together.tokens[11:12], alone.tokens)


def test_a_slot_is_all_noise_and_knows_nothing_of_the_secret():
    net = TableDenoiser(5, 2)
    slot = torch.tensor([[False, True, True, False]])
    rows = torch.tensor([[0, 1, 2, 3], [0, 4, 4, 3]])
    times = torch.tensor([1.0, 0.5], dtype=torch.float64)
    starts = slot_starts(net, rows, slot.expand(2, 4), times, range(1000), 5)
    one, other = starts.tokens.view(2, 1000, 4)
    assert torch.equal(one, other)
    assert (one[:, 0] == 0).all() and (one[:, 3] == 3).all()
    assert starts.time.view(2, 1000)[:, 0].tolist() == [1.0, 0.5]
    # Chi-square over the 25 fillings; p below 1e-4 is the false-alarm rate; fixed seed.
    assert stats.chisquare((5 * one[:, 1] + one[:, 2]).bincount(minlength=25).numpy()).pvalue > 1e-4
    later = slot_starts(net, rows[1:], slot, times[1:], range(7, 9), 5)
    assert torch.equal(later.tokens, other[7:9]) and torch.equal(later.key, starts.key.view(2, 1000, 2)[1, 7:9])
