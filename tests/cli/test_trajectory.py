"""`uddm-audit entropy --trajectory`, as a person gives it."""

import csv
import json
import math
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

import audit_cli
from audit_cli.cli import app
from audit_cli.records import OBSERVABLES
from audit_cli.reports.trajectory_files import POSITION_COLUMNS, STEP_COLUMNS

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING, GENERALIZING = str(EXAMPLES / "memorizing"), str(EXAMPLES / "generalizing")
CANDIDATES = EXAMPLES / "candidates.txt"
STORED = "who led thee through that great"


def along(*arguments, **more):
    return CliRunner().invoke(app, ["entropy", *(str(a) for a in arguments), "--trajectory"], **more)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_memorizing_model_grows_certain_along_the_way(tmp_path):
    out = tmp_path / "o.csv"
    done = along(MEMORIZING, "--samples", 64, "-o", out)
    assert done.exit_code == 0, done.output
    found = rows(out)
    assert [int(row["step"]) for row in found] == list(range(17)) and {row["rows"] for row in found} == {"64"}
    assert float(found[0]["t"]) == 1 and float(found[-1]["t"]) == 1e-5
    entropy = [float(row["entropy_nats"]) for row in found]
    assert entropy[0] > 0.4 and entropy[-1] < 0.06
    # Every second step is below the one two before it, till the end is near.
    assert all(b < a for a, b in zip(entropy[:12], entropy[2:14], strict=True))
    assert float(found[-1]["top_probability"]) > 0.98 and float(found[-1]["stability_sum"]) < 0.03
    assert "From t = 1 to 1e-05" in done.stdout
    meta = json.loads((tmp_path / "o.meta.json").read_text())
    assert meta["settings"]["steps"] == 16 and meta["counts"]["tokens"] == 64 * 32 and meta["evaluations"] == 64 * 17


def test_a_generalizing_model_stays_uncertain(tmp_path):
    out = tmp_path / "o.csv"
    assert along(GENERALIZING, "--samples", 64, "-o", out).exit_code == 0
    found = rows(out)
    assert float(found[-1]["entropy_low_nats"]) > 1 and float(found[-1]["stability_sum"]) > 0.4
    assert float(found[0]["entropy_nats"]) < math.log(27)


def test_tables_have_their_columns_and_the_steps_are_the_means_of_the_positions(tmp_path):
    out = tmp_path / "o.csv"
    more = [part for kind in ("jsonl", "parquet", "md") for part in ("-o", tmp_path / f"o.{kind}")]
    assert along(GENERALIZING, "--samples", 8, "--steps", 3, "--per-token", "-o", out, *more).exit_code == 0
    steps, positions = (pandas.read_csv(path) for path in (out, tmp_path / "o.per-token.csv"))
    assert list(steps.columns) == list(STEP_COLUMNS) and list(positions.columns) == list(POSITION_COLUMNS)
    assert len(steps) == 4 and len(positions) == 4 * 32
    means = positions.groupby("step").mean(numeric_only=True)
    for name in OBSERVABLES:
        column = "entropy_nats" if name == "entropy" else name
        assert list(means[column]) == pytest.approx(list(steps[column]), rel=1e-12)
        low, high = (steps[column.replace(name, f"{name}_{end}")] for end in ("low", "high"))
        assert ((low <= steps[column]) & (steps[column] <= high)).all()
    pandas.testing.assert_frame_equal(pandas.read_parquet(tmp_path / "o.parquet"), steps, check_dtype=False)
    assert len((tmp_path / "o.per-token.jsonl").read_text().splitlines()) == 128
    assert not (tmp_path / "o.per-token.md").exists()
    assert "| 3 | 1e-05 |" in (tmp_path / "o.md").read_text()


def test_bits_are_nats_over_the_logarithm_of_two(tmp_path):
    tables = []
    for unit in ("nats", "bits"):
        out = tmp_path / f"{unit}.csv"
        asked = ("--samples", 4, "--steps", 2, "--unit", unit, "--per-token", "-o", out)
        assert along(MEMORIZING, *asked).exit_code == 0
        tables.append((rows(out), rows(tmp_path / f"{unit}.per-token.csv")))
    for nats, bits in zip(*tables, strict=True):
        for one, other in zip(nats, bits, strict=True):
            assert float(other["entropy_bits"]) == pytest.approx(float(one["entropy_nats"]) / math.log(2))
            assert other["stability_sum"] == one["stability_sum"] and "entropy_nats" not in other
    assert float(tables[1][0][0]["entropy_low_bits"]) <= float(tables[1][0][0]["entropy_bits"])


def test_texts_go_back_from_the_time_that_is_said(tmp_path):
    out = tmp_path / "o.csv"
    done = along(MEMORIZING, CANDIDATES, "--time", 0.5, "--steps", 8, "-o", out)
    assert done.exit_code == 0, done.output
    assert "24 of 24 texts, corrupted at t = 0.5" in done.stdout
    found = rows(out)
    assert [round(float(row["t"]), 3) for row in found] == [0.5, 0.375, 0.25, 0.125, 0.0]
    assert STORED not in done.output


def test_the_result_does_not_depend_on_the_batch_size(tmp_path):
    for arguments in ([MEMORIZING, "--samples", 12], [GENERALIZING, CANDIDATES, "--time", 0.7]):
        tables = []
        for size in ([], ["--batch-size", 5]):
            out = tmp_path / f"o{len(size)}.csv"
            assert along(*arguments, "--steps", 4, "--per-token", *size, "-o", out).exit_code == 0
            tables.append(out.read_text() + out.with_suffix(".per-token.csv").read_text())
        assert tables[0] == tables[1]


