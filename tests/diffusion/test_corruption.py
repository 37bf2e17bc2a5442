import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.diffusion.corruption import corrupted_starts, noise_starts
from audit_cli.diffusion.randomness import level_word, sequence_key
from tests.exact import TableDenoiser

NET = TableDenoiser(5, 2)
rows = st.lists(st.integers(0, 4), min_size=2, max_size=40)


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(0, 2**40))
def test_a_higher_level_corrupts_a_superset_with_the_same_tokens(row, seed):
    clean = torch.tensor([row])
    starts = corrupted_starts(NET, clean, [0.1, 0.4, 0.9], range(4), seed, redraw=False)
    noisy = starts.tokens.view(3, 4, -1)
    for low, high in ((0, 1), (1, 2)):
        changed = noisy[low] != clean
        assert torch.equal(noisy[high][changed], noisy[low][changed])


@settings(max_examples=50, deadline=None)
@given(rows, st.integers(0, 2**40))
def test_every_restart_changes_something(row, seed):
    starts = corrupted_starts(NET, torch.tensor([row]), [0.05], range(8), seed)
    assert bool((starts.tokens != starts.clean).any(1).all())


def test_a_text_draws_the_same_numbers_in_any_company():
    a, b = torch.tensor([[0, 1, 2, 3, 4]]), torch.tensor([[4, 4, 4, 4, 4]])
    together = corrupted_starts(NET, torch.cat([b, a]), [0.2, 0.5], range(3), 7)
    alone = corrupted_starts(NET, a, [0.5], range(2, 3), 7)
    # Order (row, time, restart): row 1, time 1, restart 2.
    assert torch.equal(together.tokens[6 + 3 + 2], alone.tokens[0])


def test_frozen_positions_never_change():
    free = torch.tensor([[True, False] * 10])
    starts = corrupted_starts(NET, torch.zeros(1, 20, dtype=torch.int64), [1.0], range(50), 0, free)
    assert bool((starts.tokens[:, 1::2] == 0).all())
    assert bool((starts.tokens[:, ::2] != 0).any())


def test_the_share_of_redrawn_tokens_is_the_level():
    # 20,000 positions at level .5 of a 5-token vocabulary: .4 change; 5 standard errors are .017.
    starts = corrupted_starts(NET, torch.zeros(1, 100, dtype=torch.int64), [0.5 / 0.999], range(200), 0, redraw=False)
    assert abs(float((starts.tokens != 0).double().mean()) - 0.4) < 0.017


def test_noise_rows_depend_on_their_number_only():
    assert torch.equal(noise_starts(NET, 10, 6, 3).tokens[4:], noise_starts(NET, 6, 6, 3, first=4).tokens)


def test_seeds_and_texts_have_keys_of_their_own():
    keys = {sequence_key(seed, ids) for seed in range(3) for ids in ((), (1,), (1, 2), (2, 1))}
    assert len(keys) == 12
    assert level_word(0.25) != level_word(0.250001)
