"""A gate's report as one JSON document; its schema is shipped as `schemas/check.schema.json`."""

from collections.abc import Iterable
from importlib import resources
from typing import Any, BinaryIO

from audit_cli.records import AuditReport, GateReport, Known, SetReport, TextResult, Verdict
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import SCHEMA as TABLE_SCHEMA
from audit_cli.reports.gate.findings import all_texts, warnings
from audit_cli.reports.gate.table import gate_cells
from audit_cli.reports.metadata import dumped, fairness_facts, heldout_numbers

SCHEMA = "uddm-audit/check/1"
_CELLS = (
    *("set", "id", "source", "line", "fingerprint", "status", "skip_reason", "duplicate_of", "tokens", "windows"),
    *("verdict", "verdict_reason", "recipe", "score", "p_value", "p_value_upper95", "q_value", "references"),
    *("comparability", "failing"),
)


def schema_text() -> str:
    """The JSON Schema (2020-12) of what `write_json` writes."""
    folder = resources.files("audit_cli.reports").joinpath("schemas")
    return folder.joinpath("check.schema.json").read_text(encoding="utf-8")


def write_json(report: GateReport, redaction: Redaction, file: BinaryIO) -> None:
    """One JSON document, ASCII only, a text a line. Strings from outside are kept exactly: escapes hold them.

    Numbers that JSON does not know are null, as what was not measured is.
    """
    write_listed(
        {"schema": SCHEMA, **_facts(report)},
        "results",
        (_result(one, result, redaction) for one, result in all_texts(report)),
        file,
    )
    file.write(b"}\n")


def gate_metadata(report: GateReport) -> str:
    """What `OUT.meta.json` holds beside the table of a gate: all but the results, as JSON with an end of line."""
    return dumped({"schema": TABLE_SCHEMA, "command": "check", **_facts(report)}, indent=2) + "\n"


def write_listed(head: dict[str, Any], name: str, items: Iterable[Any], file: BinaryIO) -> None:
    """Write an object without its closing brace: `head`, then under `name` the items, each on a line as it comes."""
    file.write(dumped(head, indent=2).removesuffix("\n}").encode("ascii"))
    file.write(f',\n  "{name}": ['.encode("ascii"))
    separator = b"\n    "
    for item in items:
        file.write(separator + dumped(item).encode("ascii"))
        separator = b",\n    "
    file.write(b"\n  ]\n")


def _facts(report: GateReport) -> dict[str, Any]:
    """Everything but the results."""
    run, law, regime = report.run, report.law, report.regime
    return {
        "tool": {"name": "uddm-audit", "version": run.version},
        "gate": {
            "exit_code": report.exit_code,
            "passed": report.exit_code == 0,
            "forgiven": report.forgiven,
            "fail_on": report.fail_on,
            "fdr": report.fdr,
            "failing": report.failing,
            "known": report.known,
            "reasons": report.reasons,
        },
        "model": report.model,
        "reference_model": report.reference_model,
        "law_check": {"contrast": law.contrast, "result": law.check, "probes": law.probes},
        "run": {
            "settings_id": run.settings_id,
            "settings": run.settings,
            "device": run.device,
            "precision": run.precision,
            "backend": run.backend,
            "evaluations": run.evaluations,
            "seconds": round(run.seconds, 3),
        },
        "baseline": report.baseline or None,
        "accepting": {"id": report.accepting_id, "settings": report.accepting},
        "fingerprint_key": report.fingerprint_key,
        "regime": regime
        and {
            "regime": regime.regime,
            "reason": regime.reason,
            "samples": regime.samples,
            "entropy": regime.entropy,
            "unigram_share": regime.unigram_share,
            "vanishing_share": regime.vanishing_share,
            "distinct": regime.distinct,
        },
        "limits": [
            {"name": limit.name, "bound": limit.bound, "state": limit.state, "measured": limit.measured}
            for limit in report.limits
        ],
        "warnings": warnings(report),
        "sets": [_set(one) for one in report.sets],
    }


def _set(one: SetReport) -> dict[str, Any]:
    return {
        "name": one.name,
        "where": one.where,
        "line": one.line,
        "counts": _counts(one.report),
        "heldout": heldout_numbers(one.report.heldout),
        "comparability": fairness_facts(one.report.heldout),
        "failing": one.failing,
        "known": one.known,
        "expired": one.expired,
        "settings_id": one.report.run.settings_id,
        "warnings": one.report.warnings,
    }


def _counts(report: AuditReport) -> dict[str, Any]:
    """Every verdict is named, found or not: who reads the numbers need not ask whether they are there."""
    counts, judged = report.counts, dict(report.counts.verdicts)
    return {
        "given": counts.given,
        "measured": counts.measured,
        "duplicates": counts.duplicates,
        "skipped": counts.skipped,
        "verdicts": {verdict: judged.get(verdict, 0) for verdict in Verdict},
        "most_references": counts.most_references,
    }


def _result(one: SetReport, result: TextResult, redaction: Redaction) -> dict[str, Any]:
    cells = gate_cells(one, result, redaction)
    return {
        **{name: cells[name] for name in _CELLS},
        "known": _accepted(result.known),
        "expired": _accepted(result.expired),
        "returned": None
        if cells["returned_share"] is None
        else {end: cells[f"returned_{end}"] for end in ("share", "low", "high")},
        "basin": None
        if cells["basin"] is None
        else {"size": cells["basin"], **{end: cells[f"basin_{end}"] for end in ("low", "high", "censored")}},
        "surprise_nats": cells["surprise_nats"],
        "entropy_nats": cells["entropy_nats"],
        # What was made up by others must not be taken for words of ours, by people or by programs.
        "untrusted_text": cells["text"],
    }


def _accepted(known: Known | None) -> dict[str, Any] | None:
    """How somebody accepted a finding."""
    if known is None:
        return None
    return {
        "reason": known.reason,
        "author": known.author,
        "added": known.added,
        "expires": known.expires or None,
        "verdict": known.verdict,
    }
