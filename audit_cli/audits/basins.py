"""`uddm-audit basins`: corrupt texts, run the reverse process, count what comes back, and judge."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.journal import Journal
from audit_cli.audits.run import Audit
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Ancestral, Attractor, OneShot, PosteriorArgmax, Sampler
from audit_cli.diffusion.schedules import level_at, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import AuditReport, Basin, BasinMeasurement, EntropyMeasurement, Row, Skipped
from audit_cli.redaction import Redaction
from audit_cli.statistics.basin import basin
from audit_cli.verdicts.recipes import BASIN_SURPRISE, HIGHEST_LEVEL, basin_surprise_score
from audit_cli.verdicts.returns import DECIDING_LEVEL, MORE_RESTARTS, returns

SAMPLERS = ("ancestral", "attractor", "one-shot", "posterior-argmax")
PAPER_TIMES = (0.05, 0.1, 0.25, 0.5, 1.0)
PAPER_STEPS = 1000


@dataclass(frozen=True)
class BasinSettings:
    """How to measure. `protocol` "paper" takes its times as they are, one restart on the whole 1000-step grid."""

    levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5, 0.75)
    restarts: int = 8
    steps: int = 16
    sampler: str = "ancestral"
    protocol: str = "default"
    seed: int = 0
    fdr: float = 0.05
    argmax: bool = False
    per_token: bool = False
    batch_size: int | None = None

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
            sampler=self._sampler(paper),
            seed=self.seed,
            argmax=self.argmax,
            per_token=self.per_token,
            batch_size=self.batch_size,
        )

    def _sampler(self, paper: bool) -> Sampler:
        steps = PAPER_STEPS if paper else self.steps
        if self.sampler == "posterior-argmax":
            return PosteriorArgmax(steps, snap=paper)
        if self.sampler == "attractor":
            return Attractor()
        return OneShot() if self.sampler == "one-shot" else Ancestral(steps, snap=paper)


@dataclass(frozen=True)
class BasinTask:
    """Basins as a `Task`. Where the first restarts leave open whether a candidate returns, more are run."""

    model: LoadedModel
    settings: BasinSettings
    look_again: bool = True

    command = "basins"
    record = BasinMeasurement
    recipe = BASIN_SURPRISE

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
            (i, m) for i, m in enumerate(measured) if isinstance(m, BasinMeasurement) and returns(m.deciding) is None
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

    def score(self, measured: BasinMeasurement) -> float:
        """See `Task`."""
        return basin_surprise_score(measured, self.model.info.vocab_size)

    def entropy(self, measured: BasinMeasurement) -> EntropyMeasurement:
        """See `Task`."""
        return measured.entropy

    def entropy_probe(self) -> EntropyProbe:
        """See `Task`."""
        return EntropyProbe(batch_size=self.settings.batch_size)

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
    settings.probe(model)
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
    probe = audit.settings.probe(audit.model)
    schedule = audit.model.denoiser.schedule
    return replace(audit.report(redaction), levels=tuple(level_at(schedule, t) for t in probe.times))


def basin_of(measured: BasinMeasurement) -> Basin | None:
    """The basin of a measured text; levels from which nothing of a text is left are no part of it."""
    levels = [level for level in measured.curve if level.level <= HIGHEST_LEVEL and level.restarts]
    if not levels:
        return None
    return basin([x.level for x in levels], [x.returned for x in levels], [x.restarts for x in levels])
