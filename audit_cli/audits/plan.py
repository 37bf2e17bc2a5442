"""What an audit would take, told without doing it."""

import resource
import sys
import time
from dataclasses import dataclass
from itertools import islice

from audit_cli.audits.measuring import Measured
from audit_cli.audits.run import Audit
from audit_cli.audits.texts import distinct_rows

# The probe is timed on ever more rows until it takes so long.
ENOUGH_SECONDS, MOST_ROWS = 1.0, 64


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


def plan(audit: Audit[Measured]) -> Plan:
    """Read all texts and time the probe on a few of them."""
    survey = audit.survey()
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
        peak_bytes=_peak_bytes(),
        warnings=survey.warnings,
    )


def _seconds_an_evaluation(audit: Audit[Measured]) -> float:
    found = (row for _, rows in distinct_rows(audit.model, audit.texts, audit.journal) for row in rows)
    rows = list(islice(found, MOST_ROWS))
    count = 1
    while rows:
        begun = time.monotonic()
        list(audit.task.measure(audit.model.denoiser, rows[:count]))
        seconds = time.monotonic() - begun
        if seconds >= ENOUGH_SECONDS or count >= len(rows):
            return seconds / sum(map(audit.task.evaluations, rows[:count]))
        count *= 4
    return 0.0


def _peak_bytes() -> int:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
