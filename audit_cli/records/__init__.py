"""The frozen records that travel between rooms. Standard library only.

Entropies and surprises are in nats; a report converts them where another unit is asked for. `None` is "not
measured" and never zero.
"""

from audit_cli.records.gate import GateReport, Limit, LimitState, Reason, SetReport
from audit_cli.records.judgements import (
    Comparability,
    Judgement,
    LawCheck,
    LawCheckResult,
    ModelInfo,
    Regime,
    RegimeReport,
    Verdict,
)
from audit_cli.records.measurements import (
    SURPRISE_CAP,
    VANISHING_NATS,
    Basin,
    BasinMeasurement,
    EntropyMeasurement,
    Evidence,
    ExtractionMeasurement,
    Interval,
    LevelMeasurement,
    TokenMeasurement,
)
from audit_cli.records.reports import (
    AuditReport,
    Counts,
    Evaluation,
    FairnessCheck,
    HeldoutQuantile,
    HeldoutSummary,
    Known,
    Operating,
    Results,
    RunInfo,
    ScoredText,
    ScoreReport,
    Status,
    TextResult,
)
from audit_cli.records.texts import Candidate, Row, Skipped

__all__ = [
    "SURPRISE_CAP",
    "VANISHING_NATS",
    "AuditReport",
    "Basin",
    "BasinMeasurement",
    "Candidate",
    "Comparability",
    "Counts",
    "EntropyMeasurement",
    "Evaluation",
    "Evidence",
    "ExtractionMeasurement",
    "FairnessCheck",
    "GateReport",
    "HeldoutQuantile",
    "HeldoutSummary",
    "Interval",
    "Judgement",
    "Known",
    "LawCheck",
    "LawCheckResult",
    "LevelMeasurement",
    "Limit",
    "LimitState",
    "ModelInfo",
    "Operating",
    "Reason",
    "Regime",
    "RegimeReport",
    "Results",
    "Row",
    "RunInfo",
    "ScoreReport",
    "ScoredText",
    "SetReport",
    "Skipped",
    "Status",
    "TextResult",
    "TokenMeasurement",
    "Verdict",
]