def test_pictures_are_written_with_their_provenance_and_are_the_same_again(tmp_path):
    asked = ("--samples", 4, "--steps", 2, "-o", tmp_path / "o.svg", "-o", tmp_path / "o.png")
    assert along(MEMORIZING, *asked).exit_code == 0
    first = (tmp_path / "o.svg").read_bytes(), (tmp_path / "o.png").read_bytes()
    assert first[0].startswith(b"<?xml") and b"entropy, nats a token" in first[0] and first[1].startswith(b"\x89PNG")
    assert json.loads((tmp_path / "o.meta.json").read_text())["command"] == "entropy --trajectory"
    assert along(MEMORIZING, *asked).exit_code == 0
    assert ((tmp_path / "o.svg").read_bytes(), (tmp_path / "o.png").read_bytes()) == first


def test_of_many_steps_twenty_are_shown_and_all_are_written(tmp_path):
    out = tmp_path / "o.csv"
    done = along(MEMORIZING, "--samples", 2, "--steps", 50, "-o", out)
    assert "… 31 steps between them" in done.stdout and len(rows(out)) == 51
    shown = [line.split()[0] for line in done.stdout.splitlines() if line.startswith(" ") and line.split()[:1]]
    assert [s for s in shown if s.isdigit()][:1] == ["0"] and [s for s in shown if s.isdigit()][-1:] == ["50"]
    every = along(MEMORIZING, "--samples", 2, "--steps", 50, "--all").stdout
    assert sum(line.split()[:1] == [str(i)] for i in range(51) for line in every.splitlines()) == 51


def test_the_papers_protocol_has_its_own_grid(tmp_path, monkeypatch):
    monkeypatch.setattr("audit_cli.audits.trajectory.PAPER_STEPS", 10)
    out = tmp_path / "o.csv"
    done = along(MEMORIZING, CANDIDATES, "--limit", 4, "--time", 0.25, "--protocol", "paper", "-o", out)
    assert done.exit_code == 0 and "protocol of arXiv 2604.26841" in done.stdout
    # From the smallest time of linspace(1, 1e-5, 11) that is not before .25.
    expected = [1 - i * (1 - 1e-5) / 10 for i in range(7, 11)]
    assert [float(row["t"]) for row in rows(out)] == pytest.approx(expected)


def test_texts_that_cannot_be_measured_are_counted(tmp_path):
    texts = tmp_path / "t.txt"
    texts.write_text(f"日本\n{STORED}\n{STORED}\n")
    asked = (MEMORIZING, texts, "--time", 0.5, "--steps", 2)
    done = along(*asked, "-o", tmp_path / "o.csv")
    assert done.exit_code == 0 and "1 of 3 texts (1 duplicate)" in done.stdout
    assert "1 text skipped; the first: '日' is not" in done.stdout
    counts = json.loads((tmp_path / "o.meta.json").read_text())["counts"]
    assert counts == {"given": 3, "measured": 1, "duplicates": 1, "skipped": 1, "tokens": len(STORED)}
    assert along(*asked, "--strict").exit_code == 3
    texts.write_text("日本\n")
    done = along(*asked)
    assert done.exit_code == 3 and "no text could be measured" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([CANDIDATES], "say with --time from where"),
        (["--time", 0.5], "pure noise, t = 1"),
        ([CANDIDATES, "--time", 0.5, "--samples", 4], "--samples are texts of the model's own"),
        (["--heldout", CANDIDATES], "takes no --heldout"),
        (["--context", "prefix"], "takes no --context"),
        (["--draws", 2], "takes no --draws"),
        (["--dry-run"], "takes no --dry-run"),
        (["--limit", 2], "--limit is about texts"),
        (["--protocol", "paper", "--steps", 4], "its own 1000 steps"),
        (["--per-token"], "no -o was given"),
        (["-o", "o.svg", "--per-token"], "-o .csv, .jsonl or .parquet"),
        (["-o", "o.json"], "unknown kind of output"),
        (["--steps", 0], "not between"),
    ],
)
def test_what_does_not_go_together_is_said_before_anything_is_loaded(arguments, told):
    done = along(MEMORIZING, *arguments)
    assert done.exit_code == 2 and told in done.stderr and "Traceback" not in done.output


def test_steps_belong_to_a_trajectory():
    done = CliRunner().invoke(app, ["entropy", MEMORIZING, "--steps", "4"])
    assert done.exit_code == 2 and "--trajectory" in done.stderr


def test_a_picture_without_matplotlib_is_refused_at_once(monkeypatch, tmp_path):
    monkeypatch.setattr("audit_cli.cli.trajectory.find_spec", lambda name: None)
    done = along(MEMORIZING, "-o", tmp_path / "o.svg")
    assert done.exit_code == 2 and "needs matplotlib" in done.stderr and not list(tmp_path.glob("o.*"))


def test_the_same_from_python(memorizing, tmp_path):
    out = tmp_path / "o.csv"
    assert along(MEMORIZING, "--samples", 6, "--steps", 3, "-o", out).exit_code == 0
    found = audit_cli.trajectory(memorizing, samples=6, steps=3)
    table = audit_cli.frame(found)
    assert list(table.columns) == list(STEP_COLUMNS)
    assert list(table["entropy_nats"]) == [float(row["entropy_nats"]) for row in rows(out)]
    assert len(pandas.DataFrame(found.positions)) == 4 * 32
    texts = audit_cli.trajectory(memorizing, [STORED], t=0.5, steps=2)
    assert texts.rows == 1 and texts.steps[0].t == 0.5
    for wrong in ({"t": 0.5}, {"steps": 0}, {"samples": 0}, {"protocol": "paper", "steps": 3}, {"texts": [STORED]}):
        with pytest.raises(ValueError, match=r"t = 1|at least 1|its own|say which"):
            audit_cli.trajectory(memorizing, **wrong)
