"""A run laid out before it starts: every step once, in order, in full batches, with its own events."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.plan import _laid_out, _unrolled, planned
from audit_cli.diffusion.samplers import Ancestral, time_grid
from tests.exact import ExactDenoiser

TEXTS = [[0, 1, 2, 3, 4, 0], [4, 3, 2, 1, 0, 0], [1, 1, 2, 2, 3, 3]]


@given(st.lists(st.integers(0, 9), max_size=12), st.integers(1, 7))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_every_step_is_taken_once_in_its_order_and_batches_are_full_while_rows_remain(per_row, batch_size):
    steps, sizes = _laid_out(np.array(per_row, dtype=np.int64), batch_size)
    assert sorted(steps.tolist()) == list(range(sum(per_row)))
    assert sizes.sum() == len(steps) and (len(sizes) == 0 or sizes.max() <= batch_size)
    row_of = np.repeat(np.arange(len(per_row)), per_row)
    left = list(per_row)
    begin = 0
    for size in sizes.tolist():
        rows = row_of[steps[begin : begin + size]].tolist()
        assert len(set(rows)) == size
        # A batch has room only where no trajectory is waiting.
        assert size == min(batch_size, sum(remaining > 0 for remaining in left))
        for row in rows:
            left[row] -= 1
        begin += size
    for row in range(len(per_row)):
        taken = [step for step in steps.tolist() if row_of[step] == row]
        assert taken == sorted(taken)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=10), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_events_follow_their_steps(count, random):
    steps = list(range(len(count)))
    random.shuffle(steps)
    sizes = [len(steps) // 2, len(steps) - len(steps) // 2]
    event, place = _unrolled(np.array(count), np.array(steps), np.array(sizes))
    first = np.cumsum(count) - count
    expected = [
        (first[step] + k, i % sizes[0] if i < sizes[0] else i - sizes[0])
        for i, step in enumerate(steps)
        for k in range(count[step])
    ]
    assert list(zip(event.tolist(), place.tolist(), strict=True)) == [(int(a), int(b)) for a, b in expected]


def test_the_batches_hold_every_candidate_of_the_run_with_its_own_times():
    net = ExactDenoiser(TEXTS, 5)
    starts = corrupted_starts(net, torch.tensor(TEXTS), [0.3, 0.8], range(4), seed=1)
    sampler = Ancestral(steps=12)
    grid = sampler.grid
    plan = planned(net, starts, grid, thin=True, batch_size=7)
    dense = planned(net, starts, grid, thin=False, batch_size=7)
    events = {
        (int(token), float(a)): (float(u), float(v))
        for b in dense.batches
        for token, a, u, v in zip(b.token, b.alpha_t, b.u, b.v, strict=True)
    }
    length = starts.tokens.shape[1]
    kept = 0
    for batch in plan.batches:
        assert len(batch.row) <= 7
        for token, place, a, s, u, v in zip(
            batch.token, batch.hidden, batch.alpha_t, batch.alpha_s, batch.u, batch.v, strict=True
        ):
            row, position = divmod(int(token), length)
            assert int(batch.row[int(place) // length]) == row and int(place) % length == position
            assert events[int(token), float(a)] == (float(u), float(v))
            assert float(u) < float((s - a) / (s * (1 - a)))
            kept += 1
    below = sum(
        float(u) < float((s - a) / (s * (1 - a)))
        for b in dense.batches
        for a, s, u in zip(b.alpha_t, b.alpha_s, b.u, strict=True)
    )
    assert kept == below
    assert torch.equal(dense.evaluations, torch.tensor([len(time_grid(float(t), 12, True)) - 1 for t in starts.time]))


def test_a_plan_of_every_step_has_all_steps_and_the_same_events():
    net = ExactDenoiser(TEXTS, 5)
    starts = corrupted_starts(net, torch.tensor(TEXTS), [0.3, 0.8], range(4), seed=1)
    grid = Ancestral(steps=40).grid
    thin = planned(net, starts, grid, thin=True, batch_size=7)
    every = planned(net, starts, grid, thin=True, batch_size=7, every_step=True)
    taken: dict[int, list[float]] = {}
    for batch in every.batches:
        for row, step, t in zip(batch.row.tolist(), batch.step.tolist(), batch.t.tolist(), strict=True):
            assert grid(float(starts.time[row]))[step] == t
            taken.setdefault(row, []).append(t)
    assert taken == {row: grid(float(t))[:-1] for row, t in enumerate(starts.time)}
    assert int(thin.evaluations.sum()) < int(every.evaluations.sum()) == sum(map(len, taken.values()))
    length = starts.tokens.shape[1]
    events = []
    for plan in (thin, every):
        found = set()
        for batch in plan.batches:
            rows = batch.row[batch.hidden // length]
            assert torch.equal(rows * length + batch.hidden % length, batch.token)
            for numbers in zip(*(x.tolist() for x in (batch.token, batch.alpha_t, batch.u, batch.v)), strict=True):
                found.add(numbers)
        events.append(found)
    assert events[0] == events[1]
