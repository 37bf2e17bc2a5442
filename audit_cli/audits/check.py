"""`uddm-audit check`: sets of texts audited together, under one policy, and whether the model may pass."""

import datetime
import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import msgspec

from audit_cli.audits.accepted import Marked
from audit_cli.audits.basins import BasinSettings, basins_audit, report_levels
from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.entropy import EntropySettings, entropy_audit, own_samples
from audit_cli.audits.heldout import too_few
from audit_cli.audits.journal import Journal
from audit_cli.audits.law import SAMPLERS, checked_law
from audit_cli.audits.plan import Plan, plan
from audit_cli.audits.provenance import run_info
from audit_cli.audits.run import Audit, Outcome, OwnResults, Survey
from audit_cli.audits.texts import LAW_ROWS
from audit_cli.audits.watch import TimeIsOver, Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.records import (
    GateReport,
    LawCheckResult,
    Limit,
    LimitState,
    Reason,
    SetReport,
    Verdict,
)
from audit_cli.redaction import Redaction, ShowText
from audit_cli.verdicts.baseline import Baseline
from audit_cli.verdicts.gate import (
    FAILED,
    FAILING,
    INCONCLUSIVE,
    ORDER,
    UNAUDITABLE,
    UNMEASURED,
    exit_code,
    limits,
)
from audit_cli.verdicts.judge import judged_together
from audit_cli.verdicts.policy import Measure, nearest
from audit_cli.verdicts.recipes import OF_BASINS, OF_ENTROPY, named

NOTHING_TO_COMPARE = "nothing to compare it with: a verdict needs held-out text, a calibration or twins"
NO_CANDIDATES = "no candidates"
# Settings that are set elsewhere, or that change no finding.
NOT_ACCEPTING = frozenset({"batch_size", "argmax", "per_token", "samples", "sample_steps", "protocol", "convert"})
OF_BASINS_ALONE = frozenset({"levels", "restarts", "steps", "sampler", "pattern"})
OF_ENTROPY_ALONE = frozenset({"t", "draws"})
Settings = BasinSettings | EntropySettings


@dataclass(frozen=True)
class CheckedSet:
    """Texts under a name, and what they are compared with; `line` is the set's in the policy, `paths` has the file that
    each source stands for."""

    name: str
    texts: Texts
    comparison: Comparison
    line: int = 0
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rules:
    """What decides whether a model passes. `limits` are those of its own `samples`; `policy` is all of it in plain
    values, from the file `where`."""

    fail_on: str = "memorized"
    least_references: int = 0
    most_skipped: int = 0
    samples: int = 0
    limits: Mapping[str, float] = field(default_factory=dict)
    baseline: Baseline | None = None
    baseline_name: str = ""
    forgiven: bool = False
    policy: Mapping[str, Any] = field(default_factory=dict)
    where: str = ""


