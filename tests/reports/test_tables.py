"""The same rows in every format, with the columns and types that are promised."""

import io
import json
import math
import re

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from audit_cli.redaction import ShowText
from audit_cli.reports.columns import COLUMNS, columns
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.formats import FORMATS
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.parquet_file import GROUP_ROWS, write_parquet
from audit_cli.reports.tables import Table
from tests.reports.made import ENTROPY, EXCERPT, FINGERPRINT, FULL, NONE, measured, report, results, skipped

FIRST = (
    "schema, settings_id, source, line, id, fingerprint, duplicate_of, windows, window_offset, tokens, status, "
    "skip_reason, verdict, verdict_reason, recipe, score, p_value, p_value_upper95, q_value, references, comparability"
)
RESTARTS_FOR = ", ".join(f"restarts_for_{name}{end}" for name in ("half", "90pct") for end in ("", "_low", "_high"))
PROMISED = {
    "basins": FIRST + ", returns_at_level, returned_share, returned_low, returned_high, basin, basin_low, basin_high, "
    "basin_censored, curve_area, surprise_nats, longest_recovered_run, edit_similarity_mean, edit_similarity_best, "
    f"exact_share, exact_low, exact_high, {RESTARTS_FOR}, nfe, text",
    "extract": FIRST + f", slot_tokens, t, restarts, exact, exact_share, exact_low, exact_high, {RESTARTS_FOR}, "
    "recovered_share, fillings, most_frequent, secret_rank, exposure_bits, surprise_nats, nfe, recovered_text, text",
    "entropy": FIRST + ", origin, context, law, t, draws, entropy_nats, entropy_sd_draws, entropy_max_nats, "
    "surprise_nats, surprise_max_nats, surprise_rms_nats, margin_mean, vanishing_share, vanishing_below_nats, "
    "longest_sure_run, text",
    "check": FIRST.replace("settings_id, ", "settings_id, set, ") + ", failing, known, known_reason, known_author, "
    "known_expires, expired, returns_at_level, returned_share, returned_low, returned_high, basin, basin_low, "
    "basin_high, basin_censored, curve_area, entropy_nats, surprise_nats, longest_recovered_run, nfe, text",
    "per-level": "settings_id, fingerprint, id, level, t, restarts, corrupted_tokens, returned, returned_low, "
    f"returned_high, exact, exact_low, exact_high, {RESTARTS_FOR}, recovery_rate, recovery_low, recovery_high, "
    "unstable_rate, unstable_low, unstable_high, argmax_recovery_rate, interval_method",
    "per-token": "settings_id, fingerprint, id, position, t, entropy_nats, surprise_nats, rank, margin, "
    "top_probability, token, top_token",
}
COMMANDS = {name: name for name in ("basins", "entropy", "extract")} | {"per-level": "basins", "per-token": "entropy"}
PANDAS = {str: "string", int: "Int64", float: "float64", bool: "boolean"}


def table(name, redaction=FULL, bits=False, of=None):
    found = results(redaction) if of is None else of
    return Table(name, report(COMMANDS[name], found), redaction, bits)


def written(write, what):
    file = io.BytesIO()
    write(what, file)
    file.seek(0)
    return file


def from_csv(what):
    kinds = {name: PANDAS[kind] for name, kind in what.columns.items()}
    frame = pd.read_csv(written(write_csv, what), dtype=kinds, keep_default_na=False, na_values=[""])
    return list(frame.columns), [
        {name: None if pd.isna(value) else value for name, value in row.items()} for row in frame.to_dict("records")
    ]


def from_jsonl(what):
    rows = [json.loads(line) for line in written(write_jsonl, what)]
    return list(rows[0]) if rows else None, rows


def from_parquet(what):
    read = parquet.read_table(written(write_parquet, what))
    return read.column_names, read.to_pylist()


@pytest.mark.parametrize("name", COLUMNS)
def test_the_columns_are_those_that_are_promised_in_order(name):
    assert ", ".join(columns(name, bits=False)) == PROMISED[name]
    assert ", ".join(columns(name, bits=True)) == PROMISED[name].replace("_nats", "_bits")


@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize("name", COMMANDS)
def test_rows_hold_what_their_columns_declare(name, bits):
    what = table(name, bits=bits)
    rows = list(what)
    assert rows
    for row in rows:
        assert list(row) == list(what.columns)
        for column, value in row.items():
            kind = what.columns[column]
            assert value is None or type(value) is kind or (kind is float and type(value) is int), column
    # Every column is put to the test, but for the one that nothing here measures.
    never = {column for column in what.columns if all(row[column] is None for row in rows)}
    assert never <= {"argmax_recovery_rate", "entropy_sd_draws"}


@pytest.mark.parametrize("read", [from_csv, from_jsonl, from_parquet])
@pytest.mark.parametrize("bits", [False, True])
@pytest.mark.parametrize("redaction", [FULL, EXCERPT, FINGERPRINT, NONE], ids=lambda r: str(r.show))
@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_rows_come_back_from_every_format(name, redaction, bits, read):
    what = table(name, redaction, bits)
    names, rows = read(what)
    assert names == list(what.columns)
    assert rows == list(what)


