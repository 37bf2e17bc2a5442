"""SARIF: as the standard's schema says, with locations and levels as code scanning takes them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from audit_cli.records import Candidate, Verdict
from audit_cli.reports.gate import sarif
from audit_cli.reports.gate.sarif import MOST_RESULTS, artifact_uri
from tests.reports.gate.made import document, everything, gate, hostile, judged, of_set, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE, skipped
from tests.reports.test_hostile_text import STRINGS

SCHEMA = json.loads(Path("tests/data/sarif-schema-2.1.0.json").read_text())
VALIDATOR = Draft7Validator(SCHEMA)
# RFC 3986, 4.2: relative-part without an authority, path-noscheme.
SEGMENT = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=@]|%[0-9A-F]{2})+"
PATH_NOSCHEME = re.compile(rf"{SEGMENT}(?:/{SEGMENT})*")


def run_of(what, redaction=FULL):
    found = document(what, redaction, "sarif")
    VALIDATOR.validate(found)
    (run,) = found["runs"]
    return run


def results_of(*texts, **changes):
    return run_of(gate([of_set(results=texts)], **changes))["results"]


@pytest.mark.parametrize("redaction", [FULL, EXCERPT, FINGERPRINT, NONE], ids=lambda r: str(r.show))
@pytest.mark.parametrize("what", [everything, lambda redaction: gate(), lambda redaction: gate((), 3)])
def test_a_file_is_as_the_standard_says(what, redaction):
    data = written("sarif", what(redaction), redaction)
    assert data.isascii() and b"uddm-audit" in data[:4096] and written("sarif", what(redaction), redaction) == data
    run = run_of(what(redaction), redaction)
    driver = run["tool"]["driver"]
    assert (driver["name"], driver["version"]) == ("uddm-audit", "0.1") and "informationUri" not in driver
    names = [rule["id"] for rule in driver["rules"]]
    assert names == ["memorized", "familiar", "recoverable", "inconclusive", "skipped", "limit"]
    for rule in driver["rules"]:
        assert "no proof of absence" in rule["help"]["text"]
    for result in run["results"]:
        assert names[result["ruleIndex"]] == result["ruleId"]
    assert run["properties"] == {
        "settings_id": "0123456789ab", "exit_code": what(redaction).exit_code, "model": "examples/model",
        "weights_sha256": "ab" * 32,
    }  # fmt: skip


def test_every_finding_is_a_result_once_and_what_fails_comes_first():
    told = [(r["ruleId"], r["level"], bool(r.get("suppressions"))) for r in run_of(everything())["results"]]
    assert told == [
        ("limit", "error", False),
        ("memorized", "error", False),
        ("memorized", "error", False),
        ("limit", "warning", False),
        ("skipped", "warning", False),
        ("memorized", "error", True),
        ("familiar", "warning", False),
        ("recoverable", "note", False),
        ("inconclusive", "warning", False),
        ("inconclusive", "warning", False),
        ("familiar", "warning", False),
    ]


def test_a_recoverable_text_is_an_error_where_it_fails():
    (result,) = results_of(judged(Verdict.RECOVERABLE, "a", 1, failing=True), fail_on="recoverable")
    assert result["level"] == "error"


@pytest.mark.parametrize(
    ("fail_on", "level"), [("memorized", "warning"), ("familiar", "error"), ("nonsense", "warning")]
)
def test_what_is_accepted_keeps_its_level(fail_on, level):
    known = replace(gate().sets[0].report.results[3].known, reason="fine\u202e")
    (result,) = results_of(judged(Verdict.FAMILIAR, "a", 1, known=known), fail_on=fail_on)
    assert result["level"] == level
    assert result["suppressions"] == [{"kind": "external", "status": "accepted", "justification": "fine\\u202e"}]


def test_a_message_says_what_is_known_and_nothing_of_the_text():
    (result,) = results_of(judged(Verdict.MEMORIZED, "my [id](http://x) {0}", 1, failing=True))
    fingerprint = FULL.fingerprint("text of my [id](http://x) {0}", None)
    assert result["message"]["text"] == (
        f"secrets: my \\[id\\](http://x) {{{{0}}}} is memorized (q .004, 1,999 references, fingerprint {fingerprint})."
    )
    assert result["partialFingerprints"] == {
        "uddmAuditFingerprint/v1": fingerprint,
        "primaryLocationLineHash": f"{fingerprint}:1",
    }
    (result,) = results_of(judged(Verdict.MEMORIZED, "a", 1, NONE, failing=True))
    assert "partialFingerprints" not in result


def where(source, at=3, **changes):
    text = replace(skipped(), candidate=Candidate(source, at, "my id", "text"))
    (result,) = run_of(gate([of_set(results=(text,), **changes)]))["results"]
    (location,) = result["locations"]
    return location


def test_a_result_stands_in_the_policy_or_where_its_text_does():
    assert where("a.txt", where="ci/audit policy.toml", line=12)["physicalLocation"] == {
        "artifactLocation": {"uri": "ci/audit%20policy.toml"},
        "region": {"startLine": 12},
    }
    assert where("data/a b#c.txt")["physicalLocation"] == {
        "artifactLocation": {"uri": "data/a%20b%23c.txt"},
        "region": {"startLine": 3},
    }
    assert where("a.txt", 0)["physicalLocation"]["region"] == {"startLine": 1}


@pytest.mark.parametrize("source", ["", "-", "stdin", "https://host/a.txt", "../a.txt", "/", ".", "a\0b"])
def test_what_is_no_path_of_the_working_folder_stands_in_the_model(source):
    """Code scanning refuses a whole file for one result without a place."""
    name = gate([of_set(results=())]).model.name
    assert where(source) == {
        "physicalLocation": {"artifactLocation": {"uri": artifact_uri(name)}, "region": {"startLine": 1}},
        "logicalLocations": [{"name": "my id", "fullyQualifiedName": "secrets/my id"}],
    }


def test_a_source_is_found_by_the_path_that_was_given():
    found = where("a.txt", paths={"a.txt": "data/leaked/a.txt"})
    assert found["physicalLocation"]["artifactLocation"] == {"uri": "data/leaked/a.txt"}


def test_an_absolute_path_becomes_relative_to_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert artifact_uri(str(tmp_path / "a" / "b.txt")) == "a/b.txt"
    assert artifact_uri(str(tmp_path.parent / "b.txt")) is None
    assert artifact_uri("a//./b/../c:d.txt") == "a/c%3Ad.txt"
    assert artifact_uri("caf\udce9.txt") == "caf%E9.txt"


@given(st.one_of(STRINGS, st.text(st.sampled_from("a/.:%?#[]\\ \udc80é~"))))
@example("//")
@example("a:b")
@settings(max_examples=400, deadline=None, derandomize=True)
def test_an_address_is_a_relative_path_of_rfc_3986(source):
    uri = artifact_uri(source)
    if uri is None:
        return
    assert PATH_NOSCHEME.fullmatch(uri)
    assert not {".", ".."} & set(uri.split("/"))
    unquote_to_bytes(uri)


@given(STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_string_breaks_a_file(string):
    for policy in ("", string):
        run = run_of(hostile(string, where=policy))
        assert [r["ruleId"] for r in run["results"]] == ["memorized", "limit", "memorized", "skipped"]
        for result in run["results"]:
            text = result["message"]["text"]
            assert text.isprintable() and text.encode()
            # No link: every bracket follows an odd number of backslashes. No placeholder: braces come in pairs.
            assert not re.search(r"(?<!\\)(?:\\\\)*[\[\]]", text)
            assert not re.search(r"[{}]", text.replace("{{", "").replace("}}", ""))


@pytest.mark.parametrize(("code", "successful"), [(0, True), (1, True), (2, False), (3, False), (4, True)])
def test_an_invocation_says_how_the_run_ended(code, successful):
    (invocation,) = run_of(everything(exit_code=code))["invocations"]
    assert (invocation["exitCode"], invocation["executionSuccessful"]) == (code, successful)
    told = [n["message"]["text"] for n in invocation["toolExecutionNotifications"]]
    assert told == ["read with care", "secrets: few texts in secrets"]


def test_no_more_results_than_code_scanning_takes(monkeypatch):
    assert MOST_RESULTS == 25_000
    monkeypatch.setattr(sarif, "MOST_RESULTS", 3)
    what = everything()
    run = run_of(what)
    assert [r["level"] for r in run["results"]] == ["error", "error", "error"]
    assert "8 results were left out" in run["invocations"][0]["toolExecutionNotifications"][-1]["message"]["text"]
    monkeypatch.setattr(sarif, "MOST_RESULTS", 11)
    assert "left out" not in written("sarif", what).decode()
