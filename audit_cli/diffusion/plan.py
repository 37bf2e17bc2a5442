"""Everything about a thinned ancestral run that needs no network, worked out before it starts.

Which steps of which trajectory need a prediction, and at which positions, follows from the random numbers alone
(`uddm_kernels.jump_events`). So the whole run is laid out as a sequence of full batches on the host, and its index
tensors go to the device at once: between the steps nothing has to be asked back from a GPU.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor
from uddm_kernels import Events, jump_bound, jump_events

from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.denoiser import Denoiser, Law, copy_log_odds
from audit_cli.diffusion.schedules import alpha_at


@dataclass(frozen=True)
class Batch:
    """Trajectories that take a step together, each its own, and the positions among them that may jump.

    `row` are rows of the run, `step` which of its own each takes, `t` their times; an event's `token` is its place in
    the run's flattened tokens, `hidden` its place in the batch's flattened positions; `discount` is there where the
    network's law is a posterior.
    """

    row: Int64[Tensor, " batch"]
    step: Int64[Tensor, " batch"]
    t: Float64[Tensor, " batch"]
    token: Int64[Tensor, " events"]
    hidden: Int64[Tensor, " events"]
    alpha_t: Float64[Tensor, " events"]
    alpha_s: Float64[Tensor, " events"]
    u: Float64[Tensor, " events"]
    v: Float64[Tensor, " events"]
    discount: Float64[Tensor, " events"] | None


@dataclass(frozen=True)
class Plan:
    """The batches of a run, in order, and how many steps each row takes in them."""

    batches: list[Batch]
    evaluations: Int64[Tensor, " rows"]


def planned(
    denoiser: Denoiser,
    starts: Starts,
    grid: Callable[[float], Sequence[float]],
    thin: bool,
    batch_size: int,
    every_step: bool = False,
) -> Plan:
    """The run of `starts` on the times `grid(start)`, at most `batch_size` rows at once.

    Without `thin` every position is an event in every step. With `every_step` each row takes each of its steps, those
    without an event too.
    """
    device = starts.tokens.device
    rows, length = starts.tokens.shape
    times, group = torch.unique(starts.time, return_inverse=True)
    grids = [grid(t) for t in times.tolist()]
    longest = max((len(g) for g in grids), default=1)
    table_t, table_a = (torch.zeros(len(grids), longest, dtype=torch.float64) for _ in range(2))
    for g, points in enumerate(grids):
        table_t[g, : len(points)] = torch.tensor(points, dtype=torch.float64)
        table_a[g, : len(points)] = torch.tensor([alpha_at(denoiser.schedule, t) for t in points], dtype=torch.float64)
    alphas = [table_a[g, : len(points)] for g, points in enumerate(grids)]
    events = _events(starts, group, alphas, thin, denoiser.head.backend)

    # Steps with events, in the order (row, step), and on the host: which of them each row takes, and how many events.
    step_key, count = torch.unique_consecutive(events.row * longest + events.step, return_counts=True)
    if every_step:
        own = torch.tensor([len(g) - 1 for g in grids], dtype=torch.int64)[group.cpu()]
        step_key, count = _with_all(step_key, count, own, longest)
    step_row, step_index = step_key // longest, step_key % longest
    host_count = count.cpu().numpy()
    per_row = torch.bincount(step_row, minlength=rows)
    steps, sizes = _laid_out(per_row.cpu().numpy(), batch_size)
    event_of, place = _unrolled(host_count, steps, sizes)

    taken = torch.from_numpy(steps).to(device)
    row = step_row[taken]
    table_t, table_a = table_t.to(device), table_a.to(device)
    t = table_t[group[row], step_index[taken]]
    event = torch.from_numpy(event_of).to(device)
    at, step, position = events.row[event], events.step[event], events.position[event]
    alpha_t, alpha_s = table_a[group[at], step], table_a[group[at], step + 1]
    discount = copy_log_odds(denoiser, table_t[group[at], step]) if denoiser.law is Law.POSTERIOR else None
    token, hidden = at * length + position, torch.from_numpy(place).to(device) * length + position
    u, v = events.u[event], events.v[event]
    batches = [
        Batch(
            row=row[some],
            step=step_index[taken[some]],
            t=t[some],
            token=token[those],
            hidden=hidden[those],
            alpha_t=alpha_t[those],
            alpha_s=alpha_s[those],
            u=u[those],
            v=v[those],
            discount=None if discount is None else discount[those],
        )
        for some, those in _slices(sizes, host_count[steps])
    ]
    return Plan(batches, per_row)


def _events(starts: Starts, group: Tensor, alphas: list[Tensor], thin: bool, backend: str | None) -> Events:
    """Candidates for a jump of all rows, in the order (row, step, position)."""
    device = starts.tokens.device
    pieces = []
    for g, alpha in enumerate(alphas):
        members = (group == g).nonzero().squeeze(1)
        bound = jump_bound(alpha[:-1], alpha[1:]).to(device)
        found = jump_events(
            starts.key[members],
            starts.stream[members],
            starts.level[members],
            # Without thinning every number is below the bound.
            bound if thin else torch.ones_like(bound),
            starts.free[members],
            backend,
        )
        pieces.append(found._replace(row=members[found.row]))
    columns = [torch.cat(column) for column in zip(*pieces, strict=True)]
    # Those of one (row, step) are contiguous already; a stable sort brings the rows into order.
    order = torch.argsort(columns[0], stable=True)
    return Events(*(column[order] for column in columns))


def _with_all(step_key: Tensor, count: Tensor, steps: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """The steps that have events, and how many, among all `steps` of each row, most of which may have none."""
    row, step = (torch.arange(longest) < steps[:, None]).nonzero(as_tuple=True)
    every = (row * longest + step).to(step_key.device)
    counts = torch.zeros_like(every)
    counts[torch.searchsorted(every, step_key)] = count
    return every, counts


def _laid_out(per_row: np.ndarray, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps (their indices, contiguous for a row) in the order in which they are taken, and the size of each batch.

    A trajectory that ends makes room for the next one, the longest first, so that batches stay full to the end.
    """
    end = per_row.cumsum()
    step = end - per_row
    waiting = np.argsort(-per_row, kind="stable")
    waiting = waiting[per_row[waiting] > 0]
    active = waiting[:0]
    order = []
    while len(waiting) or len(active):
        room = batch_size - len(active)
        active, waiting = np.concatenate([active, waiting[:room]]), waiting[room:]
        order.append(step[active])
        step[active] += 1
        active = active[step[active] < end[active]]
    sizes = np.array([len(steps) for steps in order], dtype=np.int64)
    return np.concatenate(order) if order else np.zeros(0, dtype=np.int64), sizes


def _unrolled(count: np.ndarray, steps: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The events of these steps, whose numbers are `count`, and each event's place in its batch."""
    first = count.cumsum() - count
    those = count[steps]
    place = np.arange(len(steps)) - np.repeat(sizes.cumsum() - sizes, sizes)
    offset = np.arange(those.sum()) - np.repeat(those.cumsum() - those, those)
    return np.repeat(first[steps], those) + offset, np.repeat(place, those)


def _slices(sizes: np.ndarray, events: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """The steps of each batch, and the events of those steps."""
    ends = np.concatenate([[0], events.cumsum()])
    begin = 0
    for size in sizes.tolist():
        yield slice(begin, begin + size), slice(int(ends[begin]), int(ends[begin + size]))
        begin += size
