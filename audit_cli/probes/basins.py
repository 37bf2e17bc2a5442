"""Basins of attraction: corrupt a text, run the reverse process, count what comes back.

A restart *returns* if at least 90 % of its corrupted tokens came back and at least 99 % of the untouched ones
stayed; it is *exact* if the whole text came back.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from torch import Tensor

from audit_cli.diffusion.corruption import Starts, corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Ancestral, OneShot, Sampler
from audit_cli.diffusion.schedules import level_at
from audit_cli.probes.batching import auto_batch_size, by_length, windows
from audit_cli.probes.entropy import EntropyProbe, longest_run
from audit_cli.records import BasinMeasurement, EntropyMeasurement, LevelMeasurement, Row, Skipped

RETURN_RECOVERED = 0.90
RETURN_KEPT = 0.99
# Tokens of the trajectories that are under way together: bounds the memory of their random numbers.
TRAJECTORY_TOKENS = 1 << 17


@dataclass(frozen=True)
class BasinProbe:
    """How to measure: `restarts` at each of `times`, under a dynamics; `deciding` is the index of the time at which
    *returns?* is judged. `argmax` adds the recovery of a single argmax at every level."""

    times: tuple[float, ...]
    deciding: int
    restarts: int = 8
    sampler: Sampler = field(default_factory=Ancestral)
    seed: int = 0
    argmax: bool = False
    per_token: bool = False
    batch_size: int | None = None

    def evaluations(self) -> int:
        """About how many network evaluations a text takes."""
        return 1 + self.restarts * sum(self.sampler.evaluations(t) + self.argmax for t in self.times)

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[BasinMeasurement | Skipped]:
        """One result a row, in order, as the rows come."""
        for window in windows(rows):
            entropies = EntropyProbe(per_token=self.per_token, batch_size=self.batch_size).measure(denoiser, window)
            results: list[BasinMeasurement | Skipped] = [
                self._unmeasured(row, entropy) for row, entropy in zip(window, entropies, strict=True)
            ]
            todo = [i for i, result in enumerate(results) if isinstance(result, BasinMeasurement)]
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

    def _unmeasured(self, row: Row, entropy: EntropyMeasurement | Skipped) -> BasinMeasurement | Skipped:
        if isinstance(entropy, Skipped):
            return entropy
        none = LevelMeasurement(0.0, 0.0, 0, 0, 0, 0, (), ())
        return BasinMeasurement(len(row.own), (), none, 0, entropy, entropy.evaluations)

    def _restart(
        self, denoiser: Denoiser, rows: list[Row], todo: list[int], which: range, restarts: int, first: int = 0
    ) -> Iterator[tuple[int, tuple[LevelMeasurement, ...], int, int]]:
        """For each row: its index, a measurement a level, the longest recovered run, evaluations spent."""
        times = [self.times[k] for k in which]
        longest = max((len(rows[i].tokens) for i in todo), default=1)
        at_most = max(1, TRAJECTORY_TOKENS // (longest * len(times) * restarts))
        for indices, tokens, own in by_length([rows[i] for i in todo], at_most):
            starts = corrupted_starts(denoiser, tokens, times, range(first, first + restarts), self.seed, own)
            size = self.batch_size or auto_batch_size(tokens.shape[1])
            outcome = self.sampler.run(denoiser, starts, size)
            argmax = OneShot().run(denoiser, starts, size).tokens if self.argmax else None
            tally = _Tally.of(starts, outcome.tokens, argmax)
            spent = outcome.evaluations.view(len(indices), -1).sum(1).tolist()
            for j, i in enumerate(indices):
                levels = tuple(
                    tally.level(j * len(times) + k, restarts, level_at(denoiser.schedule, t), t)
                    for k, t in enumerate(times)
                )
                block = slice(j * len(times) * restarts, (j + 1) * len(times) * restarts)
                run = max(longest_run(flags) for flags in tally.recovered[block])
                yield todo[i], levels, run, spent[j]


@dataclass(frozen=True)
class _Tally:
    """What came back, a restart a row."""

    corrupted: Tensor
    recovered: Tensor
    recovery: Tensor
    unstable: Tensor
    returned: Tensor
    exact: Tensor
    argmax_recovery: Tensor | None

    @classmethod
    def of(cls, starts: Starts, ends: Tensor, argmax: Tensor | None) -> "_Tally":
        own, clean = starts.free.cpu(), starts.clean.cpu()
        corrupted = (starts.tokens.cpu() != clean) & own
        right = (ends.cpu() == clean) & own
        recovered = right & corrupted
        count, kept = corrupted.sum(1), own.sum(1) - corrupted.sum(1)
        recovery = recovered.sum(1).double() / count.double()
        unstable = (own & ~corrupted & ~right).sum(1).double() / kept.clamp(min=1).double()
        return cls(
            corrupted=corrupted,
            recovered=recovered,
            recovery=recovery,
            unstable=unstable,
            # A rate over no corrupted token is NaN, and NaN is no return.
            returned=(recovery >= RETURN_RECOVERED) & (unstable <= 1 - RETURN_KEPT),
            exact=(right == own).all(1),
            argmax_recovery=None
            if argmax is None
            else ((argmax.cpu() == clean) & corrupted).sum(1).double() / count.double(),
        )

    def level(self, index: int, restarts: int, level: float, t: float) -> LevelMeasurement:
        part = slice(index * restarts, (index + 1) * restarts)
        measured = self.corrupted[part].any(1)
        return LevelMeasurement(
            level=level,
            t=t,
            restarts=int(measured.sum()),
            corrupted_tokens=int(self.corrupted[part].sum()),
            returned=int(self.returned[part][measured].sum()),
            exact=int(self.exact[part][measured].sum()),
            recovery_rates=tuple(self.recovery[part][measured].tolist()),
            unstable_rates=tuple(self.unstable[part][measured].tolist()),
            argmax_recovery_rate=None
            if self.argmax_recovery is None
            else float(self.argmax_recovery[part][measured].mean()),
        )


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
    )
