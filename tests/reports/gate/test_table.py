"""The table of a gate: the same columns whatever was measured, and the same rows in every format."""

import io
import json

import pandas as pd
import pytest
from jsonschema import Draft202012Validator
from pyarrow import parquet

from audit_cli.records import Verdict
from audit_cli.reports.columns import COLUMNS
from audit_cli.reports.gate.json_report import schema_text
from audit_cli.reports.gate.table import GateTable
from tests.reports.gate.made import KNOWN, document, everything, gate, judged, of_set, texts, written
from tests.reports.made import EXCERPT, FINGERPRINT, FULL, NONE, measured


@pytest.mark.parametrize("redaction", [FULL, EXCERPT, FINGERPRINT, NONE], ids=lambda r: str(r.show))
def test_rows_hold_what_the_columns_declare(redaction):
    table = GateTable(everything(redaction), redaction)
    rows = list(table)
    assert len(rows) == 11 and rows == list(table)
    for row in rows:
        assert list(row) == list(COLUMNS["check"])
        for name, value in row.items():
            assert value is None or type(value) is table.columns[name], name
    shown = {"text"} if redaction in (FULL, EXCERPT) else set()
    shown |= set() if redaction is NONE else {"fingerprint"}
    never = {name for name in table.columns if all(row[name] is None for row in rows)}
    assert never == {"duplicate_of", "text", "fingerprint"} - shown


def test_what_entropy_does_not_measure_is_empty_and_what_it_does_is_there():
    (row,) = (row for row in GateTable(everything(), FULL) if row["set"] == "letters")
    assert (row["entropy_nats"], row["surprise_nats"], row["nfe"]) == (0.1, 0.25, 1)
    assert {row[n] for n in ("returned_share", "returns_at_level", "basin", "longest_recovered_run")} == {None}


def test_a_row_says_who_accepted_it():
    rows = {row["id"]: row for row in GateTable(gate(), FULL)}
    known = rows["a.txt:4"]
    assert (known["known"], known["failing"]) == (True, False)
    assert [known[f"known_{name}"] for name in ("reason", "author", "expires")] == [
        "a famous line",
        "Ada",
        "2027-01-01",
    ]
    assert (rows["a.txt:1"]["known"], rows["a.txt:1"]["failing"]) == (False, True)
    assert rows["a.txt:1"]["known_reason"] is None
    assert not any(row["expired"] for row in rows.values())


@pytest.mark.parametrize("redaction", [FULL, NONE], ids=lambda r: str(r.show))
def test_a_row_says_that_its_acceptance_has_expired(redaction):
    again = judged(Verdict.MEMORIZED, "a.txt:1", 1, redaction, failing=True, expired=KNOWN)
    what = gate([of_set(results=(again, *texts(redaction)[3:5]), redaction=redaction)])
    rows = {row["id"]: row for row in GateTable(what, redaction)}
    assert {id: row["expired"] for id, row in rows.items()} == {"a.txt:1": True, "a.txt:4": False, "a.txt:5": False}
    assert (rows["a.txt:1"]["known"], rows["a.txt:1"]["known_expires"]) == (False, None)
    found = document(what, redaction)
    Draft202012Validator(json.loads(schema_text())).validate(found)
    first, known, _ = found["results"]
    assert (first["expired"], first["known"]) == (known["known"], None)
    assert first["expired"]["expires"] == "2027-01-01" and known["expired"] is None


def test_the_same_rows_come_back_from_every_format():
    what = everything()
    rows = list(GateTable(what, FULL))
    assert [json.loads(line) for line in written("jsonl", what).splitlines()] == rows
    assert parquet.read_table(io.BytesIO(written("parquet", what))).to_pylist() == rows
    frame = pd.read_csv(io.BytesIO(written("csv", what)), keep_default_na=False, na_values=[""])
    assert list(frame.columns) == list(COLUMNS["check"])
    assert list(frame["failing"]) == [row["failing"] for row in rows]


def test_no_number_is_infinite():
    (row,) = GateTable(gate([of_set(results=(measured(tokens=3, entropy=None),))]), FULL)
    assert row["surprise_nats"] is None and row["entropy_nats"] is None and row["nfe"] == 48
