"""An audit from end to end: look at the texts, measure, compare, judge. `basins` and `entropy` say what is measured."""

import math
import time
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np

from audit_cli.audits.cache import measure_references
from audit_cli.audits.calibrated import (
    OTHER_KEY,
    Calibrated,
    Unchecked,
    check_made_for,
    made_for,
    near_marks,
)
from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.fairness import Graded, Like, fairness, warnings
from audit_cli.audits.heldout import references as filed_references
from audit_cli.audits.heldout import summary, too_few
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import checked_law, entropy_law, law_for_verdicts
from audit_cli.audits.measuring import Filed, Measured, Task
from audit_cli.audits.provenance import run_info
from audit_cli.audits.results import JournalResults
from audit_cli.audits.texts import Heldout, References, Scan, distinct_rows, reference_rows, scan
from audit_cli.audits.twin_scores import TwinScores
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import (
    AuditReport,
    Candidate,
    Counts,
    HeldoutSummary,
    LawCheckResult,
    RegimeReport,
    TextResult,
)
from audit_cli.redaction import Redaction
from audit_cli.verdicts.contamination import known
from audit_cli.verdicts.judge import UNCLEAR, Judgements, Parts, judge, judge_twins, unjudged
from audit_cli.verdicts.recipes import SURPRISE_DIFFERENCE, TWIN_SURPRISE, Recipe

KNOWN = (
    "{} of {:,} held-out texts score like the candidates that stand out, and far above all others: as if the model had "
    "seen them too. They hide findings: look whether they are in its training text"
)
STRANGE = (
    "the model knows held-out text no better than chance ({:.2f} nats a token, chance is {:.2f}): it has learned "
    "nothing but what it stored, or the tokenizer is not its own"
)
NO_VERDICT_HERE = "surprise decides no verdict under a posterior law: ask basins what returns"


@dataclass(frozen=True)
class Survey:
    """What is known before anything is measured."""

    found: Scan
    references: References | Calibrated | None
    warnings: tuple[str, ...]
    graded: Graded | Unchecked | None = None


