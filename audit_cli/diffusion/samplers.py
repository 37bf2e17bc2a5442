"""The reverse process: from noisy rows back to clean ones, under four dynamics (a fifth is in `entropy_bound`).

`Ancestral` samples the published posterior; `Attractor` iterates x <- argmax to a fixed point, the Hopfield-like
dynamics; `OneShot` is one argmax; `PosteriorArgmax` takes the most probable token of each posterior, the paper's
"deterministic" option, which moves nothing until the last steps.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from jaxtyping import Int64
from torch import Tensor
from uddm_kernels import jump_bound, keyed_uniforms, uniform_step

from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.denoiser import Denoiser, Law, copy_log_odds, predict
from audit_cli.diffusion.schedules import T_MIN, alpha_at

# Random numbers drawn at once, and positions whose statistics are held at once.
NUMBERS_AT_ONCE = 1 << 18


@dataclass(frozen=True)
class Outcome:
    """Where trajectories ended, and how often the network was evaluated for each."""

    tokens: Int64[Tensor, "rows length"]
    evaluations: Int64[Tensor, " rows"]


class Sampler(Protocol):
    """A dynamics: `run` takes rows at their times to time 0, at most `batch_size` sequences in a forward pass."""

    name: ClassVar[str]

    def evaluations(self, start: float) -> int:
        """At most how many network evaluations a row from time `start` takes; a guess where that is open."""
        ...

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome: ...


def time_grid(start: float, steps: int, noise_removal: bool, snap: bool = False) -> list[float]:
    """Times from `start` to T_MIN on the grid of `steps` steps over [T_MIN, 1], then 0 with noise removal.

    The level's own time is the first point, so that few steps suffice; `snap` starts from the smallest grid time
    that is not before it instead, as the paper's code does.
    """
    grid = torch.linspace(1.0, T_MIN, steps + 1, dtype=torch.float64).tolist()
    if snap:
        times = grid[max(0, sum(t >= start for t in grid) - 1) :]
    else:
        times = [start, *(t for t in grid if t < start - 1e-9)]
    return [*times, 0.0] if noise_removal else times


@dataclass(frozen=True)
class Ancestral:
    """The ancestral sampler, thinned exactly: no prediction is made where no number asks for one.

    Since a jump's probability is bounded without the network (`uddm_kernels.uniform_step`) and the numbers are
    keyed, all candidates for a jump are known before a trajectory starts. A step of a sequence without candidates
    costs nothing; in the others the head sees the candidates' rows only. Trajectories run each at their own time,
    so that the batch is always full. `thin=False` computes everything, with the same result.
    """

    steps: int = 16
    noise_removal: bool = True
    snap: bool = False
    thin: bool = True
    name: ClassVar[str] = "ancestral"

    def evaluations(self, start: float) -> int:
        return len(time_grid(start, self.steps, self.noise_removal, self.snap)) - 1

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        plan = _Plan.of(denoiser, starts, self)
        posterior = denoiser.law is Law.POSTERIOR
        tokens = starts.tokens.clone()
        step = plan.first.clone()
        while True:
            rows = (step < plan.end).nonzero().squeeze(1)[:batch_size]
            if not rows.numel():
                break
            current = step[rows]
            t, alpha_t, alpha_s = plan.time[current], plan.alpha_t[current], plan.alpha_s[current]
            hidden = denoiser.hidden(tokens[rows], t)
            which, event = plan.events_of(current)
            position = plan.position[event]
            row = rows[which]
            # A posterior law is divided by what x_t says of itself: the step is then the leave-one-out law's.
            discount = copy_log_odds(denoiser, t)[which] if posterior else None
            tokens[row, position] = uniform_step(
                hidden[which, position],
                denoiser.head,
                tokens[row, position],
                alpha_t[which],
                alpha_s[which],
                plan.u[event],
                plan.v[event],
                denoiser.noise_tokens,
                discount=discount,
            )
            step[rows] += 1
        return Outcome(tokens, plan.end - plan.first)


@dataclass(frozen=True)
class _Plan:
    """Which steps of which trajectory need the network, and for which positions.

    Steps of one trajectory are contiguous, from `first` to `end`; the events of a step from `event_start`, in count
    `event_count`.
    """

    first: Tensor
    end: Tensor
    time: Tensor
    alpha_t: Tensor
    alpha_s: Tensor
    event_start: Tensor
    event_count: Tensor
    position: Tensor
    u: Tensor
    v: Tensor

    @classmethod
    def of(cls, denoiser: Denoiser, starts: Starts, sampler: Ancestral) -> "_Plan":
        device = starts.tokens.device
        rows, length = starts.tokens.shape
        times, group = torch.unique(starts.time, return_inverse=True)
        grids = [time_grid(t, sampler.steps, sampler.noise_removal, sampler.snap) for t in times.tolist()]
        alphas = [torch.tensor([alpha_at(denoiser.schedule, t) for t in g], dtype=torch.float64) for g in grids]
        bounds = [jump_bound(a[:-1], a[1:]).to(device) for a in alphas]
        pieces = []
        for g, bound in enumerate(bounds):
            members = (group == g).nonzero().squeeze(1)
            at_once = max(1, NUMBERS_AT_ONCE // (len(bound) * length))
            pieces += [
                _events(starts, some, bound, g, sampler.thin and denoiser.stateless) for some in members.split(at_once)
            ]
        row, of_group, k, position, u, v = (torch.cat(column) for column in zip(*pieces, strict=True))
        # Events of one (row, step) are contiguous already; a stable sort brings the rows into order.
        order = torch.argsort(row, stable=True)
        row, of_group, k, position, u, v = (c[order] for c in (row, of_group, k, position, u, v))
        longest = max(len(g) for g in grids)
        _, counts = torch.unique_consecutive(row * longest + k, return_counts=True)
        start = counts.cumsum(0) - counts
        step_row, step_group, step_k = row[start], of_group[start], k[start]
        table_t, table_a = (torch.zeros(len(grids), longest, dtype=torch.float64, device=device) for _ in range(2))
        for g, (grid, alpha) in enumerate(zip(grids, alphas, strict=True)):
            table_t[g, : len(grid)] = torch.tensor(grid, dtype=torch.float64)
            table_a[g, : len(grid)] = alpha
        per_row = torch.bincount(step_row, minlength=rows)
        end = per_row.cumsum(0)
        return cls(
            first=end - per_row,
            end=end,
            time=table_t[step_group, step_k],
            alpha_t=table_a[step_group, step_k],
            alpha_s=table_a[step_group, step_k + 1],
            event_start=start,
            event_count=counts,
            position=position,
            u=u,
            v=v,
        )

    def events_of(self, steps: Tensor) -> tuple[Tensor, Tensor]:
        """For each event of the given steps: the index of its step among them, and its own index."""
        count = self.event_count[steps]
        which = torch.arange(len(steps), device=steps.device).repeat_interleave(count)
        offset = torch.arange(len(which), device=steps.device) - (count.cumsum(0) - count)[which]
        return which, self.event_start[steps][which] + offset


def _events(starts: Starts, rows: Tensor, bound: Tensor, group: int, thin: bool) -> tuple[Tensor, ...]:
    """Row, group, step, position, u and v of every candidate for a jump, in the order (row, step, position)."""
    device = starts.tokens.device
    length = starts.tokens.shape[1]
    u, v = keyed_uniforms(
        starts.key[rows][:, None, None, :],
        starts.stream[rows][:, None, None],
        starts.level[rows][:, None, None],
        torch.arange(len(bound), device=device)[:, None],
        torch.arange(length, device=device),
    )
    candidate = u < bound[:, None] if thin else torch.ones_like(u, dtype=torch.bool)
    index, k, position = (candidate & starts.free[rows][:, None, :]).nonzero(as_tuple=True)
    return rows[index], torch.full_like(index, group), k, position, u[index, k, position], v[index, k, position]


@dataclass(frozen=True)
class Attractor:
    """x <- argmax x̂ at all free positions at once, to a fixed point, a cycle of two, or `max_iterations`.

    The first prediction is made at the row's own time, the others at T_MIN, where the map no longer changes. Under a
    posterior law every text is a fixed point there: it needs the leave-one-out law.
    """

    max_iterations: int = 64
    name: ClassVar[str] = "attractor"

    def evaluations(self, start: float) -> int:
        return 4

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        if denoiser.law is not Law.LEAVE_ONE_OUT:
            raise ValueError(f"the attractor dynamics needs a leave-one-out law, and this network's is {denoiser.law}")
        tokens = starts.tokens.clone()
        before = torch.full_like(tokens, -1)
        evaluations = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
        time = starts.time.clone()
        moving = torch.arange(tokens.shape[0], device=tokens.device)
        for _ in range(self.max_iterations):
            evaluations[moving] += 1
            new = _argmax(denoiser, tokens, starts.free, time, moving, batch_size)
            at_fixed_map = time[moving] == T_MIN
            settled = (new == tokens[moving]).all(dim=1) | (new == before[moving]).all(dim=1)
            # A state before the map stood still is no part of a cycle.
            before[moving] = torch.where(at_fixed_map[:, None], tokens[moving], -1)
            tokens[moving] = new
            time[moving] = T_MIN
            moving = moving[~(settled & at_fixed_map)]
            if not moving.numel():
                break
        return Outcome(tokens, evaluations)


@dataclass(frozen=True)
class OneShot:
    """x <- argmax x̂, once, at the row's own time."""

    name: ClassVar[str] = "one-shot"

    def evaluations(self, start: float) -> int:
        return 1

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        rows = torch.arange(starts.tokens.shape[0], device=starts.tokens.device)
        tokens = _argmax(denoiser, starts.tokens, starts.free, starts.time, rows, batch_size)
        return Outcome(tokens, torch.ones_like(rows))


