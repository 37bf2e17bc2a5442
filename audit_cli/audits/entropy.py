"""`uddm-audit entropy`: the conditional entropy of texts, or of what the model writes by itself."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import check_paper, clean_look, law_for_verdicts, sampler_for
from audit_cli.audits.run import Audit, OwnResults
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.duo import DISTILLED
from audit_cli.checkpoints.loaded import ENTROPY_BOUND
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.samples import generate
from audit_cli.records import (
    AuditReport,
    EntropyMeasurement,
    Evidence,
    LawCheckResult,
    Row,
    Skipped,
    Status,
    TextResult,
)
from audit_cli.redaction import Redaction, ShowText
from audit_cli.verdicts.recipes import EXCESS, OF_ENTROPY, Recipe, named
from audit_cli.verdicts.regime import regime


@dataclass(frozen=True)
class EntropySettings:
    """How to measure. `draws` = 0 feeds the clean text; `samples` of the model's own are judged as a regime.

    `convert` turns a posterior law into the leave-one-out law; `settled` says where that is sound.
    """

    t: float = T_MIN
    draws: int = 0
    context: str = "all"
    samples: int = 0
    sample_steps: int = 32
    recipe: str = ""
    protocol: str = "default"
    seed: int = 0
    fdr: float = 0.05
    per_token: bool = False
    batch_size: int | None = None
    convert: bool = False

    def probe(self) -> EntropyProbe:
        """The probe of these settings."""
        prefix = self.context == "prefix"
        return EntropyProbe(self.t, self.draws, prefix, self.seed, self.per_token, self.batch_size, self.convert)

    def settled(self, model: LoadedModel) -> "EntropySettings":
        """The same with the time at which a posterior law can be looked at, unless a sound one was asked for."""
        if self.protocol == "paper":
            check_paper(model)
        if model.denoiser.law is Law.LEAVE_ONE_OUT:
            return self
        look = clean_look(model, self.seed)
        t = look.t if self.t == T_MIN else self.t
        return replace(self, t=t, draws=max(1, self.draws), convert=look.convert and t >= look.t)


@dataclass(frozen=True)
class EntropyTask:
    """Entropy and surprise as a `Task`."""

    model: LoadedModel
    settings: EntropySettings

    command = "entropy"
    record = EntropyMeasurement

    @property
    def recipe(self) -> Recipe:
        """See `Task`."""
        return named(self.settings.recipe, OF_ENTROPY) if self.settings.recipe else EXCESS

    def evaluations(self, row: Row) -> int:
        """See `Task`."""
        return self.settings.probe().evaluations(row)

    def measure(self, denoiser: Denoiser, rows: list[Row]) -> Iterator[EntropyMeasurement | Skipped]:
        """See `Task`."""
        return self.settings.probe().measure(denoiser, rows)

    def of_references(self) -> "EntropyTask":
        """See `Task`."""
        return EntropyTask(self.model, replace(self.settings, per_token=False))

    def evidence(self, measured: EntropyMeasurement) -> Evidence:
        """See `Task`."""
        return Evidence(self.model.info.vocab_size, measured)

    def entropy(self, measured: EntropyMeasurement) -> EntropyMeasurement:
        """See `Task`."""
        return measured

    def entropy_probe(self) -> EntropyProbe:
        """See `Task`."""
        return self.of_references().settings.probe()

    def returns(self, measured: EntropyMeasurement) -> bool | None:
        """See `Task`."""
        return None

    def described(self, measured: EntropyMeasurement) -> dict[str, Any]:
        """See `Task`."""
        return {"entropy": measured}


def entropy_audit(
    model: LoadedModel,
    texts: Texts,
    comparison: Comparison,
    settings: EntropySettings,
    watch: Watch | None = None,
    journal: Journal | None = None,
) -> Audit[EntropyMeasurement]:
    """The audit of the texts' entropy, ready to be run."""
    model = model.in_whole_rows() if settings.protocol == "paper" else model
    settings = settings.settled(model)
    task = EntropyTask(model, settings)
    return Audit(model, texts, comparison, task, settings, watch or Watch(), journal or Journal(None, b""))


def audit_entropy(
    model: LoadedModel,
    texts: Texts,
    heldout: Texts | None,
    settings: EntropySettings,
    redaction: Redaction,
    watch: Watch | None = None,
) -> AuditReport:
    """Measure the candidates, judge them against held-out text where there is any, and the model by its samples."""
    return report_entropy(entropy_audit(model, texts, Comparison(heldout), settings, watch), redaction)


def report_entropy(audit: Audit[EntropyMeasurement], redaction: Redaction) -> AuditReport:
    """The report of an audit of entropy."""
    return audit.report(
        redaction,
        own=partial(own_samples, audit.model, audit.settings, redaction, audit.watch),
        describe=lambda m: {"entropy": _with_pieces(m, audit.model, redaction)},
    )


def own_samples(
    model: LoadedModel, settings: EntropySettings, redaction: Redaction, watch: Watch, law: LawCheckResult
) -> OwnResults:
    """The model's own samples as results, and the regime they speak for."""
    if not settings.samples:
        return OwnResults((), None)
    own_loop = model.sampling.dynamics == ENTROPY_BOUND
    sampler = sampler_for(model, "", None if own_loop else settings.sample_steps)
    denoiser = watched(model.denoiser, watch, "samples", settings.samples * sampler.evaluations(1.0))
    written = generate(denoiser, settings.samples, sampler, settings.seed, batch_size=settings.batch_size)
    # Of an empty text nothing can be measured.
    rows = [row for row in map(model.layout.unframed, written) if row.own]
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
                windows=1,
                window_offset=0,
                entropy=_with_pieces(m, model, redaction),
            )
        )
    if not kept:
        return OwnResults(results, None)
    found = regime(kept, tokens, model.info.vocab_size, law_for_verdicts(model, law), settings.seed)
    if model.info.family == DISTILLED:
        reason = "A distilled model predicts no denoising law: its entropy tells nothing."
        found = replace(found, regime=None, reason=reason)
    return OwnResults(results, found)


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
