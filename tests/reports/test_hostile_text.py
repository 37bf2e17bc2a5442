"""Any text, id and source in any format: nothing raises, nothing is lost, and nothing shows that was not asked for."""

import csv
import io
import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from audit_cli.records import Candidate
from audit_cli.reports.formats import FORMATS
from audit_cli.reports.tables import Table
from audit_cli.safetext import encodable, for_csv, for_terminal
from tests.reports.made import ENTROPY, EXCERPT, FINGERPRINT, FULL, NONE, measured, report

ANY_TEXT = st.text(st.characters())  # surrogates, controls and unassigned code points included
HOSTILE = st.text(st.sampled_from("|\\`<>&\r\n\t\v\f\0\x1b\x85\u2028\u202e\ud800\udc80=+-@'\"*_[](){}#!~$:/. a1é"))
STRINGS = st.one_of(ANY_TEXT, HOSTILE)
MARKER = "Zyzzyva4711"


def reported(command, text, id="f:1", source="f", redaction=FULL):
    result = measured(text, redaction=redaction, candidate=Candidate(source, 1, id, text), entropy=ENTROPY)
    return report(command, (result,))


def written(name, what, redaction, table=None):
    file = io.BytesIO()
    FORMATS[name].write(Table(table or what.run.command, what, redaction), file)
    return file.getvalue()


def as_json_reads(text):
    """A high surrogate before a low one is one character to every reader of JSON."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


@given(STRINGS, STRINGS, STRINGS)
@settings(max_examples=150, deadline=None, derandomize=True)
def test_json_lines_keep_every_string_exactly(text, id, source):
    data = written("jsonl", reported("basins", text, id, source), FULL)
    assert data.isascii() and data.count(b"\n") == 1
    row = json.loads(data)
    assert [row["text"], row["id"], row["source"]] == [as_json_reads(s) for s in (text, id, source)]


@given(STRINGS, STRINGS, STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_parquet_keeps_every_string_that_utf_8_can_hold(text, id, source):
    (row,) = parquet.read_table(io.BytesIO(written("parquet", reported("basins", text, id, source), FULL))).to_pylist()
    assert [row["text"], row["id"], row["source"]] == [encodable(s) for s in (text, id, source)]
    if not any(unicodedata.category(c) == "Cs" for c in text):
        assert row["text"] == text


@given(STRINGS, STRINGS, STRINGS)
@example("two\rlines", '"', "a,b\0\n")
@settings(max_examples=200, deadline=None, derandomize=True)
def test_a_csv_file_keeps_cells_apart_and_the_text_as_far_as_a_spreadsheet_may_have_it(text, id, source):
    data = written("csv", reported("basins", text, id, source), FULL).decode()
    header, row = csv.reader(io.StringIO(data, newline=""))
    cells = dict(zip(header, row, strict=True))
    assert cells["text"] == for_csv(text)
    assert [cells["id"], cells["source"]] == [for_csv(for_terminal(s)) for s in (id, source)]
    assert cells["tokens"] == "9"


@given(STRINGS, STRINGS, STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_no_string_breaks_a_format(text, id, source):
    for redaction in (FULL, EXCERPT, FINGERPRINT):
        what = reported("entropy", text, id, source, redaction)
        for name in FORMATS:
            written(name, what, redaction)


def readable(name, data):
    """What a file holds, uncompressed."""
    return repr(parquet.read_table(io.BytesIO(data)).to_pylist()) if name == "parquet" else data.decode()


@given(STRINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_what_came_back_in_a_slot_breaks_no_format_either(text):
    what = report("extract", (measured("a text", recovered_text=text),))
    cells = next(csv.DictReader(io.StringIO(written("csv", what, FULL).decode(), newline="")))
    assert cells["recovered_text"] == for_csv(for_terminal(text))
    assert json.loads(written("jsonl", what, FULL))["recovered_text"] == as_json_reads(text)


@pytest.mark.parametrize("command", ["basins", "entropy", "extract"])
@pytest.mark.parametrize("name", FORMATS)
def test_a_text_is_in_no_file_unless_it_is_asked_for(name, command):
    text = f"{MARKER} met {MARKER}"
    shown = {}
    for redaction in (NONE, FINGERPRINT, EXCERPT, FULL):
        what = reported(command, text, redaction=redaction)
        tables = (command, *{"basins": ["per-level"], "entropy": ["per-token"]}.get(command, []))
        shown[redaction] = "".join(readable(name, written(name, what, redaction, table)) for table in tables)
    assert not any(MARKER in shown[redaction] for redaction in (NONE, FINGERPRINT, EXCERPT))
    assert not any(MARKER[:2] in shown[redaction] for redaction in (NONE, FINGERPRINT))
    assert MARKER[:2] in shown[EXCERPT] and MARKER in shown[FULL]
    fingerprint = FULL.fingerprint(text, None)
    assert fingerprint in shown[FINGERPRINT] and fingerprint not in shown[NONE]
