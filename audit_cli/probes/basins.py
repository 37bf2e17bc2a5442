"""Basins of attraction: corrupt a text, run the reverse process, count what comes back.

A restart *returns* if at least 90 % of its corrupted tokens came back and at least 99 % of the untouched ones
stayed; it is *exact* if the whole text came back.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from audit_cli.diffusion.corruption import Pattern, Starts, corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser, prompted
from audit_cli.diffusion.samplers import Ancestral, OneShot, Outcome, Sampler
from audit_cli.diffusion.schedules import level_at
from audit_cli.probes.batching import auto_batch_size, by_length, trajectories_at_once, windows
from audit_cli.probes.entropy import EntropyProbe, longest_run
from audit_cli.records import BasinMeasurement, EntropyMeasurement, LevelMeasurement, Row, Skipped
from audit_cli.statistics.edit_distance import edit_similarity

RETURN_RECOVERED = 0.90
RETURN_KEPT = 0.99


@dataclass(frozen=True)
class BasinProbe:
    """How to measure: `restarts` at each of `times`, under a dynamics; `deciding` is the index of the time at which
    *returns?* is judged. `argmax` adds the recovery of a single argmax at every level; `entropy` is measured too.
    A text whose mean surprise (nats) is above `screen` is not corrupted: its levels have no restarts."""

    times: tuple[float, ...]
    deciding: int
    restarts: int = 8
    sampler: Sampler = field(default_factory=Ancestral)
    seed: int = 0
    argmax: bool = False
    entropy: EntropyProbe = field(default_factory=EntropyProbe)
    batch_size: int | None = None
    screen: float | None = None
    pattern: Pattern = Pattern.UNIFORM

    def evaluations(self) -> int:
        """About how many network evaluations a text takes."""
        return 1 + self.restarts * sum(self.sampler.evaluations(t) + self.argmax for t in self.times)

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[BasinMeasurement | Skipped]:
        """One result a row, in order, as the rows come."""
        for window in windows(rows):
            entropies = self.entropy.measure(denoiser, window)
            results: list[BasinMeasurement | Skipped] = [
                self._unmeasured(denoiser, row, entropy) for row, entropy in zip(window, entropies, strict=True)
            ]
            todo = [i for i, result in enumerate(results) if self._passes(result)]
            for i, levels, run, spent in self._restart(denoiser, window, todo, range(len(self.times)), self.restarts):
                blank = results[i]
                assert isinstance(blank, BasinMeasurement)  # noqa: S101 - `todo` holds no others
                results[i] = replace(
                    blank,
                    levels=levels,
                    deciding=levels[self.deciding],
                    longest_recovered_run=run,
                    evaluations=blank.evaluations + spent,
                )
            yield from results

    def extend(
        self, denoiser: Denoiser, rows: list[Row], measured: list[BasinMeasurement], more: int
    ) -> list[BasinMeasurement]:
        """The same measurements with `more` further restarts at the deciding level; the levels stay as they are."""
        out = list(measured)
        first = self.restarts
        which = range(self.deciding, self.deciding + 1)
        for i, levels, run, spent in self._restart(denoiser, rows, list(range(len(rows))), which, more, first):
            before = measured[i]
            out[i] = replace(
                before,
                deciding=_merged(before.deciding, levels[0]),
                longest_recovered_run=max(before.longest_recovered_run, run),
                evaluations=before.evaluations + spent,
            )
        return out

    def _passes(self, result: BasinMeasurement | Skipped) -> bool:
        """Whether the text is to be corrupted at all."""
        if isinstance(result, Skipped):
            return False
        return self.screen is None or result.entropy.surprise_mean <= self.screen

    def _unmeasured(
        self, denoiser: Denoiser, row: Row, entropy: EntropyMeasurement | Skipped
    ) -> BasinMeasurement | Skipped:
        if isinstance(entropy, Skipped):
            return entropy
        none = tuple(LevelMeasurement(level_at(denoiser.schedule, t), t, 0, 0, 0, 0, (), ()) for t in self.times)
        return BasinMeasurement(len(row.free), none, none[self.deciding], 0, entropy, entropy.evaluations)

    def _restart(
        self, denoiser: Denoiser, rows: list[Row], todo: list[int], which: range, restarts: int, first: int = 0
    ) -> Iterator[tuple[int, tuple[LevelMeasurement, ...], int, int]]:
        """For each row: its index, a measurement a level, the longest recovered run, evaluations spent."""
        times = [self.times[k] for k in which]
        deciding = self.deciding - which.start
        longest = max((len(rows[i].tokens) for i in todo), default=1)
        room = trajectories_at_once(longest, denoiser.device)
        # Where one row has more, its restarts are run some at a time.
        at_once = min(restarts, max(1, room // len(times)))
        at_most = max(1, room // (len(times) * restarts))
        last = first + restarts
        for indices, tokens, own in by_length([rows[i] for i in todo], at_most):
            # Random numbers are keyed by the restart, so it does not matter which run together.
            under_prompt = prompted(denoiser, rows[todo[indices[0]]].prompt)
            tally = _Tally.joined(
                [
                    self._some(under_prompt, tokens, own, times, deciding, range(start, min(last, start + at_once)))
                    for start in range(first, last, at_once)
                ]
            )
            for j, i in enumerate(indices):
                levels = tuple(
                    tally.level(j, k, level_at(denoiser.schedule, t), t, self.argmax) for k, t in enumerate(times)
                )
                yield todo[i], levels, int(tally.run[j].max()), int(tally.evaluations[j].sum())

    def _some(
        self, denoiser: Denoiser, tokens: Tensor, own: Tensor, times: list[float], deciding: int, restarts: range
    ) -> "_Tally":
        """These restarts of each row at each time, of which the one with the index `deciding` decides."""
        starts = corrupted_starts(denoiser, tokens, times, restarts, self.seed, own, pattern=self.pattern)
        size = self.batch_size or auto_batch_size(tokens.shape[1], denoiser.device)
        outcome = self.sampler.run(denoiser, starts, size)
        argmax = OneShot().run(denoiser, starts, size).tokens if self.argmax else None
        return _Tally.of(starts, outcome, argmax, (len(tokens), len(times), len(restarts)), deciding)


@dataclass(frozen=True)
class _Tally:
    """What came back, numbers by (row, time, restart): of the tokens themselves nothing is kept.

    `similarity`, of what came back with the text, is NaN but at the deciding time.
    """

    corrupted: Tensor
    run: Tensor
    recovery: Tensor
    unstable: Tensor
    returned: Tensor
    exact: Tensor
    argmax_recovery: Tensor
    evaluations: Tensor
    similarity: Tensor

    @classmethod
    def of(
        cls, starts: Starts, outcome: Outcome, argmax: Tensor | None, shape: tuple[int, int, int], deciding: int
    ) -> "_Tally":
        own, clean, ends = starts.free.cpu(), starts.clean.cpu(), outcome.tokens.cpu()
        corrupted = (starts.tokens.cpu() != clean) & own
        right = (ends == clean) & own
        recovered = right & corrupted
        count, kept = corrupted.sum(1), own.sum(1) - corrupted.sum(1)
        recovery = recovered.sum(1).double() / count.double()
        unstable = (own & ~corrupted & ~right).sum(1).double() / kept.clamp(min=1).double()
        by_argmax = corrupted & False if argmax is None else (argmax.cpu() == clean) & corrupted
        return cls(
            *(
                column.view(shape)
                for column in (
                    count,
                    torch.tensor([longest_run(flags) for flags in recovered]),
                    recovery,
                    unstable,
                    # A rate over no corrupted token is NaN, and NaN is no return.
                    (recovery >= RETURN_RECOVERED) & (unstable <= 1 - RETURN_KEPT),
                    (right == own).all(1),
                    by_argmax.sum(1).double() / count.double(),
                    outcome.evaluations.cpu(),
                    _similarities(own, clean, ends, torch.arange(len(own)).view(shape)[:, deciding].reshape(-1)),
                )
            )
        )

    @classmethod
    def joined(cls, parts: "list[_Tally]") -> "_Tally":
        """One tally of further and further restarts of the same rows and times."""
        return cls(*(torch.cat([getattr(part, each.name) for part in parts], dim=2) for each in fields(cls)))

    def level(self, row: int, time: int, level: float, t: float, with_argmax: bool) -> LevelMeasurement:
        at = (row, time)
        measured = self.corrupted[at] > 0
        return LevelMeasurement(
            level=level,
            t=t,
            restarts=int(measured.sum()),
            corrupted_tokens=int(self.corrupted[at].sum()),
            returned=int(self.returned[at][measured].sum()),
            exact=int(self.exact[at][measured].sum()),
            recovery_rates=tuple(self.recovery[at][measured].tolist()),
            unstable_rates=tuple(self.unstable[at][measured].tolist()),
            argmax_recovery_rate=float(self.argmax_recovery[at][measured].mean()) if with_argmax else None,
            edit_similarities=tuple(s for s in self.similarity[at][measured].tolist() if not math.isnan(s)),
        )


def _similarities(own: Tensor, clean: Tensor, ends: Tensor, rows: Tensor) -> Tensor:
    """How alike the own tokens of `rows` are to what came back of them; NaN in the other rows."""
    out = torch.full((len(own),), math.nan, dtype=torch.float64)
    for row in rows.tolist():
        out[row] = edit_similarity(clean[row, own[row]].tolist(), ends[row, own[row]].tolist())
    return out


def _merged(a: LevelMeasurement, b: LevelMeasurement) -> LevelMeasurement:
    return LevelMeasurement(
        level=a.level,
        t=a.t,
        restarts=a.restarts + b.restarts,
        corrupted_tokens=a.corrupted_tokens + b.corrupted_tokens,
        returned=a.returned + b.returned,
        exact=a.exact + b.exact,
        recovery_rates=a.recovery_rates + b.recovery_rates,
        unstable_rates=a.unstable_rates + b.unstable_rates,
        argmax_recovery_rate=a.argmax_recovery_rate,
        edit_similarities=a.edit_similarities + b.edit_similarities,
    )
