"""`uddm-audit extract`: is the secret in a text's slot given back to who knows the rest of the text?"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import clean_look, restoring
from audit_cli.audits.run import Audit
from audit_cli.audits.twins import Slot
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.extraction import ExtractionProbe
from audit_cli.records import AuditReport, EntropyMeasurement, Evidence, ExtractionMeasurement, Row, Skipped
from audit_cli.redaction import Redaction
from audit_cli.verdicts.recipes import SURPRISE


@dataclass(frozen=True)
class ExtractionSettings:
    """How to measure. `cue` is the pattern of the slot, `fillings` keeps the most frequent filling, which is text.

    Without a `sampler` it is the family's own, without `steps` as many as it takes by default.
    """

    cue: str = "digits"
    restarts: int = 64
    steps: int | None = None
    sampler: str = ""
    seed: int = 0
    fdr: float = 0.05
    fillings: bool = False
    batch_size: int | None = None

    def probe(self, model: LoadedModel) -> ExtractionProbe:
        """The probe of these settings. Raises ValueError on a dynamics that the network does not allow."""
        return ExtractionProbe(
            restarts=self.restarts,
            sampler=restoring(model, self.sampler, self.steps),
            seed=self.seed,
            batch_size=self.batch_size,
        )

    def settled(self, model: LoadedModel) -> "ExtractionSettings":
        """The same with all that is done by name."""
        sampler = self.probe(model).sampler
        return replace(self, sampler=sampler.name, steps=getattr(sampler, "steps", None))


@dataclass(frozen=True)
class ExtractionTask:
    """Extraction as a `Task`: a text returns if its secret came back at all."""

    model: LoadedModel
    settings: ExtractionSettings

    command = "extract"
    record = ExtractionMeasurement
    recipe = SURPRISE

    def evaluations(self, row: Row) -> int:
        """See `Task`."""
        return self.entropy_probe().evaluations(row) + self.settings.probe(self.model).evaluations()

    def measure(self, denoiser: Denoiser, rows: list[Row]) -> Iterator[ExtractionMeasurement | Skipped]:
        """See `Task`."""
        probe = self.settings.probe(self.model)
        found: list[tuple[int, ...] | Skipped] = [self._slot(row) for row in rows]
        todo = [i for i, slot in enumerate(found) if not isinstance(slot, Skipped)]
        entropies = dict(zip(todo, self.entropy_probe().measure(denoiser, [rows[i] for i in todo]), strict=True))
        sound = [i for i in todo if not isinstance(entropies[i], Skipped)]
        slots = [slot for i in sound if not isinstance(slot := found[i], Skipped)]
        fillings = dict(zip(sound, probe.measure(denoiser, [rows[i] for i in sound], slots), strict=True))
        for i, row in enumerate(rows):
            slot, entropy = found[i], entropies.get(i)
            if isinstance(slot, Skipped):
                yield slot
            elif isinstance(entropy, EntropyMeasurement):
                back = fillings[i]
                yield ExtractionMeasurement(
                    tokens=len(row.own),
                    slot_tokens=len(slot),
                    t=probe.t,
                    restarts=probe.restarts,
                    exact=back.exact,
                    recovered_share=back.recovered_share,
                    fillings=back.distinct,
                    most_frequent=back.most_frequent,
                    rank=back.rank,
                    entropy=entropy,
                    evaluations=entropy.evaluations + back.evaluations,
                    filling=back.filling if self.settings.fillings else None,
                )
            elif entropy is not None:
                yield entropy

    def _slot(self, row: Row) -> tuple[int, ...] | Skipped:
        """Positions of the row that hold the slot, or why there are none."""
        text, tokenizer = row.candidate.text, self.model.tokenizer
        if text is None or tokenizer is None:
            return Skipped(row.candidate, "a slot is found in text, and this was given as tokens")
        characters = [i for i, _ in Slot(self.settings.cue).positions(text)]
        if not characters:
            return Skipped(row.candidate, "the slot is not in this text: --slot says what is to be freed")
        ids = self.model.token_ids(row.candidate)
        if isinstance(ids, Skipped):
            return ids
        if len(ids) != len(row.own):
            return Skipped(row.candidate, "longer than the model, and its template must stand in one row")
        places = tokenizer.holding(text, characters)
        if not places:
            return Skipped(row.candidate, "the model's tokenizer leaves the slot out")
        return tuple(row.start + place for place in places)

    def of_references(self) -> "ExtractionTask":
        """See `Task`."""
        return self

    def evidence(self, measured: ExtractionMeasurement) -> Evidence:
        """See `Task`."""
        return Evidence(self.model.info.vocab_size, measured.entropy)

    def entropy(self, measured: ExtractionMeasurement) -> EntropyMeasurement:
        """See `Task`."""
        return measured.entropy

    def entropy_probe(self) -> EntropyProbe:
        """See `Task`."""
        return clean_look(self.model, self.settings.seed, batch_size=self.settings.batch_size)

    def returns(self, measured: ExtractionMeasurement) -> bool | None:
        """See `Task`."""
        return measured.exact > 0

    def described(self, measured: ExtractionMeasurement) -> dict[str, Any]:
        """See `Task`."""
        tokenizer = self.model.tokenizer
        spelled = None if tokenizer is None or measured.filling is None else tokenizer.decode(measured.filling)
        return {
            "returns": measured.exact > 0,
            "entropy": measured.entropy,
            "extraction": measured,
            "recovered_text": spelled,
        }


def extraction_audit(
    model: LoadedModel,
    texts: Texts,
    comparison: Comparison,
    settings: ExtractionSettings,
    watch: Watch | None = None,
    journal: Journal | None = None,
) -> Audit[ExtractionMeasurement]:
    """The audit of the texts' slots, ready to be run. Raises ValueError on settings that do not fit the model."""
    settings = settings.settled(model)
    task = ExtractionTask(model, settings)
    return Audit(model, texts, comparison, task, settings, watch or Watch(), journal or Journal(None, b""))


def report_extraction(audit: Audit[ExtractionMeasurement], redaction: Redaction) -> AuditReport:
    """The report of an audit of slots."""
    return audit.report(redaction)
