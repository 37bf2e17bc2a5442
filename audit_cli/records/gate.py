"""What a gate found: sets of texts under one policy, and whether the model may pass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from audit_cli.records.judgements import LawCheckResult, ModelInfo, RegimeReport
from audit_cli.records.measurements import Interval
from audit_cli.records.reports import AuditReport, RunInfo


class LimitState(StrEnum):
    """Whether the model keeps to a limit: `open` where the limit lies within the interval, or nothing was measured."""

    KEPT = "kept"
    EXCEEDED = "exceeded"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a policy sets to what the model writes by itself, and what was measured."""

    name: str
    bound: float
    measured: Interval | None
    state: LimitState


@dataclass(frozen=True, slots=True)
class SetReport:
    """A set of candidates. Of its distinct texts so many are `failing`: findings at or above the verdict that fails,
    which no baseline names; of so many the baseline holds, or has `expired`.

    `where` and `line` are the policy's file and the set's line in it, empty and 0 without a policy. `paths` has the
    file that each source of the candidates stands for.
    """

    name: str
    report: AuditReport
    failing: int
    known: int
    expired: int
    where: str = ""
    line: int = 0
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """Something that decides an exit code."""

    code: int
    message: str


@dataclass(frozen=True, slots=True)
class GateReport:
    """A gate's decision and what it rests on.

    `run.settings` is the policy in force, as plain values. `accepting` are the settings under which a finding may be
    accepted, and `accepting_id` is their hash; `fingerprint_key` names the key of the fingerprints and tells nothing of
    it. `exit_code` is that of the first of `reasons`, 0 without any; 1 becomes what comes next, if so `forgiven`.
    """

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    sets: tuple[SetReport, ...]
    fdr: float
    fail_on: str
    fingerprint_key: str
    accepting: dict[str, object]
    accepting_id: str
    reasons: tuple[Reason, ...]
    exit_code: int
    forgiven: bool = False
    baseline: str = ""
    regime: RegimeReport | None = None
    limits: tuple[Limit, ...] = ()
    reference_model: ModelInfo | None = None
    warnings: tuple[str, ...] = ()

    @property
    def failing(self) -> int:
        """Findings that fail the gate."""
        return sum(one.failing for one in self.sets)

    @property
    def known(self) -> int:
        """Findings that the baseline lets pass."""
        return sum(one.known for one in self.sets)
