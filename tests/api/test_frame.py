"""Results as a pandas DataFrame."""

import math
from dataclasses import replace

import pandas
import pytest

import audit_cli
from audit_cli.reports.columns import COLUMNS
from tests.reports.made import ENTROPY, EXTRACTION, measured, report, results, skipped

KINDS = {str: "string", int: "Int64", float: "Float64"}


def of_entropy(**changes):
    return measured(basin_measurement=None, basin=None, extraction=None, **changes)


def of_extraction():
    return measured(basin_measurement=None, basin=None, extraction=EXTRACTION)


@pytest.mark.parametrize(
    ("command", "result"), [("basins", measured()), ("entropy", of_entropy()), ("extract", of_extraction())]
)
def test_columns_and_their_kinds_are_those_of_the_table(command, result):
    # Skipped first: the kinds never come from the rows.
    frame = audit_cli.frame([skipped(), result, skipped()])
    assert list(frame.columns) == list(COLUMNS[command])
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        name: KINDS[kind] for name, kind in COLUMNS[command].items()
    }
    assert list(frame["status"]) == ["skipped", "measured", "skipped"]


def test_cells_are_those_of_the_table():
    from audit_cli.reports.tables import Table
    from tests.reports.made import FINGERPRINT

    frame = audit_cli.frame(results())
    for (_, mine), theirs in zip(
        frame.iterrows(), Table("basins", report("basins", results()), FINGERPRINT), strict=True
    ):
        cells = {name: None if value is pandas.NA else value for name, value in mine.items()}
        assert cells == theirs | {"settings_id": None}


def test_text_is_there_only_where_it_is_asked_for():
    odd = measured(text="a lone \ud800 and\ttab, \x00, =1+1")
    assert audit_cli.frame([odd])["text"].isna().all()
    assert list(audit_cli.frame([odd], text=True)["text"]) == [odd.candidate.text]


def test_what_is_no_number_is_not_available():
    row = audit_cli.frame([of_entropy(entropy=replace(ENTROPY, margin_mean=math.inf))]).iloc[0]
    assert row["margin_mean"] is row["entropy_sd_draws"] is row["settings_id"] is pandas.NA
    assert row["entropy_nats"] == ENTROPY.entropy_mean


def test_where_nothing_was_measured_the_columns_are_the_shared_ones():
    for nothing in ([], [skipped()]):
        frame = audit_cli.frame(nothing)
        assert len(frame) == len(nothing)
        assert set(frame.columns) == set(COLUMNS["basins"]) & set(COLUMNS["entropy"]) & set(COLUMNS["extract"])


def test_results_of_both_commands_make_no_table():
    with pytest.raises(ValueError, match="a frame of each"):
        audit_cli.frame([measured(), of_entropy()])


def test_a_generator_is_enough_and_is_read_once():
    given = (measured(id=str(number)) for number in range(3))
    assert list(audit_cli.frame(given)["id"]) == ["0", "1", "2"]
    assert next(given, None) is None
