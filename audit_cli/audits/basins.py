"""`uddm-audit basins`: corrupt texts, run the reverse process, count what comes back, and judge."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from audit_cli.audits.heldout import Reference, reference, summary, too_few
from audit_cli.audits.provenance import run_info
from audit_cli.audits.texts import References, candidate_rows, reference_rows
from audit_cli.audits.verdict_law import law_for_verdicts
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.samplers import Ancestral, Attractor, OneShot, PosteriorArgmax, Sampler
from audit_cli.diffusion.schedules import level_at, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.law_check import check_law
from audit_cli.records import (
    AuditReport,
    Basin,
    BasinMeasurement,
    Candidate,
    HeldoutSummary,
    Judgement,
    LawCheckResult,
    Row,
    Skipped,
)
from audit_cli.redaction import Redaction
from audit_cli.statistics.basin import basin
from audit_cli.verdicts.judge import Scored, judge, unjudged
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


def audit_basins(
    model: LoadedModel,
    candidates: Iterable[Candidate | Skipped],
    heldout: Iterable[Candidate | Skipped] | None,
    settings: BasinSettings,
    redaction: Redaction,
    watch: Watch | None = None,
) -> AuditReport:
    """Measure the candidates' basins and judge them against held-out text, measured alike, where there is any."""
    watch = watch or Watch()
    begun = time.monotonic()
    probe = settings.probe(model)
    found = candidate_rows(model, candidates)
    texts = None if heldout is None else reference_rows(model, found.rows, heldout)
    warnings = too_few(texts, len(found.rows), settings.fdr) if texts else ()
    for warning in warnings:
        watch.warn(warning)
    law = check_law(model.denoiser, settings.seed, [row.own for row in found.rows])
    denoiser = watched(model.denoiser, watch, "texts", len(found.rows) * probe.evaluations())
    measured = list(probe.measure(denoiser, found.rows))
    if settings.protocol != "paper":
        measured = _look_again(model, probe, found.rows, measured)
    basins = [None if isinstance(m, Skipped) else basin_of(m) for m in measured]
    judged, held, spent = _judge(model, measured, texts, settings, law, watch)
    results = found.results(
        measured,
        redaction,
        lambda i, m: {
            "returns": returns(m.deciding),
            "entropy": m.entropy,
            "basin_measurement": m,
            "basin": basins[i],
            "judgement": judged[i],
        },
    )
    spent += sum(m.evaluations for m in measured if isinstance(m, BasinMeasurement))
    return AuditReport(
        model=model.info,
        law=law,
        run=run_info("basins", settings, model, texts, time.monotonic() - begun, spent),
        results=tuple(results),
        fdr=settings.fdr,
        levels=tuple(level_at(model.denoiser.schedule, t) for t in probe.times),
        heldout=held,
        warnings=warnings,
    )


def basin_of(measured: BasinMeasurement) -> Basin | None:
    """The basin of a measured text; levels from which nothing of a text is left are no part of it."""
    levels = [level for level in measured.curve if level.level <= HIGHEST_LEVEL and level.restarts]
    if not levels:
        return None
    return basin([x.level for x in levels], [x.returned for x in levels], [x.restarts for x in levels])


def _look_again(
    model: LoadedModel, probe: BasinProbe, rows: list[Row], measured: list[BasinMeasurement | Skipped]
) -> list[BasinMeasurement | Skipped]:
    """More restarts where the first ones leave open whether a text returns."""
    unclear = [
        (i, m) for i, m in enumerate(measured) if isinstance(m, BasinMeasurement) and returns(m.deciding) is None
    ]
    longer = probe.extend(model.denoiser, [rows[i] for i, _ in unclear], [m for _, m in unclear], MORE_RESTARTS)
    out = list(measured)
    for (i, _), m in zip(unclear, longer, strict=True):
        out[i] = m
    return out


def _judge(
    model: LoadedModel,
    measured: list[BasinMeasurement | Skipped],
    texts: References | None,
    settings: BasinSettings,
    law: LawCheckResult,
    watch: Watch,
) -> tuple[dict[int, Judgement], HeldoutSummary | None, int]:
    """A judgement for every measured row by its index, the held-out text, and the evaluations it took."""
    vocab = model.info.vocab_size
    good = [(i, m) for i, m in enumerate(measured) if isinstance(m, BasinMeasurement)]
    scores = [basin_surprise_score(m, vocab) for _, m in good]
    back = [returns(m.deciding) for _, m in good]
    indices = [i for i, _ in good]
    if texts is None:
        scored = [Scored(s, r, 0) for s, r in zip(scores, back, strict=True)]
        return dict(zip(indices, unjudged(scored, BASIN_SURPRISE), strict=True)), None, 0
    probe = replace(settings, argmax=False, per_token=False).probe(model)
    count = sum(map(len, texts.rows))
    denoiser = watched(model.denoiser, watch, "held-out texts", count * probe.evaluations())
    references: list[list[Reference]] = []
    failed = spent = 0
    for band in texts.rows:
        kept = []
        for m in probe.measure(denoiser, band):
            if isinstance(m, Skipped):
                failed += 1
                continue
            size = basin_of(m)
            kept.append(
                reference(
                    basin_surprise_score(m, vocab),
                    m.entropy,
                    tuple(x.returned for x in m.levels),
                    None if size is None else size.size,
                )
            )
            spent += m.evaluations
        references.append(kept)
    judged = judge(
        [Scored(s, r, texts.group[i]) for i, s, r in zip(indices, scores, back, strict=True)],
        [[r.score for r in band] for band in references],
        BASIN_SURPRISE,
        settings.fdr,
        law_for_verdicts(model, law),
    )
    return dict(zip(indices, judged, strict=True)), summary(texts, references, failed), spent
