"""Findings under a gate: which of them a person has accepted, and which fail."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, replace

from audit_cli.records import Known, Results, Status, TextResult, Verdict
from audit_cli.redaction import Redaction
from audit_cli.verdicts.baseline import Baseline, expired
from audit_cli.verdicts.gate import FINDINGS


@dataclass(frozen=True)
class Look:
    """A finding under a gate; `expired` is the acceptance of one that fails again."""

    known: Known | None
    failing: bool
    expired: Known | None


class Marked(Results):
    """Results, each marked as known, failing, or failing since its acceptance has expired."""

    def __init__(
        self,
        results: Results,
        baseline: Baseline | None,
        failing: frozenset[Verdict],
        today: datetime.date,
        key: Redaction,
    ) -> None:
        self._results, self._baseline, self._failing, self._today = results, baseline, failing, today
        self._key = key

    def __len__(self) -> int:
        return len(self._results)

    def __iter__(self) -> Iterator[TextResult]:
        for result in self._results:
            if self.is_finding(result):
                look = self.look(result)
                result = replace(result, known=look.known, failing=look.failing, expired=look.expired)
            yield result

    def is_finding(self, result: TextResult) -> bool:
        """Whether the text has a verdict that says something of it; a duplicate is no finding of its own."""
        return result.status is Status.MEASURED and bool(result.judgement and result.judgement.verdict in FINDINGS)

    def look(self, result: TextResult) -> Look:
        """What the baseline says of a finding."""
        verdict = result.judgement.verdict if result.judgement else None
        assert verdict is not None  # noqa: S101 - it is a finding
        accepted = None
        if self._baseline is not None:
            fingerprint = self._key.fingerprint(result.candidate.text, result.candidate.token_ids)
            accepted = self._baseline.of(fingerprint, verdict)
        gone = accepted is not None and expired(accepted, self._today)
        known = None if gone else accepted
        failing = verdict in self._failing and known is None
        return Look(known, failing, accepted if gone and failing else None)
