"""`uddm-audit entropy`: the conditional entropy of texts, or of what the model writes by itself."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, replace

from audit_cli.audits.heldout import reference, summary, too_few
from audit_cli.audits.provenance import run_info
from audit_cli.audits.texts import References, candidate_rows, reference_rows
from audit_cli.audits.verdict_law import law_for_verdicts
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.law_check import check_law
from audit_cli.probes.samples import generate
from audit_cli.records import (
    AuditReport,
    Candidate,
    EntropyMeasurement,
    HeldoutSummary,
    Judgement,
    LawCheckResult,
    RegimeReport,
    Skipped,
    Status,
    TextResult,
)
from audit_cli.redaction import Redaction, ShowText
from audit_cli.verdicts.judge import Scored, judge, unjudged
from audit_cli.verdicts.recipes import SURPRISE, surprise_score
from audit_cli.verdicts.regime import regime


@dataclass(frozen=True)
class EntropySettings:
    """How to measure. `draws` = 0 feeds the clean text; `samples` of the model's own are judged as a regime."""

    t: float = T_MIN
    draws: int = 0
    context: str = "all"
    samples: int = 0
    sample_steps: int = 32
    protocol: str = "default"
    seed: int = 0
    fdr: float = 0.05
    per_token: bool = False
    batch_size: int | None = None

    def probe(self) -> EntropyProbe:
        return EntropyProbe(self.t, self.draws, self.context == "prefix", self.seed, self.per_token, self.batch_size)


def audit_entropy(
    model: LoadedModel,
    candidates: Iterable[Candidate | Skipped],
    heldout: Iterable[Candidate | Skipped] | None,
    settings: EntropySettings,
    redaction: Redaction,
    watch: Watch | None = None,
) -> AuditReport:
    """Measure the candidates, judge them against held-out text where there is any, and the model by its samples."""
    watch = watch or Watch()
    begun = time.monotonic()
    found = candidate_rows(model, candidates)
    texts = None if heldout is None else reference_rows(model, found.rows, heldout)
    warnings = too_few(texts, len(found.rows), settings.fdr) if texts else ()
    for warning in warnings:
        watch.warn(warning)
    law = check_law(model.denoiser, settings.seed, [row.own for row in found.rows])
    probe = settings.probe()
    denoiser = watched(model.denoiser, watch, "texts", sum(map(probe.evaluations, found.rows)))
    measured = list(probe.measure(denoiser, found.rows))
    judged, held = _judge(model, measured, texts, settings, law, watch)
    results = found.results(
        measured,
        redaction,
        lambda i, m: {"entropy": _with_pieces(m, model, redaction), "judgement": judged[i]},
    )
    report, own = _own_samples(model, settings, law, redaction, watch)
    results += own
    spent = sum(m.evaluations for m in measured if not isinstance(m, Skipped))
    return AuditReport(
        model=model.info,
        law=law,
        run=run_info("entropy", settings, model, texts, time.monotonic() - begun, spent),
        results=tuple(results),
        fdr=settings.fdr,
        heldout=held,
        warnings=warnings,
        regime=report,
    )


def _judge(
    model: LoadedModel,
    measured: list[EntropyMeasurement | Skipped],
    texts: References | None,
    settings: EntropySettings,
    law: LawCheckResult,
    watch: Watch,
) -> tuple[dict[int, Judgement], HeldoutSummary | None]:
    """A judgement for every row that could be measured, by its index."""
    good = [(i, m) for i, m in enumerate(measured) if isinstance(m, EntropyMeasurement)]
    if texts is None:
        scored = [Scored(surprise_score(m), None, 0) for _, m in good]
        return dict(zip((i for i, _ in good), unjudged(scored, SURPRISE), strict=True)), None
    probe = replace(settings, per_token=False).probe()
    total = sum(probe.evaluations(row) for band in texts.rows for row in band)
    denoiser = watched(model.denoiser, watch, "held-out texts", total)
    references, failed = [], 0
    for band in texts.rows:
        kept = []
        for m in probe.measure(denoiser, band):
            if isinstance(m, Skipped):
                failed += 1
            else:
                kept.append(reference(surprise_score(m), m, (), None))
        references.append(kept)
    judged = judge(
        [Scored(surprise_score(m), None, texts.group[i]) for i, m in good],
        [[r.score for r in band] for band in references],
        SURPRISE,
        settings.fdr,
        law_for_verdicts(model, law),
    )
    return dict(zip((i for i, _ in good), judged, strict=True)), summary(texts, references, failed)


def _own_samples(
    model: LoadedModel, settings: EntropySettings, law: LawCheckResult, redaction: Redaction, watch: Watch
) -> tuple[RegimeReport | None, list[TextResult]]:
    """The model's own samples as results, and the regime they speak for."""
    if not settings.samples:
        return None, []
    steps = settings.sample_steps + 1
    denoiser = watched(model.denoiser, watch, "samples", settings.samples * steps)
    rows = list(
        generate(denoiser, settings.samples, settings.sample_steps, settings.seed, batch_size=settings.batch_size)
    )
    results, kept, tokens = [], [], []
    for row, m in zip(rows, settings.probe().measure(model.denoiser, rows), strict=True):
        text = model.tokenizer.decode(row.own) if model.tokenizer else None
        candidate = replace(row.candidate, text=text, token_ids=row.own)
        fingerprint = redaction.fingerprint(text, row.own)
        if isinstance(m, Skipped):
            results.append(TextResult(candidate, fingerprint, Status.SKIPPED, m.reason, origin="generated"))
            continue
        kept.append(m)
        tokens.append(row.own)
        results.append(
            TextResult(
                candidate,
                fingerprint,
                Status.MEASURED,
                tokens=len(row.own),
                origin="generated",
                entropy=_with_pieces(m, model, redaction),
            )
        )
    if not kept:
        return None, results
    return regime(kept, tokens, model.info.vocab_size, law_for_verdicts(model, law), settings.seed), results


def _with_pieces(measured: EntropyMeasurement, model: LoadedModel, redaction: Redaction) -> EntropyMeasurement:
    """The measurement with its tokens spelled out, where the person asked for the text."""
    if measured.per_token is None or redaction.show is not ShowText.FULL or model.tokenizer is None:
        return measured
    piece = model.tokenizer.piece
    return replace(
        measured,
        per_token=tuple(
            replace(t, token=piece(t.token_id), top_token=piece(t.top_token_id)) for t in measured.per_token
        ),
    )
