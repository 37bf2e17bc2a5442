"""The reverse process: from noisy rows back to clean ones, under four dynamics (a fifth is in `entropy_bound`).

`Ancestral` samples the published posterior; `Attractor` iterates x <- argmax to a fixed point, the Hopfield-like
dynamics; `OneShot` is one argmax; `PosteriorArgmax` takes the most probable token of each posterior, the paper's
"deterministic" option, which moves nothing until the last steps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar, Protocol

import torch
from jaxtyping import Int64
from torch import Tensor
from uddm_kernels import uniform_step

from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.denoiser import Denoiser, Law, predict
from audit_cli.diffusion.plan import Batch, Plan, planned
from audit_cli.diffusion.schedules import T_MIN, alpha_at


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
    keyed, all candidates for a jump are known before a trajectory starts (`plan`). A step of a sequence without
    candidates costs nothing; in the others the head sees the candidates' rows only. Trajectories run each at their own
    time, so that the batch is always full. `thin=False` computes everything, with the same result.
    """

    steps: int = 16
    noise_removal: bool = True
    snap: bool = False
    thin: bool = True
    name: ClassVar[str] = "ancestral"

    def evaluations(self, start: float) -> int:
        return len(self.grid(start)) - 1

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        return self._taken(denoiser, starts, planned(denoiser, starts, self.grid, self._thins(denoiser), batch_size))

    def along(
        self, denoiser: Denoiser, starts: Starts, batch_size: int, look: Callable[[Batch, Tensor, Tensor], None]
    ) -> Outcome:
        """`run` with a stop at every step of every row, those too that need no prediction.

        Before a batch moves, `look` is given it, its tokens (rows, length) and its hidden states (rows, length, width).
        """
        plan = planned(denoiser, starts, self.grid, self._thins(denoiser), batch_size, every_step=True)
        return self._taken(denoiser, starts, plan, look)

    def grid(self, start: float) -> list[float]:
        """The times of a row that starts at time `start`; it moves between each two."""
        return time_grid(start, self.steps, self.noise_removal, self.snap)

    def _thins(self, denoiser: Denoiser) -> bool:
        return self.thin and denoiser.stateless

    @staticmethod
    def _taken(
        denoiser: Denoiser,
        starts: Starts,
        plan: Plan,
        look: Callable[[Batch, Tensor, Tensor], None] | None = None,
    ) -> Outcome:
        tokens = starts.tokens.clone()
        flat = tokens.view(-1)
        failed = torch.zeros(1, dtype=torch.int32, device=tokens.device)
        for batch in plan.batches:
            rows = tokens[batch.row]
            hidden = denoiser.hidden(rows, batch.t)
            if look is not None:
                look(batch, rows, hidden)
            flat[batch.token] = uniform_step(
                hidden.flatten(0, 1)[batch.hidden],
                denoiser.head,
                flat[batch.token],
                batch.alpha_t,
                batch.alpha_s,
                batch.u,
                batch.v,
                denoiser.noise_tokens,
                # A posterior law is divided by what x_t says of itself: the step is then the leave-one-out law's.
                discount=batch.discount,
                failed=failed,
            )
        if bool(failed):
            raise FloatingPointError("the network's logits are not finite")
        return Outcome(tokens, plan.evaluations)


def check_attractors(denoiser: Denoiser) -> None:
    """Raise ValueError on a network without attractors: under a posterior law every text is a fixed point."""
    if denoiser.law is not Law.LEAVE_ONE_OUT:
        raise ValueError(f"the attractor dynamics needs a leave-one-out law, and this network's is {denoiser.law}")


@dataclass(frozen=True)
class Attractor:
    """x <- argmax x̂ at all free positions at once, to a fixed point, a cycle of two, or `max_iterations`.

    The first prediction is made at the row's own time, the others at T_MIN, where the map no longer changes. Under a
    posterior law every text is a fixed point there: it needs the leave-one-out law.
    """

    max_iterations: int = 16
    name: ClassVar[str] = "attractor"

    def evaluations(self, start: float) -> int:
        return 4

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        check_attractors(denoiser)
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
class Finished:
    """The ancestral sampler, and from where it ends a few iterations of the attractor's map: what a sample settles
    into, without the tokens that a last draw got wrong.

    Stored texts are at their fixed point after four iterations (as many return as after 64); others wander, and do not
    return however long they do.
    """

    ancestral: Ancestral = field(default_factory=lambda: Ancestral(steps=8))
    attractor: Attractor = field(default_factory=lambda: Attractor(max_iterations=4))
    name: ClassVar[str] = "ancestral+attractor"

    @property
    def steps(self) -> int:
        """Of the ancestral part."""
        return self.ancestral.steps

    def evaluations(self, start: float) -> int:
        return self.ancestral.evaluations(start) + self.attractor.evaluations(start)

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        sampled = self.ancestral.run(denoiser, starts, batch_size)
        ends = replace(starts, tokens=sampled.tokens, time=torch.full_like(starts.time, T_MIN))
        settled = self.attractor.run(denoiser, ends, batch_size)
        return Outcome(settled.tokens, sampled.evaluations + settled.evaluations)


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
    parts = []
    for part in rows.split(batch_size):
        stats = predict(denoiser, tokens[part], time[part])
        finite = torch.isfinite(stats.top_logp).view_as(tokens[part])
        if not bool((finite | ~free[part]).all()):
            raise FloatingPointError("the network's logits are not finite")
        parts.append(torch.where(free[part], stats.top_token.view_as(tokens[part]), tokens[part]))
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
