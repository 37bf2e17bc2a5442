"""Baselines and reports that somebody else has written: each is read or refused in words, and what is written can be
read again."""

import contextlib
import datetime
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from audit_cli.records import Known, Verdict
from audit_cli.verdicts import baseline as baselines
from audit_cli.verdicts.baseline import STRENGTH, Baseline, BaselineError, expired

MADE = {"probe": "basins", "levels": [0.25], "restarts": 8, "steps": None, "floor": False}
WORDS = st.text(max_size=30)
KNOWN = st.builds(
    Known,
    fingerprint=st.text("0123456789abcdef", min_size=16, max_size=16),
    verdict=st.sampled_from(STRENGTH),
    score=st.floats(allow_nan=False, allow_infinity=False),
    settings=st.just("id"),
    reason=WORDS.map(lambda text: baselines.words(text, "")),
    author=WORDS.map(lambda text: baselines.words(text, "")),
    added=st.dates().map(str),
    expires=st.one_of(st.just(""), st.dates().map(str)),
)
ENTRY = {
    "fingerprint": "0" * 16,
    "verdict": "memorized",
    "score": 1.5,
    "settings": "id",
    "reason": "r",
    "author": "a",
    "added": "2027-01-01",
    "expires": "",
}
FILE = {"schema": baselines.SCHEMA, "key": "k", "settings": MADE, "settings_id": "id", "findings": [ENTRY]}
RESULT = {"fingerprint": "0" * 16, "verdict": "memorized", "score": 1.0, "failing": True, "status": "measured"}
REPORT = {
    "schema": baselines.REPORT_SCHEMA,
    "accepting": {"id": "id", "settings": MADE},
    "fingerprint_key": "k",
    "results": [RESULT],
}
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), WORDS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=3)),
    max_leaves=8,
)


def written(folder, content):
    file = folder / "file.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return file


@settings(deadline=None)
@given(st.lists(KNOWN, max_size=5))
def test_what_is_written_is_read_as_it_was(tmp_path_factory, findings):
    before = Baseline("k", MADE, "id").with_added(findings)
    file = written(tmp_path_factory.getbasetemp(), before.encoded())
    assert baselines.read(file) == before
    assert baselines.read(file).encoded() == before.encoded()


@settings(deadline=None)
@given(of=st.sampled_from([FILE, REPORT]), key=st.text(max_size=3), value=JSON, deeper=st.booleans(), data=st.data())
def test_any_value_anywhere_is_read_or_refused(tmp_path_factory, of, key, value, deeper, data):
    changed = json.loads(json.dumps(of))
    table = changed
    if deeper:
        table = data.draw(st.sampled_from([c for c in (changed.get("findings"), changed.get("results")) if c]))[0]
    table[data.draw(st.sampled_from([*table, key]))] = value
    file = written(tmp_path_factory.getbasetemp(), changed)
    with contextlib.suppress(BaselineError):
        baselines.read(file)
    with contextlib.suppress(BaselineError):
        found = baselines.read_report(file)
        # What a report says can be written, and what is written can be read.
        after = found.empty.with_added(
            Known(one, *found.verdicts[one], found.empty.settings_id, "r", "a", "2027-01-01", "")
            for one in found.failing
        )
        assert baselines.read(written(file.parent, after.encoded())) == after


@settings(deadline=None)
@given(st.binary(max_size=60), st.integers(0, 200))
def test_any_bytes_are_read_or_refused(tmp_path_factory, content, at):
    whole = json.dumps(FILE).encode()
    for broken in (content, whole[:at], whole[:at] + content + whole[at:]):
        with contextlib.suppress(BaselineError):
            baselines.read(written(tmp_path_factory.getbasetemp(), broken))