class Audit(Generic[Measured]):
    """One model, one set of texts, one task, one comparison."""

    def __init__(
        self,
        model: LoadedModel,
        texts: Texts,
        comparison: Comparison,
        task: Task[Measured],
        settings: Any,
        watch: Watch,
        journal: Journal,
    ) -> None:
        """`settings` is a dataclass of plain values with a `seed` and an `fdr`; `texts` may be read again and again."""
        self.model, self.texts, self.comparison, self.task = model, texts, comparison, task
        self.settings, self.watch, self.journal = settings, watch, journal
        self.filed = Filed(journal, task, comparison.reference)
        self.twins = TwinScores(self.filed, comparison, settings.seed)
        self.recalled = 0
        self.begun = time.monotonic()
        if comparison.calibration is not None:
            check_made_for(comparison.calibration, made_for(task.command, self.recipe, model, settings))

    @property
    def recipe(self) -> Recipe:
        """The deciding score of this run."""
        if self.comparison.twins:
            return TWIN_SURPRISE
        return SURPRISE_DIFFERENCE if self.comparison.reference else self.task.recipe

    def survey(self, told: bool = True) -> Survey:
        """Read all texts once: what there is to measure, and what can be found at all.

        A caller that compares more texts than these says itself what cannot be found: `told` False.
        """
        self.watch.stage("reading", 0)
        heldout = self.comparison.heldout
        held = None if heldout is None else Heldout.read(self.model, heldout)
        calibration = self.comparison.calibration
        near = None if calibration is None else near_marks(calibration, self.journal)
        found = scan(self.model, self.texts, held, self.journal, self.comparison.slot, near)
        references: References | Calibrated | None = None
        if held is not None:
            references = reference_rows(self.model, found, held)
        elif calibration is not None:
            references = Calibrated(calibration, found)
        graded: Graded | Unchecked | None = None
        if isinstance(references, Calibrated):
            graded = Unchecked(found, references.used)
        elif references is not None:
            graded = Graded(like := Like(self.model, references), fairness(like, found))
        survey = Survey(found, references, (), graded)
        warned = self._warned(survey, near is None, found.distinct if told else 0)
        for warning in warned:
            self.watch.warn(warning)
        return replace(survey, warnings=warned)

    def compared_with(self, survey: Survey) -> int:
        """The smallest number of others that any text is compared with."""
        return survey.references.fewest if survey.references else self.comparison.twins

    def _warned(self, survey: Survey, without_marks: bool, candidates: int) -> tuple[str, ...]:
        """What a person should know before anything is measured; `candidates` are compared at once."""
        found, references, graded = survey.found, survey.references, survey.graded
        if self.comparison.judged and self.recipe.uses_law and self.model.denoiser.law is Law.POSTERIOR:
            return (NO_VERDICT_HERE,)
        told: tuple[str, ...] = ()
        if self.comparison.judged and candidates:
            told = too_few(self.compared_with(survey), candidates, self.settings.fdr, self.others)
        if self.comparison.twins and found.with_slot < found.distinct:
            told += (self.comparison.slot.said_of(found.with_slot, found.distinct),)
        if isinstance(references, Calibrated):
            told += (*references.warnings(), *((OTHER_KEY,) if without_marks else ()))
        if graded is not None:
            told += warnings(graded.check, found, self.comparison.reference is not None)
        return told

    @property
    def others(self) -> str:
        """What texts are compared with, in a word."""
        return "twins" if self.comparison.twins else "held-out texts"

    def report(
        self,
        redaction: Redaction,
        own: "Own | None" = None,
        describe: Callable[[Measured], dict[str, Any]] | None = None,
    ) -> AuditReport:
        """Measure what is not in the journal, judge, and report.

        `own` adds what the model says by itself; `describe` may replace the task's own way to describe a measurement.
        """
        survey = self.survey()
        law = checked_law(self.model, self.settings.seed, survey.found.law_rows)
        late = self.measure(survey)
        outcome = self.judged(survey, law, late)
        return self.reported(outcome, redaction, own(law) if own else OwnResults((), None), describe)

    def judged(
        self, survey: Survey, law: LawCheckResult, late: tuple[str, ...] = (), unmeasured: str = ""
    ) -> "Outcome":
        """What is said of everything in the journal; `late` warnings came up while it was measured. Texts that are
        not in it are skipped, for the reason `unmeasured`."""
        if unmeasured and isinstance(survey.graded, Graded):
            survey.graded.rest(distinct_rows(self.model, self.texts, self.journal))
        parts, numbers, positions, failed, spent, entropy = self._gather(survey.references, unmeasured)
        judged, held, more = self._judge(parts, positions, survey, law)
        late += self._told_of_heldout(held)
        worst = numbers[parts.worst()] if len(positions) else numbers
        return Outcome(survey, law, judged, positions, worst, failed, held, spent + more, entropy, late)

    def reported(
        self,
        outcome: "Outcome",
        redaction: Redaction,
        extra: "OwnResults | None" = None,
        describe: Callable[[Measured], dict[str, Any]] | None = None,
    ) -> AuditReport:
        """The outcome as a report, whose results are read from the journal as often as they are asked for."""
        found, references, judged = outcome.survey.found, outcome.survey.references, outcome.judged
        extra = extra or OwnResults((), None)
        results = JournalResults(
            self.texts,
            found.given,
            self.journal,
            self.filed,
            outcome.positions,
            outcome.worst,
            judged,
            outcome.failed,
            redaction,
            describe or self.task.described,
            extra.results,
        )
        counts = Counts(
            given=found.given,
            measured=len(outcome.positions),
            duplicates=found.duplicates,
            skipped=found.skipped + len(outcome.failed),
            verdicts=tuple(Counter(judged.verdicts()).items()),
            most_references=int(judged.references.max(initial=0)),
        )
        plain = self.comparison.plain() | {
            "heldout_sha256": None if references is None else references.sha256(),
            "recipe": self.recipe.name,
        }
        if self.comparison.calibration is not None:
            plain |= {"calibration_sha256": self.comparison.calibration.sha256}
        plain |= entropy_law(self.model, self.task.entropy_probe())
        seconds = time.monotonic() - self.begun
        return AuditReport(
            model=self.model.info,
            law=outcome.law,
            run=run_info(self.task.command, self.settings, self.model, plain, seconds, outcome.evaluations),
            results=results,
            counts=counts,
            fdr=self.settings.fdr,
            judged=judged.judged,
            judged_by=self.recipe.told,
            heldout=outcome.heldout,
            regime=extra.regime,
            reference_model=None if self.comparison.reference is None else self.comparison.reference.info,
            given_entropy=outcome.entropy,
            warnings=outcome.survey.warnings + outcome.late,
        )

    def evaluations(self, survey: Survey) -> tuple[int, int, int]:
        """About how many network evaluations texts, held-out texts and twins take."""
        found, references = survey.found, survey.references
        lengths = found.lengths + Counter({self.model.layout.max_length: found.windows - sum(found.lengths.values())})
        blank = Candidate("", 0, "")
        texts = sum(
            n * self.task.evaluations(self.model.layout.place(blank, (0,) * length)) for length, n in lengths.items()
        )
        task = self.task.of_references()
        held = sum(task.evaluations(row) for group in references.rows for row in group) if references else 0
        return texts, held, found.windows * self.comparison.twins * found.with_slot // max(1, found.distinct)

    def measure(self, survey: Survey) -> tuple[str, ...]:
        """Measure what is not in the journal; warnings of what is known only then.

        Held-out text comes first: of a run that is stopped, what is measured can be judged.
        """
        references = survey.references
        texts, held, twins = self.evaluations(survey)
        if isinstance(references, References):
            filed = Filed(self.journal, self.task.of_references(), self.comparison.reference)
            every = (row for group in references.rows for row in group)
            more = self.comparison.plain()
            self.recalled = measure_references(filed, self.model, every, self.settings, more, self.watch, held)
        distinct = distinct_rows(self.model, self.texts, self.journal)
        rows = (row for _, rows in (survey.graded.passing(distinct) if survey.graded else distinct) for row in rows)
        self.filed.measure(self.model, rows, "row", self.watch, texts, "texts")
        return self.twins.measure(self.model, self.texts, self.watch, twins) if self.comparison.twins else ()

    def _gather(
        self, references: References | Calibrated | None, unmeasured: str
    ) -> tuple[Parts, np.ndarray, np.ndarray, dict[int, str], int, float | None]:
        """Arrays of what was measured: parts, the window number of each, the positions of the texts, why the others
        have none, evaluations spent, and the texts' mean entropy."""
        failed: dict[int, str] = {}
        text: list[int] = []
        columns = _Columns()
        spent, entropies, measured_parts = 0, 0.0, 0
        entries = (e for e in self.journal.texts() if not e.reason and e.first == e.position)
        windows = self.journal.parts()
        for entry in entries:
            group = 0 if references is None else references.group(entry.tokens or 0, entry.windows)
            mine = [next(windows) for _ in range(entry.windows)]
            reasons = [reason for *_, reason, _ in mine if reason != ""]
            if not reasons and self.comparison.twins and not self.twins.filed(entry.position):
                reasons = [None]
            if reasons:
                failed[entry.position] = reasons[0] or unmeasured or "it was not measured"
                continue
            for _, number, _, _, _, data in mine:
                assert data is not None  # noqa: S101 - it has no reason
                measured, other = self.filed.decode(data)
                entropy = self.task.entropy(measured)
                back = self.task.returns(measured)
                score = -entropy.surprise_mean if self.comparison.twins else self.filed.score(measured, other)
                columns.add(len(text), score, UNCLEAR if back is None else int(back), group, number)
                spent += measured.evaluations
                entropies += entropy.entropy_mean
                measured_parts += 1
            text.append(entry.position)
        mean = entropies / measured_parts if measured_parts else None
        return columns.parts(), columns.numbers(), np.array(text, dtype=np.int64), failed, spent, mean

    def _judge(
        self, parts: Parts, positions: np.ndarray, survey: Survey, law: LawCheckResult
    ) -> tuple[Judgements, HeldoutSummary | None, int]:
        """The judgements, the held-out text in short, and the evaluations these took."""
        fdr, verdict_law = self.settings.fdr, law_for_verdicts(self.model, law)
        if self.comparison.twins:
            above, drawn = self.twins.counts(positions)
            return judge_twins(parts, above, drawn, self.recipe, fdr, verdict_law), None, int(drawn.sum())
        references, graded = survey.references, survey.graded
        if references is None or graded is None:
            return unjudged(parts, self.recipe), None, 0
        if isinstance(references, Calibrated):
            measured, compared, spent = references.references(), references.compared, 0
        else:
            measured = compared = filed_references(self.filed, references)
            spent = sum(r.evaluations for group in measured for r in group)
        failed = max(0, sum(map(len, references.rows)) - sum(map(len, measured)))
        scores = [[r.score for r in group] for group in measured]
        kinds = graded.of(positions, binding=self.comparison.reference is None)
        judged = judge(parts, scores, self.recipe, fdr, verdict_law, kinds)
        if isinstance(references, Calibrated):
            judged = replace(judged, without=references.without)
        # Of texts of another kind high scores tell nothing.
        same = ~kinds.out()[parts.text]
        seen = sum(known(parts.score[same & (parts.group == g)], np.array(held)) for g, held in enumerate(scores))
        held = summary(references, compared, failed, graded.check, seen)
        return judged, replace(held, recalled=self.recalled, calibrated=compared is not measured), spent

    def _told_of_heldout(self, held: HeldoutSummary | None) -> tuple[str, ...]:
        """What is known of the held-out text only when it is measured."""
        told: tuple[str, ...] = ()
        if held is not None and held.known:
            told += (KNOWN.format(held.known, held.measured),)
        if held is not None and held.median is not None and self.model.denoiser.law is Law.LEAVE_ONE_OUT:
            chance = math.log(self.model.info.vocab_size)
            told += (STRANGE.format(held.median.surprise, chance),) if held.median.surprise >= chance else ()
        for message in told:
            self.watch.warn(message)
        return told


