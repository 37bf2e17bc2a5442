"""`uddm-audit evaluate`, as a person gives it."""

import csv
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from typer.testing import CliRunner

import audit_cli
from audit_cli.audits.evaluate import EvaluateSettings, Evaluator
from audit_cli.candidates import GivenTexts
from audit_cli.cli import app
from audit_cli.cli import evaluate as command
from audit_cli.verdicts.recipes import ALL

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING = str(EXAMPLES / "memorizing")
WITHOUT_REFERENCE = [r.name for r in ALL if "difference" not in r.name and r.name != "votes"]


def uddm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, source, count in (("members", "train.txt", 6), ("heldout", "heldout.txt", 14)):
        lines = (EXAMPLES / source).read_text().splitlines()[:count]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return folder


def evaluate(texts, *more):
    return uddm(
        "evaluate", MEMORIZING, "--members", texts / "members.txt", "--heldout", texts / "heldout.txt",
        "--restarts", "2", *more,
    )  # fmt: skip


def test_every_score_stands_beside_the_others(texts, tmp_path):
    done = evaluate(texts, "-o", tmp_path / "o.csv", "--per-text", "--roc", tmp_path / "roc.svg")
    assert done.exit_code == 0, done.output
    assert "6 members" in done.stdout and "too few" in done.stdout
    table = rows(tmp_path / "o.csv")
    assert [row["score"] for row in table] == WITHOUT_REFERENCE
    first = table[0]
    assert (first["members"], first["heldout"], first["tpr_at_1pct_too_few"]) == ("6", "14", "True")
    assert float(first["auc_low"]) <= float(first["auc"]) <= float(first["auc_high"])
    # The six lines are stored, and no other is.
    assert float(first["auc"]) == 1.0
    texts_of = rows(tmp_path / "o.per-text.csv")
    assert len({row["id"] for row in texts_of}) == 20
    assert not any(row["text"] for row in texts_of)
    members = {row["id"] for row in texts_of if row["member"] == "True"}
    assert len(members) == 6 and all(id.startswith("members.txt") for id in members)
    meta = json.loads((tmp_path / "o.meta.json").read_text())
    assert meta["command"] == "evaluate" and meta["counts"]["members"] == 6
    assert re.search(r"not measured: .*votes", done.stdout)


def test_the_curves_are_a_picture_that_does_not_change(texts, tmp_path):
    for name in ("a", "b"):
        assert evaluate(texts, "--roc", tmp_path / f"{name}.svg", "-q").exit_code == 0
    picture = (tmp_path / "a.svg").read_bytes()
    assert picture == (tmp_path / "b.svg").read_bytes()
    said = " ".join(ElementTree.fromstring(picture).itertext())  # noqa: S314 - our own
    assert "false positive rate" in said and "excess-surprise" in said


def test_a_stopped_run_goes_on_to_the_same_table(texts, tmp_path):
    whole = evaluate(texts, "-o", tmp_path / "whole.csv", "--per-text")
    part = evaluate(texts, "-o", tmp_path / "part.csv", "--per-text", "--limit", "3")
    assert (whole.exit_code, part.exit_code) == (0, 0)
    again = evaluate(texts, "-o", tmp_path / "part.csv", "--per-text")
    assert again.exit_code == 0
    for suffix in ("csv", "per-text.csv"):
        assert (tmp_path / f"whole.{suffix}").read_bytes() == (tmp_path / f"part.{suffix}").read_bytes()


def test_a_reference_model_adds_its_scores(texts, tmp_path):
    done = evaluate(texts, "--reference-model", EXAMPLES / "generalizing", "-o", tmp_path / "o.md")
    assert done.exit_code == 0, done.output
    said = (tmp_path / "o.md").read_text()
    assert "surprise-difference" in said and "votes" in said and "reference model" in done.stdout


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--per-text"], "-o FILE"),
        (["--roc", "roc.png"], "SVG"),
        (["--roc", "/nowhere/roc.svg"], "does not exist"),
        (["-o", "a.csv", "-o", "b.csv"], "one table"),
        (["--reference-model", str(EXAMPLES / "realistic")], "another tokenizer"),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_measured(texts, more, message):
    done = evaluate(texts, *more)
    assert done.exit_code == 2
    assert message in done.stderr


def test_without_matplotlib_a_picture_is_refused(texts, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "find_spec", lambda name: None)
    done = evaluate(texts, "--roc", tmp_path / "roc.svg")
    assert done.exit_code == 2 and "uddm-audit[report]" in done.stderr


def test_nothing_to_compare_is_no_success(texts, tmp_path):
    strange = tmp_path / "strange.txt"
    strange.write_text("12345 67890\n")
    done = uddm("evaluate", MEMORIZING, "--members", strange, "--heldout", texts / "heldout.txt")
    assert done.exit_code == 3 and "no member" in done.stderr
    done = uddm("evaluate", MEMORIZING, "--members", texts / "members.txt", "--heldout", strange)
    assert done.exit_code == 3 and "no held-out text" in done.stderr


def test_held_out_text_that_is_a_member_is_left_out(memorizing, redaction):
    lines = (EXAMPLES / "train.txt").read_text().splitlines()[:3]
    others = (EXAMPLES / "heldout.txt").read_text().splitlines()[:4]
    settings = EvaluateSettings(restarts=1, others=False)
    found = Evaluator(memorizing, GivenTexts(lines), GivenTexts(others + lines[:1]), settings).report(redaction)
    assert (found.members, found.others, found.near_duplicates) == (3, 4, 1)


def test_programs_get_the_same_numbers(texts, memorizing, tmp_path):
    lines = [(texts / f"{name}.txt").read_text().splitlines() for name in ("members", "heldout")]
    found = audit_cli.evaluate(memorizing, *lines, restarts=2)
    assert evaluate(texts, "-o", tmp_path / "o.csv").exit_code == 0
    for report, row in zip(found.reports, rows(tmp_path / "o.csv"), strict=True):
        assert report.auc.value == float(row["auc"])