@pytest.mark.parametrize(
    "change",
    [
        {"expires": "2027-02-30"},
        {"expires": "10000-01-01"},
        {"expires": "0000-01-01"},
        {"expires": "2027-06-30\n"},
        {"expires": "20270630"},
        {"expires": "2027-W26-3"},
        {"expires": "٢٠٢٧-٠٦-٣٠"},
        {"added": "yesterday"},
        {"fingerprint": "0" * 16 + "\n"},
        {"fingerprint": "\x1b[31m"},
        {"verdict": "no evidence"},
        {"verdict": "inconclusive"},
        {"score": None},
        {"score": float("nan")},
        {"score": float("inf")},
        {"reason": "x" * 5000},
        {"more": 1},
    ],
    ids=str,
)
def test_a_finding_that_is_none_is_refused(tmp_path, change):
    with pytest.raises(BaselineError):
        baselines.read(written(tmp_path, FILE | {"findings": [ENTRY | change]}))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff",
        b"[" * 100_000,
        json.dumps(REPORT).encode(),
        json.dumps(FILE | {"findings": [ENTRY, ENTRY]}).encode(),
        json.dumps(FILE).replace("1.5", "1e999").encode(),
        json.dumps(FILE).replace("8", "9" * 5000).encode(),
        json.dumps(FILE).replace('"k"', '"\\ud800"').encode(),
        json.dumps(FILE | {"settings": {"x": {"y": 1}}}).encode(),
        json.dumps(FILE | {"schema": "uddm-audit/baseline/2"}).encode(),
    ],
    ids=lambda content: str(content[:20]),
)
def test_a_file_that_is_none_is_refused(tmp_path, content):
    with pytest.raises(BaselineError) as told:
        baselines.read(written(tmp_path, content))
    assert len(str(told.value)) < len(str(tmp_path)) + 250


def test_a_baseline_is_no_report(tmp_path):
    with pytest.raises(BaselineError, match="no JSON report"):
        baselines.read_report(written(tmp_path, FILE))


def test_a_pipe_or_a_device_is_waited_for_by_nobody(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        for reads in (baselines.read, baselines.read_report):
            with pytest.raises(BaselineError, match="not a regular file"):
                reads(path)


def test_the_last_day_is_a_day_on_which_it_holds():
    day = datetime.date(2027, 6, 30)
    known = Known("0" * 16, Verdict.MEMORIZED, 0.0, "id", "r", "a", "2027-01-01", day.isoformat())
    assert not expired(known, day)
    assert expired(known, day + datetime.timedelta(1))


@pytest.mark.parametrize("text", ["20270630", "2027-W26-3", "2027-6-30", " 2027-06-30", "٢٠٢٧-٠٦-٣٠", ""])
def test_a_day_has_one_form(text):
    with pytest.raises(BaselineError, match="is no day such as"):
        baselines.parsed_date(text, "--expires")


def test_words_that_the_file_would_not_take_are_refused_before():
    assert baselines.words("a\udcff", "--reason") == "a\\udcff"
    with pytest.raises(BaselineError, match=r"--reason: more than 4,096 characters"):
        baselines.words("x" * 5000, "--reason")


def test_more_findings_than_can_be_read_are_not_written(monkeypatch):
    monkeypatch.setattr(baselines, "MOST_BYTES", 100)
    with pytest.raises(BaselineError, match="more than a baseline holds"):
        Baseline("k", MADE, "id").encoded()


def test_what_has_changed_is_told_in_a_few_words():
    before = Baseline("k", {"\x1b" * 5000: "x" * 5000}, "other")
    with pytest.raises(BaselineError) as told:
        before.check("known.json", "k", {}, "id")
    assert len(str(told.value)) < 400


def test_of_a_text_that_was_skipped_a_report_says_nothing(tmp_path):
    skipped = {"fingerprint": "1" * 16, "verdict": None, "score": None, "failing": False, "status": "skipped"}
    found = baselines.read_report(written(tmp_path, REPORT | {"results": [RESULT, skipped]}))
    assert (set(found.verdicts), found.skipped) == ({"0" * 16}, {"1" * 16})
