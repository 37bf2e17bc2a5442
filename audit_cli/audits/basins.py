"""`uddm-audit basins`: corrupt texts, run the reverse process, count what comes back, and judge."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import STEPLESS, check_paper, clean_look, restoring, sampler_for
from audit_cli.audits.run import Audit
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.corruption import Pattern
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.diffusion.samplers import Sampler
from audit_cli.diffusion.schedules import level_at, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import AuditReport, Basin, BasinMeasurement, EntropyMeasurement, Evidence, Row, Skipped
from audit_cli.redaction import Redaction
from audit_cli.statistics.basin import basin
from audit_cli.verdicts.recipes import (
    BASIN_AREA,
    BASIN_EXCESS,
    CASCADE,
    HIGHEST_LEVEL,
    OF_BASINS,
    SCREEN,
    Recipe,
    named,
)
from audit_cli.verdicts.returns import DECIDING_LEVEL, MORE_RESTARTS, returns

PAPER_TIMES = (0.05, 0.1, 0.25, 0.5, 1.0)
PAPER_STEPS = 1000


@dataclass(frozen=True)
class BasinSettings:
    """How to measure. `protocol` "paper" takes its times as they are, one restart on the whole 1000-step grid.

    Without a `sampler` it is the one that restores best, without `steps` as many as it takes by default. `recipe`
    names the deciding score; with "cascade" only texts that pass its screen are corrupted.
    """

    levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75)
    restarts: int = 8
    steps: int | None = None
    sampler: str = ""
    recipe: str = ""
    protocol: str = "default"
    seed: int = 0
    fdr: float = 0.05
    argmax: bool = False
    per_token: bool = False
    batch_size: int | None = None
    pattern: str = Pattern.UNIFORM.value

    def probe(self, model: LoadedModel) -> BasinProbe:
        """The probe of these settings. Raises ValueError on a level that the schedule does not reach."""
        schedule = model.denoiser.schedule
        paper = self.protocol == "paper"
        times = PAPER_TIMES if paper else tuple(time_at_level(schedule, level) for level in self.levels)
        levels = [level_at(schedule, t) for t in times]
        return BasinProbe(
            times=times,
            deciding=min(range(len(levels)), key=lambda k: abs(levels[k] - DECIDING_LEVEL)),
            restarts=1 if paper else self.restarts,
            sampler=self._paper_sampler(model) if paper else restoring(model, self.sampler, self.steps),
            seed=self.seed,
            argmax=self.argmax,
            entropy=clean_look(model, self.seed, self.per_token, self.batch_size),
            batch_size=self.batch_size,
            pattern=Pattern(self.pattern),
            screen=SCREEN * math.log(model.info.vocab_size) if self.recipe == CASCADE.name else None,
        )

    def settled(self, model: LoadedModel) -> "BasinSettings":
        """The same with all that is done by name. Raises ValueError on settings that do not fit the model."""
        if self.protocol == "paper":
            check_paper(model)
            if self.pattern != Pattern.UNIFORM:
                raise ValueError(f"the paper's protocol corrupts each position independently, not by {self.pattern}")
        probe = self.probe(model)
        return replace(
            self,
            levels=tuple(level_at(model.denoiser.schedule, t) for t in probe.times),
            restarts=probe.restarts,
            sampler=probe.sampler.name,
            steps=getattr(probe.sampler, "steps", None),
        )

    def _paper_sampler(self, model: LoadedModel) -> Sampler:
        steps = None if self.sampler in STEPLESS else PAPER_STEPS
        return sampler_for(model, self.sampler, steps, snap=True)


@dataclass(frozen=True)
class BasinTask:
    """Basins as a `Task`. Where the first restarts leave open whether a candidate returns, more are run."""

    model: LoadedModel
    settings: BasinSettings
    look_again: bool = True

    command = "basins"
    record = BasinMeasurement

    @property
    def recipe(self) -> Recipe:
        """See `Task`: without surprise where that is not of the leave-one-out law."""
        if self.settings.recipe:
            return named(self.settings.recipe, OF_BASINS)
        return BASIN_EXCESS if self.model.denoiser.law is Law.LEAVE_ONE_OUT else BASIN_AREA

    @property
    def probe(self) -> BasinProbe:
        """The probe of the settings."""
        return self.settings.probe(self.model)

    def evaluations(self, row: Row) -> int:
        """See `Task`."""
        return self.probe.evaluations()

    def measure(self, denoiser: Denoiser, rows: list[Row]) -> Iterator[BasinMeasurement | Skipped]:
        """See `Task`."""
        probe = self.probe
        measured = list(probe.measure(denoiser, rows))
        unclear = [
            (i, m)
            for i, m in enumerate(measured)
            if isinstance(m, BasinMeasurement) and m.deciding.restarts and returns(m.deciding) is None
        ]
        if self.look_again and unclear:
            again = [rows[i] for i, _ in unclear]
            longer = probe.extend(denoiser, again, [m for _, m in unclear], MORE_RESTARTS)
            for (i, _), m in zip(unclear, longer, strict=True):
                measured[i] = m
        yield from measured

    def of_references(self) -> "BasinTask":
        """See `Task`."""
        return BasinTask(self.model, replace(self.settings, argmax=False, per_token=False), look_again=False)

    def evidence(self, measured: BasinMeasurement) -> Evidence:
        """See `Task`."""
        return Evidence(self.model.info.vocab_size, measured.entropy, measured)

    def entropy(self, measured: BasinMeasurement) -> EntropyMeasurement:
        """See `Task`."""
        return measured.entropy

    def entropy_probe(self) -> EntropyProbe:
        """See `Task`."""
        return replace(self.probe.entropy, per_token=False)

    def returns(self, measured: BasinMeasurement) -> bool | None:
        """See `Task`."""
        return returns(measured.deciding)

    def described(self, measured: BasinMeasurement) -> dict[str, Any]:
        """See `Task`."""
        return {
            "returns": returns(measured.deciding),
            "entropy": measured.entropy,
            "basin_measurement": measured,
            "basin": basin_of(measured),
        }


def basins_audit(
    model: LoadedModel,
    texts: Texts,
    comparison: Comparison,
    settings: BasinSettings,
    watch: Watch | None = None,
    journal: Journal | None = None,
) -> Audit[BasinMeasurement]:
    """The audit of the texts' basins, ready to be run. Raises ValueError on settings that do not fit the model."""
    model = model.in_whole_rows() if settings.protocol == "paper" else model
    settings = settings.settled(model)
    task = BasinTask(model, settings, look_again=settings.protocol != "paper")
    return Audit(model, texts, comparison, task, settings, watch or Watch(), journal or Journal(None, b""))


def audit_basins(
    model: LoadedModel,
    texts: Texts,
    heldout: Texts | None,
    settings: BasinSettings,
    redaction: Redaction,
    watch: Watch | None = None,
) -> AuditReport:
    """Measure the candidates' basins and judge them against held-out text, measured alike, where there is any."""
    audit = basins_audit(model, texts, Comparison(heldout), settings, watch)
    return report_basins(audit, redaction)


def report_basins(audit: Audit[BasinMeasurement], redaction: Redaction) -> AuditReport:
    """The report of an audit of basins."""
    return replace(audit.report(redaction), levels=report_levels(audit))


def report_levels(audit: Audit[BasinMeasurement]) -> tuple[float, ...]:
    """The levels of an audit's columns."""
    probe = audit.settings.probe(audit.model)
    return tuple(level_at(audit.model.denoiser.schedule, t) for t in probe.times)


def basin_of(measured: BasinMeasurement) -> Basin | None:
    """The basin of a measured text; levels from which nothing of a text is left are no part of it."""
    levels = [level for level in measured.curve if level.level <= HIGHEST_LEVEL and level.restarts]
    if not levels:
        return None
    return basin([x.level for x in levels], [x.returned for x in levels], [x.restarts for x in levels])
