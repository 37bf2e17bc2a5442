"""`uddm-audit entropy --trajectory`: what a model predicts along the reverse process."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float64

from audit_cli.audits.basins import PAPER_STEPS
from audit_cli.audits.comparison import Texts
from audit_cli.audits.law import check_paper, checked_law, clean_look, sampler_for
from audit_cli.audits.provenance import run_info
from audit_cli.audits.texts import drawn_window
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel, UnauditableModel
from audit_cli.checkpoints.loaded import ANCESTRAL
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import level_at
from audit_cli.probes.trajectory import STATEFUL, Measured, TrajectoryProbe
from audit_cli.records import OBSERVABLES, Row, Skipped, Trajectory, TrajectoryPosition, TrajectoryStep
from audit_cli.statistics.intervals import bootstrap_means

# What the paper's code takes the root of is at least this squared.
PAPER_FLOOR = 1e-6
SOUND_FROM = "Of this network, which predicts the posterior, the conversion is sound from t = {t:.2g} on, not below."
OTHER_LOOP = "Left to itself this network goes back by a loop of its own ({loop}); the steps here are ancestral."
UNSOUND = "This network predicts the posterior, and at no time the conversion to the leave-one-out law is sound."


@dataclass(frozen=True)
class TrajectorySettings:
    """How to go back from `time` in so many steps: `samples` rows of noise, or with 0 of them texts corrupted there."""

    samples: int = 0
    time: float = 1.0
    steps: int | None = None
    protocol: str = "default"
    seed: int = 0
    batch_size: int | None = None
    sampler: str = ANCESTRAL

    def probe(self, model: LoadedModel) -> TrajectoryProbe:
        """The probe of these settings.

        Raises ValueError on what the paper's protocol says nothing of, UnauditableModel on a network whose predictions
        depend on earlier ones.
        """
        paper = self.protocol == "paper"
        if paper:
            check_paper(model)
        if not model.denoiser.stateless:
            raise UnauditableModel(STATEFUL)
        sampler = sampler_for(model, ANCESTRAL, PAPER_STEPS if paper else self.steps, snap=paper)
        assert isinstance(sampler, Ancestral)  # noqa: S101 - asked for by its name
        floor = PAPER_FLOOR if paper else 0.0
        return TrajectoryProbe(sampler, self.time, self.seed, self.batch_size, floor)


def trajectory(
    model: LoadedModel, texts: Texts | None, settings: TrajectorySettings, watch: Watch | None = None
) -> Trajectory:
    """Measure the texts, or rows that the model writes, at every step.

    Of equal texts one is measured, of one longer than the model a window. Raises as `TrajectorySettings.probe`,
    UnauditableModel where no text can be measured, FloatingPointError where the network's output is not a number.
    """
    begun, watch = time.monotonic(), watch or Watch()
    probe = settings.probe(model)
    settings = replace(settings, steps=probe.sampler.steps)
    if settings.protocol == "paper":
        model = model.in_whole_rows()
    law = checked_law(model, settings.seed)
    texts_read = _Texts()
    if texts is None:
        expected, length = settings.samples, model.denoiser.max_length
        parts = probe.generated(_watched(model, watch, expected, probe), expected, length)
    else:
        rows = list(texts_read.rows(model, texts))
        if not rows:
            raise UnauditableModel(f"no text could be measured: {texts_read.reason or 'there is none'}")
        parts = probe.measure(_watched(model, watch, len(rows), probe), rows)
    means, sums, counts = _joined(parts)
    levels = [(step, t, level_at(model.denoiser.schedule, t)) for step, t in enumerate(probe.times())]
    return Trajectory(
        model=model.info,
        law=law,
        run=run_info("entropy --trajectory", settings, model, {}, time.monotonic() - begun, means[..., 0].size),
        start=settings.time,
        steps=tuple(_steps(levels, means, settings.seed)),
        positions=tuple(_positions(levels, sums, counts)),
        rows=len(means),
        tokens=int(counts.sum()),
        given=texts_read.given,
        duplicates=texts_read.duplicates,
        skipped=texts_read.skipped,
        reason=texts_read.reason,
        notes=_notes(model, settings.seed),
    )


def _watched(model: LoadedModel, watch: Watch, rows: int, probe: TrajectoryProbe) -> Denoiser:
    return watched(model.denoiser, watch, "trajectories", rows * len(probe.times()))


@dataclass
class _Texts:
    """Texts as they are read, each once, and how many could not be."""

    given: int = 0
    duplicates: int = 0
    skipped: int = 0
    reason: str = ""

    def rows(self, model: LoadedModel, texts: Texts) -> Iterator[Row]:
        seen = set()
        for text in texts:
            self.given += 1
            rows = text if isinstance(text, Skipped) else model.rows(text)
            if isinstance(rows, Skipped):
                self.skipped += 1
                self.reason = self.reason or rows.reason
                continue
            row = drawn_window(rows)
            key = (row.tokens, row.prompt)
            if key in seen:
                self.duplicates += 1
                continue
            seen.add(key)
            yield row


def _joined(parts: Iterable[Measured]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The means of all rows in the order of the texts, and the sums and counts of all positions."""
    found = list(parts)
    order = np.argsort([i for part in found for i in part.indices])
    longest = max(len(part.counts) for part in found)
    times, kinds = found[0].sums.shape[0], len(OBSERVABLES)
    sums, counts = np.zeros((times, longest, kinds)), np.zeros(longest, dtype=np.int64)
    for part in found:
        sums[:, : len(part.counts)] += part.sums
        counts[: len(part.counts)] += part.counts
    return np.concatenate([part.means for part in found])[order], sums, counts


def _steps(
    levels: list[tuple[int, float, float]], means: Float64[np.ndarray, "rows times observables"], seed: int
) -> Iterator[TrajectoryStep]:
    kinds = len(OBSERVABLES)
    intervals = bootstrap_means(means.reshape(len(means), -1), seed)
    for step, t, level in levels:
        yield TrajectoryStep(step, t, level, *intervals[kinds * step : kinds * (step + 1)])


def _positions(
    levels: list[tuple[int, float, float]],
    sums: Float64[np.ndarray, "times positions observables"],
    counts: np.ndarray,
) -> Iterator[TrajectoryPosition]:
    for step, t, level in levels:
        for position, rows in enumerate(counts.tolist()):
            yield TrajectoryPosition(step, t, level, position, rows, *(sums[step, position] / rows).tolist())


def _notes(model: LoadedModel, seed: int) -> tuple[str, ...]:
    """What is unlike other networks: a loop of its own, and a posterior law, which converts where that is sound."""
    own = model.sampling.dynamics
    notes = [] if own == ANCESTRAL else [OTHER_LOOP.format(loop=own)]
    if model.denoiser.law is Law.POSTERIOR:
        look = clean_look(model, seed)
        notes.append(SOUND_FROM.format(t=look.t) if look.convert else UNSOUND)
    return tuple(notes)
