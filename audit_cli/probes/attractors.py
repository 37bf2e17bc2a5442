"""Texts as attractors: energy and margins of the clean text, where x <- argmax takes it, how many flips it survives.

The law is the one that `EntropyProbe` measures: p(x_i | all other tokens) of the clean text at T_MIN. A text is a fixed
point if the map x <- argmax of that law, at all positions at once, leaves it as it is: if every margin is above zero,
or zero against a larger token id, since of equals argmax takes the smallest.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from audit_cli.diffusion.corruption import Starts, flipped_starts
from audit_cli.diffusion.denoiser import Denoiser, predict, prompted
from audit_cli.diffusion.samplers import Attractor, OneShot, check_attractors
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.batching import auto_batch_size, by_length, trajectories_at_once, windows
from audit_cli.probes.entropy import margin_of
from audit_cli.records import AttractorMeasurement, FlipCount, Row, Skipped

# Of 1,288 texts on the example models all but five were in their cycle after 60 applications, and all after 133.
ORBIT_APPLICATIONS = 256
# A draw that has not returned by then has not: of flipped texts those that return are there after a few.
FLIP_ITERATIONS = 64


@dataclass(frozen=True)
class AttractorProbe:
    """How to measure: so many draws (`restarts`) of flips.

    Of k flips of a text with n own tokens, the first prediction is made at the time whose level is k/n, as a basin's
    is at the time of its level, all others at T_MIN. A draw returns if it ends in the very text. The most flips from
    which half of the draws return are searched for by doubling, then by bisection.
    """

    restarts: int = 16
    seed: int = 0
    batch_size: int | None = None

    def evaluations(self, tokens: int) -> int:
        """About how many network evaluations a row of so many tokens takes, if it is a fixed point; else it is less."""
        return 2 + self.restarts * 4 * 2 * tokens.bit_length()

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[AttractorMeasurement | Skipped]:
        """One result a row, in order, as the rows come. Raises ValueError on a network of the posterior law."""
        check_attractors(denoiser)
        for window in windows(rows):
            longest = max(len(row.tokens) for row in window)
            at_most = max(1, trajectories_at_once(longest, denoiser.device) // self.restarts)
            results: list[AttractorMeasurement | Skipped | None] = [None] * len(window)
            for indices, tokens, own in by_length(window, at_most):
                under_prompt = prompted(denoiser, window[indices[0]].prompt)
                measured = self._group(under_prompt, [window[i] for i in indices], tokens, own)
                for i, result in zip(indices, measured, strict=True):
                    results[i] = result
            yield from (result for result in results if result is not None)

    def _group(
        self, denoiser: Denoiser, rows: list[Row], tokens: Tensor, own: Tensor
    ) -> list[AttractorMeasurement | Skipped]:
        try:
            return self._measured(denoiser, rows, tokens.to(denoiser.device), own.to(denoiser.device))
        except FloatingPointError as error:
            if len(rows) == 1:
                return [Skipped(rows[0].candidate, str(error))]
        # One of them has no numbers, and the others shall not suffer from it.
        return [self._group(denoiser, [row], tokens[i : i + 1], own[i : i + 1])[0] for i, row in enumerate(rows)]

    def _measured(
        self, denoiser: Denoiser, rows: list[Row], tokens: Tensor, own: Tensor
    ) -> list[AttractorMeasurement | Skipped]:
        size = self.batch_size or auto_batch_size(tokens.shape[1], denoiser.device)
        looks = _looks(denoiser, tokens, own, size)
        after = applied(denoiser, tokens, own, size)
        changed = (after != tokens).sum(dim=1)
        moved = changed.nonzero().squeeze(1)
        ends = dict(zip(moved.tolist(), orbits(denoiser, tokens[moved], own[moved], size), strict=True))
        tried, spent = self._flips(denoiser, tokens, own, changed == 0, size)
        out: list[AttractorMeasurement | Skipped] = []
        for i in range(len(rows)):
            look, end = looks[i], ends.get(i, Orbit(1, 0, 0))
            counts = tuple(sorted(tried[i], key=lambda count: count.flips))
            out.append(
                AttractorMeasurement(
                    tokens=len(rows[i].free),
                    energy=look.energy,
                    smallest_margin=look.margin,
                    margin_position=look.position,
                    rival=look.rival,
                    changed=int(changed[i]),
                    period=end.period,
                    distance=end.distance,
                    restarts=self.restarts,
                    survived=None if i in ends else _survived(counts, self.restarts),
                    tried=counts,
                    evaluations=2 + end.evaluations + spent[i],
                )
            )
        return out

    def _flips(
        self, denoiser: Denoiser, tokens: Tensor, own: Tensor, fixed: Tensor, batch_size: int
    ) -> tuple[list[list[FlipCount]], list[int]]:
        """What was tried of each fixed row, in the order of the search, and the evaluations that took."""
        tried: list[list[FlipCount]] = [[] for _ in tokens]
        spent = [0] * len(tokens)
        lengths = own.sum(dim=1).tolist()
        active = fixed.nonzero().squeeze(1).tolist()
        while active:
            # Rows search side by side: each at its own number of flips.
            nexts = {i: next_flips(tried[i], lengths[i], self.restarts) for i in active}
            active = [i for i in active if nexts[i] is not None]
            if not active:
                break
            flips = torch.tensor([nexts[i] for i in active])
            starts = flipped_starts(denoiser, tokens[active], flips, range(self.restarts), self.seed, own[active])
            outcome = Attractor(FLIP_ITERATIONS).run(denoiser, starts, batch_size)
            back = (outcome.tokens == starts.clean).all(dim=1).view(len(active), -1).sum(dim=1).tolist()
            cost = outcome.evaluations.view(len(active), -1).sum(dim=1).tolist()
            for i, k, returned, evaluations in zip(active, flips.tolist(), back, cost, strict=True):
                tried[i].append(FlipCount(k, returned))
                spent[i] += evaluations
        return tried, spent


def next_flips(tried: list[FlipCount], tokens: int, restarts: int) -> int | None:
    """The number of flips to try next: twice the last while half of the draws return, then between the most that were
    survived and the fewest that were not; None where the search is at its end."""
    held = max((count.flips for count in tried if _holds(count, restarts)), default=0)
    failed = min((count.flips for count in tried if not _holds(count, restarts)), default=None)
    if failed is None:
        return None if held == tokens else min(tokens, max(1, 2 * held))
    return None if failed == held + 1 else (held + failed) // 2


def _holds(count: FlipCount, restarts: int) -> bool:
    return 2 * count.returned >= restarts


def _survived(tried: tuple[FlipCount, ...], restarts: int) -> int:
    return max((count.flips for count in tried if _holds(count, restarts)), default=0)


@dataclass(frozen=True)
class _Look:
    energy: float
    margin: float
    position: int
    rival: int


def _looks(denoiser: Denoiser, tokens: Tensor, own: Tensor, batch_size: int) -> list[_Look]:
    """Energy and smallest margin of each row. Raises FloatingPointError on what is no number."""
    out = []
    for part, free in zip(tokens.split(batch_size), own.split(batch_size), strict=True):
        t = torch.full((len(part),), T_MIN, dtype=torch.float64, device=part.device)
        stats = predict(denoiser, part, t, part)
        rival = torch.where(stats.target_rank == 0, stats.second_token, stats.top_token).view_as(part)
        logp = stats.target_logp.view_as(part).double()
        margin = margin_of(stats).view_as(part).double()
        for i in range(len(part)):
            mine = free[i]
            if not bool(torch.isfinite(logp[i, mine] + margin[i, mine]).all()):
                raise FloatingPointError("the network's output is not a number")
            least = int(margin[i, mine].argmin())
            energy, smallest = -float(logp[i, mine].sum()), float(margin[i, mine][least])
            out.append(_Look(energy, smallest, least, int(rival[i, mine][least])))
    return out


def applied(denoiser: Denoiser, tokens: Tensor, free: Tensor, batch_size: int) -> Tensor:
    """Rows (rows, length) after one application of x <- argmax at T_MIN to all `free` positions (rows, length) at once.

    A row is a fixed point if it stays as it is. Raises FloatingPointError on logits that are no numbers.
    """
    nothing = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    still = Starts(
        tokens=tokens,
        clean=tokens,
        free=free,
        time=torch.full((len(tokens),), T_MIN, dtype=torch.float64, device=tokens.device),
        key=torch.zeros(len(tokens), 2, dtype=torch.int64, device=tokens.device),
        stream=nothing,
        level=nothing,
    )
    return OneShot().run(denoiser, still, batch_size).tokens


@dataclass(frozen=True)
class Orbit:
    """Where a row ends: in a cycle of `period` states, None if in none yet, the nearest of which (or the last state)
    differs from the row in `distance` tokens."""

    period: int | None
    distance: int
    evaluations: int


def orbits(
    denoiser: Denoiser, tokens: Tensor, free: Tensor, batch_size: int, most: int = ORBIT_APPLICATIONS
) -> list[Orbit]:
    """Apply the map to each row (rows, length) until it is in a cycle, at most so many times.

    Brent's way: a state is remembered, and after 1, 2, 4, … applications more forgotten for the present one. A row that
    comes back to the state that is remembered is in a cycle, which is what was seen since then.
    """
    state, kept = tokens.clone(), tokens.clone()
    nearest = torch.zeros(len(tokens), dtype=torch.int64, device=tokens.device)
    out = [Orbit(None, 0, 0)] * len(tokens)
    moving = torch.arange(len(tokens), device=tokens.device)
    since, power = 0, 1
    for count in range(1, most + 1):
        if not len(moving):
            break
        if since == power:
            kept[moving], nearest[moving] = state[moving], (state[moving] != tokens[moving]).sum(dim=1)
            since, power = 0, 2 * power
        state[moving] = applied(denoiser, state[moving], free[moving], batch_size)
        since += 1
        away = (state[moving] != tokens[moving]).sum(dim=1)
        nearest[moving] = torch.minimum(nearest[moving], away)
        found = (state[moving] == kept[moving]).all(dim=1)
        for i in moving[found].tolist():
            out[i] = Orbit(since, int(nearest[i]), count)
        moving = moving[~found]
    for i in moving.tolist():
        out[i] = Orbit(None, int((state[i] != tokens[i]).sum()), most)
    return out