class Check:
    """One model, sets of texts, one way to measure them, one decision."""

    def __init__(
        self,
        model: LoadedModel,
        sets: Sequence[CheckedSet],
        settings: Settings,
        rules: Rules,
        watch: Watch,
        journal: Journal,
    ) -> None:
        """Raises ValueError on settings that do not fit the model."""
        build: Any = basins_audit if isinstance(settings, BasinSettings) else entropy_audit
        self.model, self.sets, self.rules, self.watch = model, sets, rules, watch
        self.audits: list[Audit[Any]] = [
            build(model, one.texts, one.comparison, settings, watch, journal.of_set(number))
            for number, one in enumerate(sets)
        ]
        self.settings: Settings = self.audits[0].settings
        self.begun = time.monotonic()
        self.over = False

    @property
    def probe(self) -> str:
        """The command whose measurements these are."""
        return self.audits[0].task.command

    def accepting(self) -> dict[str, Any]:
        """The settings under which a finding may be accepted: all that decide it but the model and the texts."""
        recipe = self.audits[0].task.recipe.name
        plain = {name: value for name, value in asdict(self.settings).items() if name not in NOT_ACCEPTING}
        return {"probe": self.probe, **_rounded(plain), "recipe": recipe}

    def accepting_id(self) -> str:
        """A hash of these."""
        return hashlib.sha256(json.dumps(self.accepting(), sort_keys=True).encode()).hexdigest()[:12]

    def survey(self) -> list[Survey]:
        """Read all texts once, and say what cannot be found among all of them."""
        surveys = [audit.survey(told=False) for audit in self.audits]
        candidates = sum(survey.found.distinct for survey in surveys)
        return [
            replace(survey, warnings=self._few(one, audit, survey, candidates) + survey.warnings)
            for one, audit, survey in zip(self.sets, self.audits, surveys, strict=True)
        ]

    def plans(self) -> list[Plan]:
        """What the check would take, set by set."""
        return [plan(audit, survey) for audit, survey in zip(self.audits, self.survey(), strict=True)]

    def report(self, redaction: Redaction, today: datetime.date, limit: str = "") -> GateReport:
        """Measure what is not in the journal, judge all sets together, decide. `limit` names the time that the watch
        allows: what is not measured by then is skipped."""
        surveys = self.survey()
        law = checked_law(self.model, self.settings.seed, _law_rows(surveys))
        late = self._measured(surveys)
        own = self._own(redaction, law)
        unmeasured = UNMEASURED.format(limit) if self.over else ""
        outcomes = [
            self._judged(audit, survey, law, more, unmeasured)
            for audit, survey, more in zip(self.audits, surveys, late, strict=True)
        ]
        together = judged_together([outcome.judged for outcome in outcomes])
        outcomes = [replace(of, judged=judged) for of, judged in zip(outcomes, together, strict=True)]
        sets = tuple(
            self._set_report(one, audit, outcome, redaction, today)
            for one, audit, outcome in zip(self.sets, self.audits, outcomes, strict=True)
        )
        found = limits(self.rules.limits, own.regime)
        reasons = tuple(sorted(self._reasons(sets, found, own, limit), key=lambda reason: ORDER.index(reason.code)))
        return GateReport(
            model=self.model.info,
            law=law,
            run=self._run(sets),
            sets=sets,
            fdr=self.settings.fdr,
            fail_on=self.rules.fail_on,
            fingerprint_key=redaction.key_name(),
            accepting=self.accepting(),
            accepting_id=self.accepting_id(),
            reasons=reasons,
            exit_code=exit_code(reasons, self.rules.forgiven),
            forgiven=self.rules.forgiven,
            baseline=self.rules.baseline_name,
            regime=own.regime,
            limits=found,
            reference_model=sets[0].report.reference_model,
            warnings=self._warnings(sets),
        )

    def _few(self, one: CheckedSet, audit: Audit[Any], survey: Survey, candidates: int) -> tuple[str, ...]:
        """What cannot be found in a set, where all sets have so many candidates."""
        if not survey.found.distinct:
            told: tuple[str, ...] = ()
        elif not one.comparison.judged:
            told = (f"none of the {survey.found.distinct:,} texts can be judged: {NOTHING_TO_COMPARE}",)
        else:
            told = too_few(audit.compared_with(survey), candidates, self.settings.fdr, audit.others)
        for message in told:
            self.watch.warn(f"{one.name}: {message}" if len(self.sets) > 1 else message)
        return told

    def _measured(self, surveys: Sequence[Survey]) -> list[tuple[str, ...]]:
        """Measure set after set until all is done, or the time is over; what came up, by set."""
        late: list[tuple[str, ...]] = []
        for audit, survey in zip(self.audits, surveys, strict=True):
            try:
                late.append(audit.measure(survey) if not self.over else ())
            except TimeIsOver:
                self.over = True
                late.append(())
        return late

    def _own(self, redaction: Redaction, law: LawCheckResult) -> OwnResults:
        """What the model writes by itself, where the policy limits that."""
        if not self.rules.limits or self.over:
            return OwnResults((), None)
        settings = EntropySettings(samples=self.rules.samples, seed=self.settings.seed).settled(self.model)
        try:
            return own_samples(self.model, settings, redaction, self.watch, law)
        except TimeIsOver:
            self.over = True
            return OwnResults((), None)

    def _judged(
        self, audit: Audit[Any], survey: Survey, law: LawCheckResult, late: tuple[str, ...], unmeasured: str
    ) -> Outcome:
        outcome = audit.judged(survey, law, late, unmeasured)
        judged = outcome.judged
        if not judged.judged:
            judged = replace(judged, judged=True, without=NOTHING_TO_COMPARE)
        return replace(outcome, judged=replace(judged, fdr=self.settings.fdr, least=self.rules.least_references))

    def _set_report(
        self, one: CheckedSet, audit: Audit[Any], outcome: Outcome, redaction: Redaction, today: datetime.date
    ) -> SetReport:
        report = audit.reported(outcome, redaction)
        if isinstance(self.settings, BasinSettings):
            report = replace(report, levels=report_levels(audit))
        failing = FAILING[self.rules.fail_on]
        # What may be shown of a text decides nothing.
        key = Redaction(ShowText.FINGERPRINT, redaction.key)
        marked = Marked(report.results, self.rules.baseline, failing, today, key)
        count = sum(number for verdict, number in report.counts.verdicts if verdict in failing)
        known = gone = 0
        if self.rules.baseline is not None:
            # Looked at before anything is written: the exit code stands in what is written.
            looks = [marked.look(result) for result in report.results if marked.is_finding(result)]
            known = sum(look.known is not None for look in looks)
            count = sum(look.failing for look in looks)
            gone = sum(look.expired is not None for look in looks)
        where = self.rules.where if one.line else ""
        return SetReport(one.name, replace(report, results=marked), count, known, gone, where, one.line, one.paths)

    def _reasons(
        self, sets: Sequence[SetReport], found: Sequence[Limit], own: OwnResults, limit: str
    ) -> Iterator[Reason]:
        if failing := sum(one.failing for one in sets):
            above = "" if self.rules.fail_on == "memorized" else " or above"
            expired = sum(one.expired for one in sets)
            again = f", {expired:,} of them accepted until a day that is over" if expired else ""
            yield Reason(FAILED, f"{_texts(failing)} {self.rules.fail_on}{above}{again}")
        for bound in found:
            if bound.state is LimitState.EXCEEDED and bound.measured is not None:
                side = "above" if bound.name.startswith("max") else "below"
                yield Reason(FAILED, f"{bound.name}: {bound.measured.value:.2f} is {side} {bound.bound:g}")
        if self.over:
            yield Reason(UNAUDITABLE, f"the time limit of {limit} was over before everything was measured")
        for one in sets:
            if not one.report.counts.given:
                yield Reason(UNAUDITABLE, f"{one.name}: {NO_CANDIDATES}")
        skipped = sum(one.report.counts.skipped for one in sets)
        if not self.over and skipped > self.rules.most_skipped:
            yield Reason(
                UNAUDITABLE, f"{_texts(skipped)} skipped, and {self.rules.most_skipped:,} may be (max-skipped)"
            )
        elif not self.over:
            # However many may be skipped, a set of which nothing was looked at has not passed.
            for one in sets:
                counts = one.report.counts
                if counts.given and counts.skipped == counts.given:
                    yield Reason(UNAUDITABLE, f"{one.name}: all texts are skipped")
        if self.rules.limits and own.regime is None and not self.over:
            yield Reason(UNAUDITABLE, "nothing could be measured of what the model writes by itself")
        if unjudged := sum(dict(one.report.counts.verdicts).get(Verdict.INCONCLUSIVE, 0) for one in sets):
            yield Reason(INCONCLUSIVE, f"{_texts(unjudged)} inconclusive")
        for bound in found:
            if bound.state is LimitState.OPEN and own.regime is not None:
                yield Reason(INCONCLUSIVE, f"{bound.name}: {_open(bound)}")

    def _run(self, sets: Sequence[SetReport]) -> Any:
        own: dict[str, object] = dict(self.rules.policy) | {"measure": self.accepting()}
        decided: dict[str, object] = own | {"sets_settings": [one.report.run.settings_id for one in sets]}
        spent = sum(one.report.run.evaluations for one in sets)
        seconds = time.monotonic() - self.begun
        return replace(run_info("check", _Nothing(), self.model, decided, seconds, spent), settings=own)

    def _warnings(self, sets: Sequence[SetReport]) -> tuple[str, ...]:
        """Those of every set, by its name where there are several."""
        return tuple(
            f"{one.name}: {warning}" if len(sets) > 1 else warning for one in sets for warning in one.report.warnings
        )


