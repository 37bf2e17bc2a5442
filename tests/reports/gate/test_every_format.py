"""What all formats of a gate share: they agree, they repeat, and they show no text that was not asked for."""

import csv
import io
import json
import re
from collections import Counter
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings

from audit_cli.records import Status, Verdict
from audit_cli.reports.gate.findings import Outcome, outcome
from audit_cli.reports.gate.formats import GATE_FORMATS
from tests.reports.gate.made import document, everything, gate, hostile, of_set, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE, measured, skipped
from tests.reports.test_hostile_text import MARKER, STRINGS, readable
from tests.reports.test_markdown import cells

WITHOUT_TEXT = ("sarif", "junit")


def marked(redaction):
    """Texts, what came back of them, and the words that set them apart, all with the marker."""
    text = f"{MARKER} met {MARKER}"
    results = (
        measured(text, "f:1", 1, redaction, failing=True),
        replace(skipped(text, "f:2", 2, redaction), recovered_text=text),
        measured(text, "f:3", 3, redaction, status=Status.DUPLICATE, duplicate_of="f:1"),
    )
    prompted = replace(results[0], candidate=replace(results[0].candidate, prompt=text))
    return gate([of_set(results=(*results, prompted), redaction=redaction)])


@pytest.mark.parametrize("name", GATE_FORMATS)
def test_a_text_is_in_no_file_unless_it_is_asked_for(name):
    shown = {r: readable(name, written(name, marked(r), r)) for r in (NONE, FINGERPRINT, EXCERPT, FULL)}
    assert not any(MARKER in shown[redaction] for redaction in (NONE, FINGERPRINT, EXCERPT))
    assert not any(MARKER[:2] in shown[redaction] for redaction in (NONE, FINGERPRINT))
    for redaction, seen in ((EXCERPT, MARKER[:2]), (FULL, MARKER)):
        assert (seen in shown[redaction]) != (name in WITHOUT_TEXT)
    fingerprint = FULL.fingerprint(f"{MARKER} met {MARKER}", None)
    assert fingerprint in shown[FINGERPRINT] and fingerprint not in shown[NONE]


@pytest.mark.parametrize("redaction", [FULL, NONE], ids=lambda r: str(r.show))
@pytest.mark.parametrize("name", GATE_FORMATS)
def test_equal_gates_give_equal_bytes_but_for_the_seconds(name, redaction):
    what = everything(redaction)
    later = replace(what, run=replace(what.run, seconds=99.5))
    first, second = (written(name, one, redaction) for one in (what, later))
    for seconds in (b"1.250", b"1.25"):
        first = re.sub(rb'("seconds": |time=")' + re.escape(seconds), rb"\1", first)
    for seconds in (b"99.500", b"99.5"):
        second = re.sub(rb'("seconds": |time=")' + re.escape(seconds), rb"\1", second)
    assert first == second


def test_all_formats_count_alike():
    what = everything()
    found = document(what)
    first = [text for text in found["results"] if text["status"] != "duplicate"]
    failing, known = sum(t["failing"] for t in first), sum(t["known"] is not None for t in first)
    assert (failing, known) == (found["gate"]["failing"], found["gate"]["known"]) == (what.failing, what.known)

    rows = list(csv.DictReader(io.StringIO(written("csv", what).decode(), newline="")))
    assert len(rows) == len(found["results"]) == len(written("jsonl", what).splitlines())
    kept = [row for row in rows if row["status"] != "duplicate"]
    assert sum(row["failing"] == "True" for row in kept) == failing
    assert sum(row["known"] == "True" for row in kept) == known

    results = [r for r in document(what, name="sarif")["runs"][0]["results"] if r["ruleId"] != "limit"]
    assert sum("suppressions" in r for r in results) == known
    assert sum(r["level"] == "error" and "suppressions" not in r for r in results) == failing
    clean = [t for t in first if t["verdict"] == "no evidence"]
    assert len(results) == len(first) - len(clean)

    suites = ElementTree.fromstring(written("junit", what))  # noqa: S314
    tags = Counter(entry.tag for suite in suites[:2] for case in suite for entry in case)
    assert tags == {"failure": failing, "skipped": known, "error": 3}

    table = [row for row in cells(written("markdown", what).decode()) if len(row) == 8]
    gates = Counter(row[3].split(":")[0] for row in table[1:])
    assert gates == {"failing": failing, "known": known, "inconclusive": 2, "skipped": 1, "finding": 3}


def test_what_a_baseline_names_and_what_is_no_finding_any_more_has_passed():
    was = gate().sets[0].report.results[3]
    now = replace(was, judgement=replace(was.judgement, verdict=Verdict.NO_EVIDENCE))
    assert outcome(now) is Outcome.PASSED and outcome(was) is Outcome.KNOWN
    # Expired, say.
    assert outcome(replace(was, failing=True)) is Outcome.FAILING


@given(STRINGS)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_string_breaks_a_format(string):
    for redaction in (FULL, EXCERPT, FINGERPRINT):
        for name in GATE_FORMATS:
            written(name, hostile(string, string, redaction), redaction)


class Read:
    """So many results, made as they are read."""

    def __init__(self, one, number):
        self.one, self.number = one, number

    def __iter__(self):
        return (replace(self.one) for _ in range(self.number))


@pytest.mark.parametrize("name", GATE_FORMATS)
def test_results_may_be_read_again_and_have_no_length(name):
    what = gate([of_set(results=Read(gate().sets[0].report.results[1], 300))])
    assert written(name, what) == written(name, what)


def test_the_document_is_one_line_a_text():
    data = written("json", hostile("two\nlines", "two\nlines"))
    assert sum(line.startswith(b'    {"set": ') for line in data.splitlines()) == 4
    assert json.loads(data)["results"][0]["untrusted_text"] == "two\nlines"