def _argmax(denoiser: Denoiser, tokens: Tensor, free: Tensor, time: Tensor, rows: Tensor, batch_size: int) -> Tensor:
    """The most probable token at every free position of `rows`."""
    parts = [
        torch.where(
            free[part], predict(denoiser, tokens[part], time[part]).top_token.view_as(tokens[part]), tokens[part]
        )
        for part in rows.split(batch_size)
    ]
    return torch.cat(parts)


@dataclass(frozen=True)
class PosteriorArgmax:
    """The most probable token of every posterior, on the ancestral sampler's grid (the paper's "deterministic")."""

    steps: int = 16
    noise_removal: bool = True
    snap: bool = False
    name: ClassVar[str] = "posterior-argmax"

    def evaluations(self, start: float) -> int:
        return len(time_grid(start, self.steps, self.noise_removal, self.snap)) - 1

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        tokens = starts.tokens.clone()
        evaluations = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
        for time in torch.unique(starts.time).tolist():
            rows = (starts.time == time).nonzero().squeeze(1)
            grid = time_grid(time, self.steps, self.noise_removal, self.snap)
            for t, s in pairwise(grid):
                for part in rows.split(batch_size):
                    tokens[part] = self._step(denoiser, tokens[part], starts.free[part], t, s)
                evaluations[rows] += 1
        return Outcome(tokens, evaluations)

    @staticmethod
    def _step(denoiser: Denoiser, tokens: Tensor, free: Tensor, t: float, s: float) -> Tensor:
        a, a_s = alpha_at(denoiser.schedule, t), alpha_at(denoiser.schedule, s)
        time = torch.full((tokens.shape[0],), t, dtype=torch.float64, device=tokens.device)
        stats = predict(denoiser, tokens, time, leave_one_out=True)
        current = tokens.reshape(-1)
        n = denoiser.noise_tokens.shape[0]
        # Weights of the posterior times D: staying adds `copy` to the current token's (a_s - a) x̂.
        copy = a * n * stats.current_logp.double().exp() + a * (1 - a_s) / a_s
        rival = torch.where(stats.top_token == current, stats.second_token, stats.top_token)
        rival_logp = torch.where(stats.top_token == current, stats.second_logp, stats.top_logp).double()
        gain = (a_s - a) * (rival_logp.exp() - stats.current_logp.double().exp())
        new = torch.where(gain > copy, rival, current)
        if n < denoiser.vocab_size:
            new = torch.where(torch.isin(current, denoiser.noise_tokens), new, current)
        return torch.where(free, new.view_as(tokens), tokens)
