"""The JSON document: as its schema says, streamed, and with nothing lost."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator

from audit_cli.records import Interval, LawCheck, LawCheckResult, Limit, LimitState
from audit_cli.redaction import ShowText
from audit_cli.reports.gate.json_report import gate_metadata, schema_text, write_json
from audit_cli.reports.model import law_notes
from tests.reports.gate.made import document, everything, gate, hostile, of_set, texts, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE, REGIME
from tests.reports.test_hostile_text import STRINGS, as_json_reads

SCHEMA = json.loads(schema_text())
VALIDATOR = Draft202012Validator(SCHEMA)


def test_the_schema_is_one_and_describes_every_field_in_a_sentence():
    Draft202012Validator.check_schema(SCHEMA)
    assert schema_text().isascii()

    def look(at, path):
        if isinstance(at, dict):
            for name, field in at.get("properties", {}).items():
                said = field.get("description", "")
                assert said.endswith(".") and 2 <= len(said.split()) <= 22, (path, name, said)
            if at.get("additionalProperties") is False:
                assert at["required"] == list(at["properties"]), path
            elif "properties" in at:
                raise AssertionError(f"{path} takes anything")
            for name, value in at.items():
                look(value, (*path, name))

    look(SCHEMA, ())


@pytest.mark.parametrize("redaction", [FULL, EXCERPT, FINGERPRINT, NONE], ids=lambda r: str(r.show))
@pytest.mark.parametrize("what", [everything, lambda redaction: gate(), lambda redaction: gate((), 3)])
def test_a_document_is_as_the_schema_says(what, redaction):
    data = written("json", what(redaction), redaction)
    assert data.isascii() and data.endswith(b"}\n") and b"uddm-audit" in data[:4096]
    found = document(what(redaction), redaction)
    VALIDATOR.validate(found)
    assert list(found) == SCHEMA["required"]
    assert written("json", what(redaction), redaction) == data
    for text in found["results"]:
        assert list(text) == SCHEMA["properties"]["results"]["items"]["required"]
        assert (text["untrusted_text"] is not None) == (redaction.show in (ShowText.FULL, ShowText.EXCERPT))


def test_the_decision():
    found = document(gate(exit_code=0, forgiven=True))
    assert found["gate"] == {
        "exit_code": 0, "passed": True, "forgiven": True, "fail_on": "memorized", "fdr": 0.01, "failing": 2,
        "known": 1, "reasons": [],
    }  # fmt: skip
    assert found["run"]["settings"]["sets"]["secrets"] == {"file": "a.txt", "limit": None}
    assert (found["baseline"], found["regime"], found["reference_model"], found["limits"]) == (None, None, None, [])


def test_a_text_with_everything_and_one_that_was_skipped():
    texts = {text["id"]: text for text in document(gate())["results"]}
    known = texts["a.txt:4"]
    assert known["known"] == {
        "reason": "a famous line", "author": "Ada", "added": "2026-01-01", "expires": "2027-01-01",
        "verdict": "memorized",
    }  # fmt: skip
    assert known["basin"] == {"size": 0.25, "low": 0.1, "high": 0.25, "censored": "high"}
    assert known["returned"]["share"] == 30 / 32
    skipped = texts["a.txt:2"]
    assert (skipped["status"], skipped["verdict"], skipped["returned"], skipped["basin"]) == (
        "skipped",
        None,
        None,
        None,
    )


def test_numbers_that_json_does_not_know_are_null():
    nan = float("nan")
    what = gate(
        law=LawCheckResult(nan, LawCheck.LEAKS, 0),
        regime=replace(REGIME, regime=None, entropy=Interval(nan, nan, nan)),
        limits=(Limit("entropy", 1.0, Interval(nan, 0.0, float("inf")), LimitState.OPEN),),
    )
    found = document(what)
    VALIDATOR.validate(found)
    assert found["law_check"]["contrast"] is None and found["regime"]["entropy"]["value"] is None
    assert found["limits"][0]["measured"] == {"value": None, "low": 0.0, "high": None}


@given(STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_any_string_is_kept_exactly(string):
    found = document(hostile(string, text=string))
    VALIDATOR.validate(found)
    kept = as_json_reads(string)
    assert found["sets"][0]["name"] == found["results"][0]["set"] == found["results"][0]["untrusted_text"] == kept
    assert found["results"][1]["known"]["reason"] == found["gate"]["reasons"][0]["message"] == kept


def test_what_is_said_of_the_law_is_said_once():
    leaks = LawCheckResult(0.5, LawCheck.LEAKS, 64)
    sets = [replace(of_set(name), report=replace(of_set(name).report, law=leaks)) for name in ("a", "b")]
    what = gate(sets, law=leaks)
    found = document(what)
    (note,) = law_notes(sets[0].report)
    assert found["warnings"] == [note, "secrets: few texts in secrets"]
    assert found["sets"][1]["warnings"] == ["few texts in b"]
    for name in ("sarif", "markdown"):
        assert written(name, what).count(b"partly copies its input") == 1


def test_metadata_is_the_document_without_its_results():
    what = everything()
    text = gate_metadata(what)
    assert text.isascii() and text.startswith('{\n  "schema": "uddm-audit/1",\n  "command": "check"')
    meta, found = json.loads(text), document(what)
    del found["results"], found["schema"], meta["schema"], meta["command"]
    assert meta == found


class Many:
    """So many results that are never there at once."""

    def __init__(self, one, number):
        self.one, self.number = one, number

    def __iter__(self):
        return (self.one for _ in range(self.number))


class Counting:
    """A file that takes small pieces only."""

    size = 0

    def write(self, data):
        assert len(data) < 20_000
        self.size += len(data)


def test_results_are_written_as_they_come():
    file = Counting()
    write_json(gate([of_set(results=Many(texts()[1], 3000))]), FULL, file)
    assert file.size > 1_000_000