class _Columns:
    """Growing arrays, a value a part."""

    def __init__(self) -> None:
        self._text, self._returns, self._group, self._number = array("q"), array("b"), array("i"), array("q")
        self._score = array("d")

    def add(self, text: int, score: float, returns: int, group: int, number: int) -> None:
        self._text.append(text)
        self._score.append(score)
        self._returns.append(returns)
        self._group.append(group)
        self._number.append(number)

    def parts(self) -> Parts:
        return Parts(np.array(self._text), np.array(self._score), np.array(self._returns), np.array(self._group))

    def numbers(self) -> np.ndarray:
        return np.array(self._number)


@dataclass(frozen=True)
class Outcome:
    """What an audit has judged, before it is reported: `positions` (texts,) of the texts that were measured, `worst`
    (texts,) the number of each one's window with the highest score, `failed` the reasons of the others."""

    survey: Survey
    law: LawCheckResult
    judged: Judgements
    positions: np.ndarray
    worst: np.ndarray
    failed: dict[int, str]
    heldout: HeldoutSummary | None
    evaluations: int
    entropy: float | None
    late: tuple[str, ...]


@dataclass(frozen=True)
class OwnResults:
    """What a model's own samples add to a report."""

    results: Sequence[TextResult]
    regime: RegimeReport | None


Own = Callable[[LawCheckResult], OwnResults]