@dataclass(frozen=True)
class _Nothing:
    """Settings that are all told otherwise."""


def settings_of(measure: Measure, seed: int, fdr: float, batch_size: int | None = None) -> Settings:
    """How a policy measures. Raises ValueError, naming the key, on what the probe does not have."""
    asked = {field: value for field, value in msgspec.structs.asdict(measure).items() if value is not msgspec.UNSET}
    asked.pop("probe")
    basins = measure.probe == "basins"
    foreign = sorted(asked.keys() & (OF_ENTROPY_ALONE if basins else OF_BASINS_ALONE))
    if foreign:
        raise ValueError(f"{', '.join(foreign)}: not of the probe {measure.probe}")
    if "sampler" in asked and asked["sampler"] not in SAMPLERS:
        raise ValueError(f"sampler: unknown {asked['sampler']!r}{nearest(asked['sampler'], SAMPLERS)}")
    if "recipe" in asked:
        known = OF_BASINS if basins else OF_ENTROPY
        asked["recipe"] = named(asked["recipe"], known).name
    asked |= {"seed": seed, "fdr": fdr, "batch_size": batch_size}
    if not basins:
        if asked.get("t", T_MIN) < T_MIN:
            raise ValueError(f"t: a diffusion time from {T_MIN:g} to 1")
        # A corruption at a later time is no clean text.
        asked["draws"] = asked.get("draws", 0) or int(asked.get("t", T_MIN) > T_MIN)
        return EntropySettings(**asked)
    if "levels" in asked:
        asked["levels"] = tuple(sorted(set(asked["levels"])))
    return BasinSettings(**asked)


def _law_rows(surveys: Iterable[Survey]) -> list[tuple[int, ...]]:
    """Rows of all sets in turn, as many as the law is checked on."""
    rows = [survey.found.law_rows for survey in surveys]
    longest = max(map(len, rows), default=0)
    return [of[i] for i in range(longest) for of in rows if i < len(of)][:LAW_ROWS]


def _texts(count: int) -> str:
    return f"{count:,} text{' is' if count == 1 else 's are'}"


def _open(limit: Limit) -> str:
    if limit.measured is None:
        return "cannot be told of a model whose entropy tells nothing of memorization"
    m = limit.measured
    return f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}] does not tell on which side of {limit.bound:g} it lies"


def _rounded(value: Any) -> Any:
    """Plain values as JSON has them, numbers to nine digits: machines differ in the last ones."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value
