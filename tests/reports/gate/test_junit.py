"""JUnit XML as readers take it, whatever the strings hold."""

import io
from collections import Counter
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from junitparser import Error, Failure, JUnitXml, Skipped

from audit_cli.safetext import for_terminal
from tests.reports.gate.made import everything, gate, hostile, of_set, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE
from tests.reports.test_hostile_text import STRINGS

KINDS = {Failure: "failures", Error: "errors", Skipped: "skipped"}


def parsed(what, redaction=FULL):
    data = written("junit", what, redaction)
    ElementTree.fromstring(data)  # noqa: S314
    return JUnitXml.fromroot(JUnitXml.fromfile(io.BytesIO(data))._elem)


@pytest.mark.parametrize("redaction", [FULL, EXCERPT, FINGERPRINT, NONE], ids=lambda r: str(r.show))
def test_numbers_are_those_of_the_cases(redaction):
    total = Counter()
    found = parsed(everything(redaction), redaction)
    for suite in found:
        counted = Counter(tests=len(list(suite)))
        for case in suite:
            counted.update(KINDS[type(entry)] for entry in case.result)
        assert {name: getattr(suite, name) for name in ("tests", *KINDS.values())} == {
            name: counted[name] for name in ("tests", *KINDS.values())
        }
        assert suite.time is None or suite.time == 0
        total += counted
    assert {name: getattr(found, name) for name in total} == total
    assert found.time == 1.25
    data = written("junit", everything(redaction), redaction)
    assert b"uddm-audit" in data[:4096] and data.count(b" time=") == 1


def test_what_becomes_of_every_kind_of_text():
    suite = next(iter(parsed(gate())))
    assert suite.name == "secrets"
    told = {case.name: [(type(r).__name__, r.type) for r in case.result] for case in suite}
    assert told == {
        "a.txt:2": [("Error", "skipped")],
        "a.txt:1": [("Failure", "memorized")],
        "a.txt:3": [],
        "a.txt:4": [("Skipped", None)],
        "a.txt:5": [],
        "a.txt:6": [],
        "a.txt:7": [("Error", "inconclusive")],
        "a.txt:8": [],
        "a.txt:9": [("Error", "inconclusive")],
        "a.txt:10": [("Failure", "memorized")],
    }
    (known,) = (case.result[0].message for case in suite if case.name == "a.txt:4")
    assert known == "known: a famous line"
    assert {case.classname for case in suite} == {"secrets"}


def test_limits_are_a_suite_and_an_empty_set_is_an_error():
    *_, none, model = parsed(everything())
    (case,) = none
    assert (none.name, none.errors, case.result[0].type) == ("none", 1, "empty")
    assert [(c.name, [r.type for r in c.result]) for c in model] == [
        ("distinct-share", []),
        ("vanishing-share", ["limit"]),
        ("entropy", ["inconclusive"]),
    ]
    assert [suite.name for suite in parsed(gate())] == ["secrets"]
    assert list(parsed(gate((), 3))) == []


@given(STRINGS)
@settings(max_examples=200, deadline=None, derandomize=True)
def test_any_string_reads_as_a_terminal_shows_it(string):
    shown = for_terminal(string)
    suite = ElementTree.fromstring(written("junit", hostile(string)))[0]  # noqa: S314
    cases = list(suite)
    assert suite.get("name") == shown and len(cases) == 4
    assert {(case.get("classname"), case.get("name")) for case in cases} == {(shown, shown)}
    assert cases[0][0].text == cases[0][0].get("message") and shown in cases[0][0].text
    assert cases[1][0].get("message") == f"known: {shown}"
    assert [len(case) for case in cases] == [1, 1, 1, 0]


def test_a_set_with_the_models_own_samples_only_has_no_candidates():
    own = gate().sets[0].report.results[-1:]
    assert own[0].origin == "generated"
    assert parsed(gate([of_set(results=own)])).errors == 1
