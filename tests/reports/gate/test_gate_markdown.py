"""The summary for people: what a Markdown reader makes of it, and that it fits."""

import pytest
from hypothesis import given, settings

from audit_cli.records import Reason, Verdict
from audit_cli.reports.gate.markdown import FINDINGS_SHOWN
from tests.reports.gate.made import everything, gate, hostile, judged, of_set, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE
from tests.reports.test_hostile_text import STRINGS
from tests.reports.test_markdown import READER, cells

MIB = 1 << 20
HEADINGS = ["# uddm-audit check: FAILED", "## Limits", "## Sets", "## Findings", "## Warnings"]
HEADINGS.append("## What the words mean")


def text_of(what, redaction=FULL):
    return written("markdown", what, redaction).decode()


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "passed"), (1, "FAILED"), (4, "inconclusive"), (2, "could not be audited"), (3, "could not be audited")],
)
def test_the_heading_is_the_decision(code, said):
    assert text_of(gate(exit_code=code)).startswith(f"# uddm-audit check: {said}\n")


def test_what_was_forgiven_is_said():
    reasons = (Reason(1, "two are memorized"), Reason(4, "one is inconclusive"))
    text = text_of(gate(exit_code=4, forgiven=True, reasons=reasons))
    assert "- exit 1: two are memorized (forgiven)\n- exit 4: one is inconclusive\n" in text
    assert "forgiven" not in text_of(gate(reasons=reasons))


@pytest.mark.parametrize(
    ("redaction", "shown"),
    [(FULL, ["id", "text"]), (EXCERPT, ["id", "text"]), (FINGERPRINT, ["id", "fingerprint"]), (NONE, ["id"])],
)
def test_sets_then_findings_strongest_first(redaction, shown):
    rows = cells(text_of(everything(redaction), redaction))
    headers = [number for number, row in enumerate(rows) if row[0] == "set"]
    assert headers == [0, 4]
    assert rows[1][:7] == ["secrets", "10", "3", "1", "1", "1", "1"] and rows[1][-3:] == ["2", "1", "0"]
    findings = rows[4:]
    assert findings[0] == ["set", *shown, "gate", "verdict", "q", "returned", "surprise, nats/token"]
    gates = [row[1 + len(shown)] for row in findings[1:]]
    assert gates == [
        *["failing"] * 2, "known: a famous line (Ada, until 2027-01-01)", *["inconclusive"] * 2, "skipped",
        *["finding"] * 3,
    ]  # fmt: skip
    assert "Not listed: 1 with no evidence, 1 repeated." in text_of(everything(redaction), redaction)


def test_reasons_limits_and_warnings_are_sentences():
    text = READER.render(text_of(everything()))
    assert "<li>exit 1: 2 texts are memorized</li>" in text
    assert "limit vanishing-share = 0.5 is exceeded: 0.9 was measured, with an interval from 0.8 to 1" in text
    assert "<li>read with care</li>" in text and "not proof of absence" in text


def test_only_the_strongest_findings_are_shown():
    many = tuple(judged(Verdict.FAMILIAR, f"a:{i}", i) for i in range(FINDINGS_SHOWN + 34))
    last = judged(Verdict.MEMORIZED, "last", 0, failing=True)
    text = text_of(gate([of_set(results=(*many, last))]))
    rows = cells(text)[3:]
    assert len(rows) == FINDINGS_SHOWN and rows[0][1].startswith("last")
    assert "… 35 more texts" in text
    assert "more texts" not in text_of(gate())


@pytest.mark.parametrize("string", ["\U000f0000" * 300, "@a" * 5000, "|" * 100_000, "é" * 5000])
def test_a_summary_is_below_one_mebibyte_whatever_it_holds(string):
    one = hostile(string, text=string).sets[0]
    results = one.report.results * 400
    what = hostile(string, text=string)
    sets = [of_set(string + str(n), results if n == 0 else ()) for n in range(2000)]
    many = gate(
        sets,
        reasons=(Reason(1, string),) * 500,
        warnings=tuple(f"{n} {string}" for n in range(2000)),
        limits=what.limits * 1000,
        model=what.model,
    )
    data = written("markdown", many)
    assert len(data) < MIB and data.decode().startswith("# uddm-audit check: FAILED")
    assert "more sets" in data.decode() and "more warnings" in data.decode()


@given(STRINGS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_no_string_is_markup(string):
    text = text_of(hostile(string, text=string))
    rows = cells(text)
    assert [len(row) for row in rows] == [13, 13, 8, 8, 8, 8]
    kinds = {token.type for token in READER.parse(text)}
    assert not kinds & {"html_block", "fence", "code_block", "blockquote_open", "hr"}
    assert [line for line in text.splitlines() if line.startswith("#")] == HEADINGS
