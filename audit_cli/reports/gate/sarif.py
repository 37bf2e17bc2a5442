"""A gate's report as SARIF 2.1.0, which code scanning reads. It holds nothing of a text, whatever may be shown."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from audit_cli.records import GateReport, Limit, LimitState, SetReport, TextResult, Verdict
from audit_cli.redaction import Redaction
from audit_cli.reports.gate.findings import (
    Outcome,
    all_texts,
    described,
    fails,
    limit_described,
    outcome,
    verdict,
    warnings,
)
from audit_cli.reports.gate.json_report import write_listed
from audit_cli.reports.gate.sarif_rules import LEVELS, RULES
from audit_cli.reports.metadata import dumped
from audit_cli.safetext import for_sarif, for_terminal, for_uri

# GitHub takes no more of a run, and shows the first 5,000.
MOST_RESULTS = 25_000
NO_FILES = ("", "-", "stdin")
# A run that found something was carried out; one that ended with these codes was not.
NOT_CARRIED_OUT = (2, 3)
_NUMBERS = {rule["id"]: number for number, rule in enumerate(RULES)}


def write_sarif(report: GateReport, _: Redaction, file: BinaryIO) -> None:
    """SARIF 2.1.0 with one run, ASCII only, a result a line: what fails first, at most `MOST_RESULTS`.

    Accepted findings are results that are suppressed. A notification says how many results were left out.
    """
    listed = _Listed(report)
    file.write(b'{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "version": "2.1.0", "runs": [\n')
    write_listed(_head(report), "results", listed, file)
    file.write(b',\n  "invocations": [' + dumped(_invocation(report, listed.left_out)).encode("ascii") + b"]\n}]}\n")


class _Listed:
    """The results, and how many of them were left out of the last iteration."""

    def __init__(self, report: GateReport) -> None:
        self._report, self.left_out = report, 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        self.left_out = 0
        for number, result in enumerate(self._results()):
            if number < MOST_RESULTS:
                yield result
            else:
                self.left_out += 1

    def _results(self) -> Iterator[dict[str, Any]]:
        """What fails, then the rest: the results are read twice, for they may not fit into memory."""
        report = self._report
        for failing in (True, False):
            for limit in report.limits:
                if limit.state is not LimitState.KEPT and failing == (limit.state is LimitState.EXCEEDED):
                    yield _of_limit(report, limit)
            for one, result in all_texts(report):
                found = outcome(result)
                if found in (Outcome.PASSED, Outcome.DUPLICATE) or failing != (found is Outcome.FAILING):
                    continue
                yield _of_text(report, one, result)


def _of_text(report: GateReport, one: SetReport, result: TextResult) -> dict[str, Any]:
    found = outcome(result)
    rule = "skipped" if found is Outcome.SKIPPED else str(verdict(result) or Verdict.INCONCLUSIVE)
    # What is accepted keeps the level that it would have.
    fatal = found is Outcome.FAILING or (found is Outcome.KNOWN and fails(verdict(result), report.fail_on))
    level = "error" if fatal else LEVELS[rule]
    source = result.candidate.source
    where, line = (one.where, one.line) if one.where else (one.paths.get(source, source), result.candidate.line)
    told = _result(rule, level, described(one, result, for_sarif))
    name = f"{one.name}/{result.candidate.id}"
    told["locations"] = [_location(report, where, line, result.candidate.id, name)]
    if result.fingerprint:
        # The second is the one by which code scanning tells alerts apart: a policy has one line for a whole set.
        alike = {"primaryLocationLineHash": f"{result.fingerprint}:1"}
        told["partialFingerprints"] = {"uddmAuditFingerprint/v1": result.fingerprint} | alike
    if found is Outcome.KNOWN and result.known is not None:
        reason = for_terminal(result.known.reason)
        told["suppressions"] = [{"kind": "external", "status": "accepted", "justification": reason}]
    return told


def _of_limit(report: GateReport, limit: Limit) -> dict[str, Any]:
    level = "error" if limit.state is LimitState.EXCEEDED else "warning"
    told = _result("limit", level, f"The model: {limit_described(limit, for_sarif)}")
    where = next((one.where for one in report.sets if one.where), "")
    told["locations"] = [_location(report, where, 0, limit.name, f"limits/{limit.name}")]
    return told


def _result(rule: str, level: str, message: str) -> dict[str, Any]:
    return {"ruleId": rule, "ruleIndex": _NUMBERS[rule], "level": level, "message": {"text": f"{message}."}}


def _location(report: GateReport, source: str, line: int, name: str, full_name: str) -> dict[str, Any]:
    """Where a finding stands: code scanning refuses a result without a file, and a file without a line. What comes from
    no file is of the model."""
    uri = artifact_uri(source)
    line, uri = (1, artifact_uri(report.model.name) or "uddm-audit") if uri is None else (max(line, 1), uri)
    return {
        "physicalLocation": {"artifactLocation": {"uri": uri}, "region": {"startLine": line}},
        "logicalLocations": [{"name": for_terminal(name), "fullyQualifiedName": for_terminal(full_name)}],
    }


def artifact_uri(source: str) -> str | None:
    """A source as a relative URI reference, as SARIF wants it; None if it is no path within the working folder."""
    if source in NO_FILES or "://" in source or "\0" in source:
        return None
    path = Path(os.path.normpath(source))
    if path.is_absolute():
        path = Path(os.path.relpath(path))
    return None if path.parts[:1] in ((), ("..",)) else for_uri(path.as_posix())


def _head(report: GateReport) -> dict[str, Any]:
    return {
        "tool": {"driver": {"name": "uddm-audit", "version": report.run.version, "rules": RULES}},
        "properties": {
            "settings_id": report.run.settings_id,
            "exit_code": report.exit_code,
            "model": for_terminal(report.model.name),
            "weights_sha256": report.model.weights_sha256,
        },
    }


def _invocation(report: GateReport, left_out: int) -> dict[str, Any]:
    told = [for_sarif(warning) for warning in warnings(report)]
    if left_out:
        told.append(f"{left_out:,} results were left out: code scanning takes {MOST_RESULTS:,} of a run.")
    return {
        "executionSuccessful": report.exit_code not in NOT_CARRIED_OUT,
        "exitCode": report.exit_code,
        "exitCodeDescription": "; ".join(for_terminal(reason.message) for reason in report.reasons),
        "toolExecutionNotifications": [{"level": "warning", "message": {"text": text}} for text in told],
    }
