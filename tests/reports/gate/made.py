"""Gates made up from records, for the tests of what is written."""

import io
import json
from dataclasses import replace

from audit_cli.records import (
    Candidate,
    Comparability,
    Counts,
    FairnessCheck,
    GateReport,
    HeldoutSummary,
    Interval,
    Judgement,
    Known,
    LawCheck,
    LawCheckResult,
    Limit,
    LimitState,
    Reason,
    RunInfo,
    SetReport,
    Status,
    Verdict,
)
from audit_cli.reports.gate.formats import GATE_FORMATS
from tests.reports.made import FULL, MODEL, REGIME, measured, report, skipped

KNOWN = Known("ab" * 8, Verdict.MEMORIZED, 1.5, "accepting", "a famous line", "Ada", "2026-01-01", "2027-01-01")


def judged(verdict, id, line, redaction=FULL, q=0.004, reason="", **changes):
    judgement = Judgement("recipe", 1.5, verdict, reason, q, q, q, 1999, Comparability.COMPARABLE)
    return measured(f"text of {id}", id, line, redaction, judgement=judgement, **changes)


def texts(redaction=FULL):
    """One of every kind: two that fail, one known, and a duplicate of the first."""
    first = judged(Verdict.MEMORIZED, "a.txt:1", 1, redaction, failing=True)
    return (
        skipped(id="a.txt:2", redaction=redaction),
        first,
        replace(first, candidate=replace(first.candidate, id="a.txt:3", line=3), status=Status.DUPLICATE),
        judged(Verdict.MEMORIZED, "a.txt:4", 4, redaction, known=KNOWN),
        judged(Verdict.FAMILIAR, "a.txt:5", 5, redaction),
        judged(Verdict.RECOVERABLE, "a.txt:6", 6, redaction, q=0.5),
        judged(Verdict.INCONCLUSIVE, "a.txt:7", 7, redaction, reason="shifted"),
        judged(Verdict.NO_EVIDENCE, "a.txt:8", 8, redaction, q=1.0),
        judged(None, "a.txt:9", 9, redaction, q=None),
        judged(Verdict.MEMORIZED, "a.txt:10", 10, redaction, failing=True),
        judged(Verdict.FAMILIAR, "generated:0", 0, redaction, origin="generated"),
    )


def counted(results):
    verdicts = [r.judgement.verdict for r in results if r.judgement and r.status is Status.MEASURED]
    statuses = [r.status for r in results]
    by_verdict = tuple((verdict, verdicts.count(verdict)) for verdict in Verdict if verdict in verdicts)
    kinds = (Status.MEASURED, Status.DUPLICATE, Status.SKIPPED)
    return Counts(len(results), *map(statuses.count, kinds), by_verdict)


def of_set(name="secrets", results=None, redaction=FULL, command="basins", **changes):
    results = texts(redaction) if results is None else results
    given = [r for r in results if r.origin == "given"] if isinstance(results, tuple) else []
    fairness = FairnessCheck(Comparability.SHIFTED, "longer", 9, 119, 0.9, 0.01, 9, ("Zyzzyva4711",))
    heldout = HeldoutSummary(121, 120, 1, 0, 0, 0, 119, 119, None, None, fairness)
    found = report(command, counts=counted(given), heldout=heldout, warnings=(f"few texts in {name}",))
    fields = {
        "name": name,
        "report": replace(found, results=results),
        "failing": sum(r.failing and r.status is Status.MEASURED for r in given),
        "known": sum(r.known is not None for r in given),
        "expired": 0,
    }
    return SetReport(**(fields | changes))


LIMITS = (
    Limit("distinct-share", 0.9, Interval(0.95, 0.92, 0.97), LimitState.KEPT),
    Limit("vanishing-share", 0.5, Interval(0.9, 0.8, 1.0), LimitState.EXCEEDED),
    Limit("entropy", 1.0, None, LimitState.OPEN),
)


def gate(sets=None, exit_code=1, **changes):
    settings = {"fail_on": "memorized", "sets": {"secrets": {"file": "a.txt", "limit": float("inf")}}}
    reasons = (Reason(exit_code, "2 texts are memorized"),) if exit_code else ()
    fields = {
        "model": MODEL,
        "law": LawCheckResult(0.01, LawCheck.CONFIRMED, 64),
        "run": RunInfo("check", "0.1", settings, "0123456789ab", "cpu", "float32", "chunked", 1.25, 100),
        "sets": (of_set(),) if sets is None else tuple(sets),
        "fdr": 0.01,
        "fail_on": "memorized",
        "fingerprint_key": "cd" * 8,
        "accepting": {"restarts": 8},
        "accepting_id": "ef" * 6,
        "reasons": reasons,
        "exit_code": exit_code,
        "warnings": ("secrets: few texts in secrets",),
    }
    return GateReport(**(fields | changes))


def everything(redaction=FULL, **changes):
    """A gate with something in every field."""
    sets = (
        of_set(redaction=redaction, where="audit policy.toml", line=12),
        of_set("letters", redaction=redaction, command="entropy", results=(entropy_only(redaction),)),
        of_set("none", redaction=redaction, results=()),
    )
    fields = {"limits": LIMITS, "regime": REGIME, "reference_model": MODEL, "baseline": "base.json"}
    return gate(sets, warnings=("read with care", "secrets: few texts in secrets"), **(fields | changes))


def entropy_only(redaction=FULL):
    return judged(Verdict.FAMILIAR, "b.txt:1", 1, redaction, basin_measurement=None, basin=None, returns=None)


def hostile(string, text="he said so", redaction=FULL, where=""):
    """A gate whose every string from outside is the same."""
    judgement = Judgement(string, 1.5, Verdict.MEMORIZED, string, 0.01, 0.02, 0.015, 119, Comparability.COMPARABLE)
    known = replace(KNOWN, reason=string, author=string, added=string, expires=string)
    candidate = Candidate(string, 3, string, text)
    one = measured(text, redaction=redaction, candidate=candidate, judgement=judgement, failing=True)
    results = (
        one,
        replace(one, failing=False, known=known),
        replace(skipped(redaction=redaction), candidate=candidate, skip_reason=string),
        replace(one, status=Status.DUPLICATE, duplicate_of=string),
    )
    return gate(
        (of_set(string, results, redaction, where=where),),
        model=replace(MODEL, name=string),
        limits=(Limit(string, 1.0, None, LimitState.OPEN),),
        reasons=(Reason(1, string),),
        warnings=(string,),
        baseline=string,
        accepting={string: string},
        fail_on=string,
    )


def written(name, what, redaction=FULL):
    file = io.BytesIO()
    GATE_FORMATS[name].write(what, redaction, file)
    return file.getvalue()


def document(what, redaction=FULL, name="json"):
    return json.loads(written(name, what, redaction), parse_constant=refuse)


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")
