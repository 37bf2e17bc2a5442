"""Reports of `attractors` with any text, id and source, and what they say of a doubtful law."""

import csv
import io
import json

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from audit_cli.records import (
    AttractorGroup,
    AttractorMeasurement,
    AttractorReport,
    AttractorResult,
    Candidate,
    FlipCount,
    Interval,
    LawCheck,
    LawCheckResult,
    ModelInfo,
    RunInfo,
    Status,
)
from audit_cli.reports.attractor_files import AttractorTable, attractors_metadata, write_attractors_table
from audit_cli.reports.attractors import attractors_report
from audit_cli.reports.ranked import PLAIN
from audit_cli.safetext import for_csv, for_terminal
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE

STRINGS = st.one_of(
    st.text(st.characters()),
    st.text(st.sampled_from("|\\`<>&\r\n\t\v\f\0\x1b\x85\u2028\u202e\ud800\udc80=+-@'\"*_[](){}#!~$:/. a1é")),
)
MODEL = ModelInfo("n", "f", 1, 3, 2, "log-linear", "leave-one-out", "r", "raw", "w", "t", "s", "b")
RUN = RunInfo("attractors", "0", {"restarts": 4, "seed": 0}, "id", "cpu", "float32", "chunked", 1.0, 9)
SHARE = Interval(0.75, 0.3, 0.95)
GROUP = AttractorGroup(2, 1, 0, 1, 1, Interval(1.0, 0.2, 1.0), 0.5, 1.5, 2, 2 / 9)
DEEP = AttractorMeasurement(9, 4.5, 1.5, 3, 7, 0, 1, 0, 4, 2, (FlipCount(2, 3), FlipCount(3, 1)), 50)
LOOSE = AttractorMeasurement(9, 9.0, -2.0, 0, 7, 4, 6, 3, 4, None, (), 60)
MOVING = AttractorMeasurement(9, 9.0, -3.0, 0, 7, 4, None, 3, 4, None, (), 60)


def report(text="t", id="f:1", source="f", rival="x", check=LawCheck.CONFIRMED, measured=DEEP):
    candidate, gone = Candidate(source, 1, id, text), Candidate(source, 2, id, text)
    results = (
        AttractorResult(candidate, "0123", Status.MEASURED, "", "", 18, 2, 9, measured, SHARE, rival),
        AttractorResult(gone, "", Status.SKIPPED, "why not"),
    )
    return AttractorReport(MODEL, LawCheckResult(0.0, check, 1), RUN, results, GROUP)


def written(name, redaction, found, bits=False):
    file = io.BytesIO()
    write_attractors_table(AttractorTable(found, redaction, bits), name, file)
    return file.getvalue()


def printed(found, redaction, width=100, legend=False):
    out = io.StringIO()
    console = Console(file=out, width=width, markup=False, highlight=False, emoji=False)
    for part in attractors_report(found, redaction, width, False, legend, False):
        console.print(part)
    return out.getvalue()


@given(STRINGS, STRINGS, STRINGS, STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_string_from_outside_breaks_a_report(text, id, source, rival):
    found = report(text, id, source, rival)
    for redaction in (NONE, FINGERPRINT, EXCERPT, FULL):
        for name in (*PLAIN, "markdown"):
            written(name, redaction, found)
        shown = printed(found, redaction)
        assert not any(c in shown for c in "\x1b\x00\x85\u202e\r\v\f")
    _, row, _ = csv.reader(io.StringIO(written("csv", FULL, found).decode(), newline=""))
    cells = dict(zip(AttractorTable(found, FULL).columns, row, strict=True))
    assert cells["text"] == for_csv(text) and cells["rival"] == for_csv(for_terminal(rival))
    assert json.loads(written("jsonl", FULL, found).splitlines()[0])["window_offset"] == 9
    assert attractors_metadata(found).isascii()


def test_what_stands_in_a_row_is_of_the_window_and_its_position_of_the_text():
    measured, skipped = map(json.loads, written("jsonl", FULL, report()).splitlines())
    assert (measured["smallest_margin_position"], measured["window_tokens"], measured["tokens"]) == (12, 9, 18)
    assert (measured["energy_nats"], measured["energy_mean_nats"]) == (4.5, 0.5)
    assert (measured["flips_survived"], measured["returned"], measured["returned_one_more"]) == (2, 3, 1)
    assert (measured["returned_share"], measured["returned_low"], measured["returned_high"]) == (0.75, 0.3, 0.95)
    assert (skipped["status"], skipped["skip_reason"], skipped["energy_nats"]) == ("skipped", "why not", None)


def test_where_a_text_falls_is_told_in_a_word():
    for measured, told in ((DEEP, "itself"), (LOOSE, "3 (cycle 6)"), (MOVING, "3 (moving)")):
        assert told in printed(report(measured=measured), FULL)


def test_a_network_that_copies_its_input_is_told_of():
    for check in (LawCheck.LEAKS, LawCheck.CONTRADICTED):
        found = report(check=check)
        assert "speaks for itself" in " ".join(printed(found, FULL).split())
        assert "speaks for itself" in attractors_metadata(found)
    assert "speaks for itself" not in printed(report(), FULL)


def test_the_legend_explains_the_columns_and_windows():
    shown = printed(report(), FULL, legend=True)
    assert "the deepest window" in shown and "flips survived" in shown and "f:1 +9" in shown
