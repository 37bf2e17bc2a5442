"""What an audit would take, told without doing it."""

import resource
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from audit_cli.audits.measuring import Measured
from audit_cli.audits.run import Audit, Survey
from audit_cli.audits.texts import distinct_rows
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.records import Row

# Ever larger parts of the task are timed until one takes so long; the time in all is bounded.
ENOUGH_SECONDS, MOST_SECONDS = 0.5, 2.0
FIRST_STEPS, FIRST_RESTARTS, MOST_ROWS = 16, 1, 64
GROWTH = 4


@dataclass(frozen=True)
class Plan:
    """Texts and held-out rows to measure, network evaluations of one sequence, and what these take here."""

    given: int
    distinct: int
    duplicates: int
    skipped: int
    windows: int
    heldout: int | None
    text_evaluations: int
    heldout_evaluations: int
    twin_evaluations: int
    seconds_an_evaluation: float
    peak_bytes: int
    warnings: tuple[str, ...]

    @property
    def evaluations(self) -> int:
        """All of them."""
        return self.text_evaluations + self.heldout_evaluations + self.twin_evaluations

    @property
    def seconds(self) -> float:
        """About how long it would take."""
        return self.evaluations * self.seconds_an_evaluation


@dataclass(frozen=True)
class RunsPlan:
    """What a command takes that runs the reverse process and looks where that ends: `given` texts or cues, of which
    `skipped` cannot be run; at most how many network evaluations the runs and the entropy of their ends take."""

    given: int
    skipped: int
    run_evaluations: int
    entropy_evaluations: int
    seconds_an_evaluation: float
    peak_bytes: int

    @property
    def seconds(self) -> float:
        """About how long it would take."""
        return (self.run_evaluations + self.entropy_evaluations) * self.seconds_an_evaluation


def plan(audit: Audit[Measured], survey: Survey | None = None) -> Plan:
    """Read all texts, unless a survey has, and time the probe on a few of them."""
    survey = survey or audit.survey()
    found, references = survey.found, survey.references
    texts, held, twins = audit.evaluations(survey)
    return Plan(
        given=found.given,
        distinct=found.distinct,
        duplicates=found.duplicates,
        skipped=found.skipped,
        windows=found.windows,
        heldout=None if references is None else references.used,
        text_evaluations=texts,
        heldout_evaluations=held,
        twin_evaluations=twins,
        seconds_an_evaluation=_seconds_an_evaluation(audit),
        peak_bytes=peak_bytes(),
        warnings=survey.warnings,
    )


def _seconds_an_evaluation(audit: Audit[Any]) -> float:
    """The same of an audit, from its first rows."""
    found = (row for _, rows in distinct_rows(audit.model, audit.texts, audit.journal) for row in rows)
    return seconds_an_evaluation(audit.model, audit.task, audit.settings, list(islice(found, MOST_ROWS)))


def seconds_an_evaluation(model: LoadedModel, whole_task: Any, settings: Any, rows: list[Row]) -> float:
    """Seconds of an evaluation as the probe counts them, from a part of the task that grows until it takes long enough.

    The part is small in restarts and steps too: of a single text they can take hours.
    """
    until = time.monotonic() + MOST_SECONDS
    told, before = 0.0, (0, 0.0)
    for part in _parts(settings, len(rows)):
        task, some = part.of(whole_task), rows[: part.rows]
        denoiser = _Timed(model.denoiser, until)
        begun = time.monotonic()
        try:
            for _ in task.measure(denoiser, some):
                pass
        except _TimeIsOver:
            # Evaluations that were made count where they are all that there is: of many steps some need no network.
            return told or (time.monotonic() - begun) / denoiser.evaluations
        seconds, count = time.monotonic() - begun, sum(map(task.evaluations, some))
        whole = sum(map(whole_task.evaluations, some))
        # Twice the steps take less than twice as long: what is left out costs as much as was added last.
        added = (count - before[0], seconds - before[1])
        more = seconds / count if added[0] <= 0 or added[1] <= 0 else added[1] / added[0]
        told, before = (seconds + more * (whole - count)) / whole, (count, seconds)
        if seconds >= ENOUGH_SECONDS:
            break
    return told


def seconds_of_runs(model: LoadedModel, most: int, each: int, run: Callable[[Denoiser, int], None]) -> float:
    """Seconds of an evaluation where a run counts as `each` of them, from ever more runs, `most` at most."""
    until = time.monotonic() + MOST_SECONDS
    count, told = 1, 0.0
    while True:
        denoiser: Any = _Timed(model.denoiser, until)
        begun = time.monotonic()
        try:
            run(denoiser, count)
        except _TimeIsOver:
            return told or (time.monotonic() - begun) / denoiser.evaluations
        seconds = time.monotonic() - begun
        told = seconds / (count * each)
        if seconds >= ENOUGH_SECONDS or count >= most:
            return told
        count = min(most, count * GROWTH)


@dataclass(frozen=True)
class _Part:
    """So many rows, restarts and steps at most; None where a task has no such thing."""

    rows: int
    restarts: int | None
    steps: int | None

    def of(self, task: Any) -> Any:
        """The task with so few; whole if that is all that it has."""
        less = {
            name: value
            for name, value in (("restarts", self.restarts), ("steps", self.steps))
            if value is not None and value < getattr(task.settings, name)
        }
        if not less:
            return task
        # Fewer restarts leave more open than all would, and a second look is not among the evaluations.
        once = {"look_again": False} if hasattr(task, "look_again") else {}
        return replace(task, settings=replace(task.settings, **less), **once)


def _parts(settings: Any, rows: int) -> Iterator[_Part]:
    """Ever larger parts of a task: first all steps, since few and many cost differently each, then restarts, then
    rows."""
    most = {name: getattr(settings, name, None) for name in ("steps", "restarts")}
    size = {"steps": FIRST_STEPS, "restarts": FIRST_RESTARTS, "rows": 1}
    if not rows:
        return
    yield _Part(1, most["restarts"] and FIRST_RESTARTS, most["steps"] and FIRST_STEPS)
    for name, enough in (("steps", most["steps"] or 0), ("restarts", most["restarts"] or 0), ("rows", rows)):
        while size[name] < enough:
            size[name] *= GROWTH
            yield _Part(size["rows"], most["restarts"] and size["restarts"], most["steps"] and size["steps"])


class _TimeIsOver(Exception):
    """Raised through a probe that is being timed."""


class _Timed:
    """A denoiser that counts the sequences that it evaluates, and stops when the time is over."""

    def __init__(self, denoiser: Denoiser, until: float) -> None:
        self.evaluations = 0
        self._denoiser = denoiser
        self._until = until

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def hidden(
        self, tokens: Int64[Tensor, "rows length"], t: Float64[Tensor, " rows"], context: Any = None
    ) -> Float[Tensor, "rows length width"]:
        """See `Denoiser.hidden`."""
        if self.evaluations and time.monotonic() >= self._until:
            raise _TimeIsOver
        self.evaluations += len(tokens)
        return self._denoiser.hidden(tokens, t, context)


def peak_bytes() -> int:
    """The most memory that this process has had."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
