"""What `OUT.meta.json` holds: everything that decides the numbers of a table, and how they were computed."""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any

from audit_cli.records import AuditReport, FairnessCheck, HeldoutQuantile, HeldoutSummary
from audit_cli.reports.columns import SCHEMA
from audit_cli.reports.model import law_notes


def metadata(report: AuditReport) -> str:
    """The provenance of a report as JSON, ASCII only, with an end of line."""
    run = report.run
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "levels": report.levels,
        "model": report.model,
        "reference_model": report.reference_model,
        "law_check": {"contrast": report.law.contrast, "result": report.law.check, "probes": report.law.probes},
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "heldout": heldout_numbers(report.heldout),
        "comparability": fairness_facts(report.heldout),
        "counts": report.counts,
        "warnings": [*law_notes(report), *report.warnings],
        "regime": None if report.regime is None else str(report.regime.regime or "none"),
    }
    return dumped(facts, indent=2) + "\n"


def dumped(value: Any, indent: int | None = None) -> str:
    """The value as JSON, ASCII only, as `plain` makes it."""
    return json.dumps(plain(value), indent=indent, ensure_ascii=True, allow_nan=False)


def plain(value: Any) -> Any:
    """The value out of what JSON knows: records as objects, enums as their values, anything strange as its name."""
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if value is None or isinstance(value, str | int):
        return value
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(plain, value), key=str)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return str(value)


def heldout_numbers(heldout: HeldoutSummary | None) -> dict[str, object] | None:
    """How many held-out texts were given, left out and used; not what was measured of them, nor when."""
    if heldout is None:
        return None
    values = {field.name: getattr(heldout, field.name) for field in fields(heldout) if field.name != "recalled"}
    return {
        name: plain(value)
        for name, value in values.items()
        if not isinstance(value, HeldoutQuantile | FairnessCheck | None)
    }


def fairness_facts(heldout: HeldoutSummary | None) -> dict[str, object] | None:
    """All of the check of fairness but its words, which are text."""
    check = None if heldout is None else heldout.fairness
    if check is None:
        return None
    return {field.name: plain(getattr(check, field.name)) for field in fields(check) if field.name != "words"}
