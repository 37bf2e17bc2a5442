"""A gate's report as JUnit XML, as build servers take it. It holds nothing of a text, whatever may be shown."""

from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

from audit_cli.records import GateReport, Limit, LimitState, SetReport, TextResult
from audit_cli.redaction import Redaction
from audit_cli.reports.gate.findings import Outcome, described, limit_described, outcome, texts, verdict
from audit_cli.safetext import for_xml

_TAGS = {
    Outcome.FAILING: "failure",
    Outcome.KNOWN: "skipped",
    Outcome.INCONCLUSIVE: "error",
    Outcome.SKIPPED: "error",
}
_LIMIT_TAGS = {LimitState.EXCEEDED: "failure", LimitState.OPEN: "error"}
_COUNTED = {"failures": "failure", "errors": "error", "skipped": "skipped"}


def write_junit(report: GateReport, _: Redaction, file: BinaryIO) -> None:
    """JUnit XML in UTF-8: a suite a set, a case a text; a suite "model" for the limits of the policy, if it has any.

    Findings that fail are failures, those that the baseline names are skipped, and what could not be measured or
    judged is an error: it has not passed. So is a set without candidates.
    """
    for line in _lines(report):
        file.write(f"{line}\n".encode())


def _lines(report: GateReport) -> Iterator[str]:
    # Readers want the numbers before the cases: the results are read twice, for they may not fit into memory.
    suites = [_count(one) for one in report.sets]
    limits = Counter(_LIMIT_TAGS.get(limit.state, "") for limit in report.limits)
    total = sum(suites, Counter[str]()) + limits
    yield '<?xml version="1.0" encoding="UTF-8"?>'
    yield f'<testsuites name="uddm-audit check" {_counts(total)} time="{report.run.seconds:.3f}">'
    for one, counted in zip(report.sets, suites, strict=True):
        yield f'  <testsuite name="{for_xml(one.name)}" {_counts(counted)}>'
        yield from _cases(one)
        yield "  </testsuite>"
    if report.limits:
        yield f'  <testsuite name="model" {_counts(limits)}>'
        yield from map(_limit_case, report.limits)
        yield "  </testsuite>"
    yield "</testsuites>"


def _count(one: SetReport) -> Counter[str]:
    """The cases of a set by their tag, empty for those that pass."""
    return Counter(_TAGS.get(outcome(result), "") for result in texts(one)) or Counter({"error": 1})


def _counts(counted: Counter[str]) -> str:
    attributes = {"tests": counted.total()} | {name: counted[tag] for name, tag in _COUNTED.items()}
    return " ".join(f'{name}="{number}"' for name, number in attributes.items())


def _cases(one: SetReport) -> Iterator[str]:
    none = True
    for result in texts(one):
        none = False
        yield _case(one.name, result.candidate.id, _TAGS.get(outcome(result), ""), *_told(one, result))
    if none:
        yield _case(one.name, "candidates", "error", "empty", "the set has no candidates")


def _told(one: SetReport, result: TextResult) -> tuple[str, str]:
    """The type of a case's element, and its message, which is made safe later."""
    found = outcome(result)
    if found is Outcome.KNOWN and result.known is not None:
        return "known", f"known: {result.known.reason}"
    kind = str(verdict(result)) if found is Outcome.FAILING else str(found)
    return kind, described(one, result, str)


def _limit_case(limit: Limit) -> str:
    tag = _LIMIT_TAGS.get(limit.state, "")
    kind = "limit" if tag == "failure" else "inconclusive"
    return _case("model", limit.name, tag, kind, limit_described(limit, str))


def _case(suite: str, name: str, tag: str, kind: str, message: str) -> str:
    head = f'    <testcase classname="{for_xml(suite)}" name="{for_xml(name)}"'
    if not tag:
        return f"{head}/>"
    said = for_xml(message)
    # Some readers show the attribute, others the content. An element that skips has neither type nor content.
    told = (
        f'<skipped message="{said}"/>' if tag == "skipped" else f'<{tag} type="{kind}" message="{said}">{said}</{tag}>'
    )
    return f"{head}>{told}</testcase>"
