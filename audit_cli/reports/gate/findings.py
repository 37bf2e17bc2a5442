"""What a gate makes of every text, in words that all formats share."""

from collections.abc import Callable, Iterator
from enum import StrEnum

from audit_cli.records import GateReport, Limit, SetReport, Status, TextResult, Verdict
from audit_cli.reports import words
from audit_cli.reports.model import law_notes

NO_VERDICT = "no verdict"
FINDINGS = (Verdict.MEMORIZED, Verdict.FAMILIAR, Verdict.RECOVERABLE)


class Outcome(StrEnum):
    """What a gate makes of a text, in the order in which a person wants to know.

    A `finding` is below the verdict that fails. A duplicate is its first copy's affair.
    """

    FAILING = "failing"
    KNOWN = "known"
    INCONCLUSIVE = "inconclusive"
    SKIPPED = "skipped"
    FINDING = "finding"
    PASSED = "passed"
    DUPLICATE = "duplicate"


def texts(one: SetReport) -> Iterator[TextResult]:
    """The results of a set, read again from where they are kept, without the model's own samples."""
    return (result for result in one.report.results if result.origin != "generated")


def all_texts(report: GateReport) -> Iterator[tuple[SetReport, TextResult]]:
    """The results of all sets, each with its set, in the order of the policy."""
    for one in report.sets:
        for result in texts(one):
            yield one, result


def warnings(report: GateReport) -> list[str]:
    """What to know before reading the numbers: of the law, which all sets share, then what came up in each."""
    laws = dict.fromkeys(note for one in report.sets for note in law_notes(one.report))
    return [*laws, *report.warnings]


def outcome(result: TextResult) -> Outcome:
    """What becomes of a text. One that was measured without a verdict is inconclusive: it has not passed."""
    if result.status is Status.DUPLICATE:
        return Outcome.DUPLICATE
    if result.status is Status.SKIPPED:
        return Outcome.SKIPPED
    if result.failing:
        return Outcome.FAILING
    found = verdict(result)
    if found is None or found is Verdict.INCONCLUSIVE:
        return Outcome.INCONCLUSIVE
    if found not in FINDINGS:
        return Outcome.PASSED
    return Outcome.FINDING if result.known is None else Outcome.KNOWN


def verdict(result: TextResult) -> Verdict | None:
    """The verdict on a text, if there is one."""
    return None if result.judgement is None else result.judgement.verdict


def fails(found: Verdict | None, fail_on: str) -> bool:
    """Whether a verdict is a finding at or above the one that fails."""
    return found in FINDINGS and fail_on in FINDINGS and FINDINGS.index(found) <= FINDINGS.index(Verdict(fail_on))


def described(one: SetReport, result: TextResult, safe: Callable[[str], str]) -> str:
    """A sentence on a text that holds nothing of it; `safe` makes strings from outside safe for their place."""
    said = f"{safe(one.name)}: {safe(result.candidate.id)} "
    judgement = result.judgement
    if result.status is Status.SKIPPED:
        said += f"was skipped: {safe(result.skip_reason)}"
    elif judgement is None or judgement.verdict is None:
        said += f"has {NO_VERDICT}" + (f": {safe(judgement.reason)}" if judgement and judgement.reason else "")
    else:
        said += f"is {judgement.verdict}" + (f": {safe(judgement.reason)}" if judgement.reason else "")
    facts = []
    if judgement is not None and judgement.q_value is not None:
        facts.append(f"q {words.probability(judgement.q_value)}")
    if judgement is not None and judgement.references is not None:
        facts.append(f"{judgement.references:,} references")
    if result.fingerprint:
        facts.append(f"fingerprint {safe(result.fingerprint)}")
    return said + (f" ({', '.join(facts)})" if facts else "")


def limit_described(limit: Limit, safe: Callable[[str], str]) -> str:
    """A sentence on a limit."""
    found = limit.measured
    measured = "nothing was measured"
    if found is not None:
        measured = f"{found.value:.4g} was measured, with an interval from {found.low:.4g} to {found.high:.4g}"
    return f"limit {safe(limit.name)} = {limit.bound:g} is {limit.state}: {measured}"