@pytest.mark.parametrize("read", [from_csv, from_jsonl, from_parquet])
def test_what_was_not_measured_is_empty_and_never_zero(read):
    row = read(table("basins", of=(skipped(),)))[1][0]
    known = {name for name, value in row.items() if value is not None}
    assert known == {
        "schema", "settings_id", "source", "line", "id", "fingerprint", "status", "skip_reason", "text"
    }  # fmt: skip
    assert row["skip_reason"] == "40 tokens, at most 32"


def test_a_zero_is_a_zero():
    what = table("basins", of=(measured(window_offset=0),))
    assert [read(what)[1][0]["window_offset"] for read in (from_csv, from_jsonl, from_parquet)] == [0, 0, 0]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_table_without_rows_still_has_its_columns(name):
    what = table(name, of=())
    assert from_csv(what) == (list(what.columns), [])
    assert from_jsonl(what) == (None, [])
    assert from_parquet(what) == (list(what.columns), [])


def test_parquet_types_do_not_depend_on_the_rows():
    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    for name in COMMANDS:
        for of in ((), (skipped(),), results()):
            what = table(name, of=of)
            schema = parquet.read_schema(written(write_parquet, what))
            assert {field.name: field.type for field in schema} == {n: kinds[k] for n, k in what.columns.items()}


def test_numbers_that_are_none_are_not_measured_in_any_format():
    broken = measured(entropy=type(ENTROPY)(**{f: getattr(ENTROPY, f) for f in ENTROPY.__slots__} | {
        "surprise_mean": math.inf, "entropy_max": math.nan}))  # fmt: skip
    for read in (from_csv, from_jsonl, from_parquet):
        row = read(table("entropy", of=(broken,)))[1][0]
        assert row["surprise_nats"] is None and row["entropy_max_nats"] is None
        assert row["entropy_nats"] == 0.1


def test_bits_are_nats_by_log_two():
    (nats,), (bits,) = (list(table("entropy", bits=b, of=(measured(),))) for b in (False, True))
    assert bits["entropy_bits"] == nats["entropy_nats"] / math.log(2)
    assert bits["margin_mean"] == nats["margin_mean"] / math.log(2)
    assert bits["vanishing_share"] == nats["vanishing_share"]


def test_duplicates_have_a_row_and_no_second_measurement():
    assert [row["duplicate_of"] for row in table("basins")] == [None, None, "texts.txt:1", None]
    assert [row["id"] for row in table("per-level")] == ["texts.txt:1"] * 2 + ["my own id"] * 2
    assert [row["id"] for row in table("per-token")] == ["texts.txt:1"] * 3 + ["my own id"] * 3


@pytest.mark.parametrize("redaction", [NONE, FINGERPRINT, EXCERPT], ids=lambda r: str(r.show))
def test_tokens_are_spelled_only_where_all_text_is_shown(redaction):
    assert {row["token"] for row in table("per-token", redaction)} == {None}
    assert {row["token"] for row in table("per-token", FULL)} == {"he"}


def test_an_empty_text_that_may_be_shown_is_no_missing_text():
    for redaction in (FULL, EXCERPT):
        assert [row["text"] for row in table("basins", redaction, of=(measured(""),))] == [""]
    assert [row["text"] for row in table("basins", FINGERPRINT, of=(measured(""),))] == [None]


class Stream:
    """Results of which none is kept; `seen` is called before each."""

    def __init__(self, count, seen=lambda i: None):
        self.count, self.seen = count, seen

    def __iter__(self):
        for i in range(self.count):
            self.seen(i)
            yield skipped(f"line {i}", f"texts.txt:{i}", i, NONE)

    def __len__(self):
        return self.count


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "markdown"])
def test_rows_are_written_as_they_are_read(name):
    file, sizes = io.BytesIO(), []
    stream = Stream(3 * GROUP_ROWS // 2, lambda i: sizes.append(file.tell()))
    FORMATS[name].write(table("basins", NONE, of=stream), file)
    # Of one and a half row groups; what Parquet notes of its columns stands at the end.
    third = file.tell() / 3
    assert third < sizes[-1]


def test_a_row_group_has_a_few_thousand_rows_and_no_more_than_fits_into_memory(monkeypatch):
    read = parquet.ParquetFile(written(write_parquet, table("basins", NONE, of=Stream(GROUP_ROWS + 1))))
    assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [GROUP_ROWS, 1]
    assert read.read()["line"].to_pylist() == list(range(GROUP_ROWS + 1))
    monkeypatch.setattr("audit_cli.reports.parquet_file.GROUP_CHARACTERS", 1000)
    long = tuple(measured("x" * 600, f"f:{i}") for i in range(4))
    read = parquet.ParquetFile(written(write_parquet, table("basins", of=long)))
    assert [read.metadata.row_group(i).num_rows for i in range(read.num_row_groups)] == [2, 2]


def test_each_format_has_a_suffix_and_none_is_shared():
    suffixes = [suffix for kind in FORMATS.values() for suffix in kind.suffixes]
    assert len(suffixes) == len(set(suffixes))
    assert all(re.fullmatch(r"\.[a-z]+", suffix) for suffix in suffixes)


def test_every_way_to_show_text_is_tried_here():
    assert {r.show for r in (FULL, EXCERPT, FINGERPRINT, NONE)} == set(ShowText)
