"""`uddm-audit evaluate`, as a person gives it."""

import csv
import json
import math
import os
import re
import shutil
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

import audit_cli
from audit_cli.audits.evaluate import EvaluateSettings, Evaluator
from audit_cli.candidates import GivenTexts
from audit_cli.cli import app
from audit_cli.cli import evaluate as command
from audit_cli.models.additive import LEVEL_SCALE
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


def test_a_dry_run_counts_both_kinds_alike_and_writes_nothing(texts, tmp_path):
    done = evaluate(texts, "-o", tmp_path / "o.csv", "--per-text", "--roc", tmp_path / "roc.svg", "--dry-run")
    assert done.exit_code == 0, done.output
    assert re.search(r"texts +6 of 6 to measure\nheld-out +14 texts\n", done.stdout)
    found = re.search(r"forward passes +([\d,]+) of one sequence: texts ([\d,]+), held-out texts ([\d,]+)", done.stdout)
    both, members, others = (int(number.replace(",", "")) for number in found.groups())
    # Every row is measured alike: five levels and two of the other dynamics, two restarts each, at least.
    assert both == members + others and 14 * members == 6 * others and members >= 6 * 7 * 2
    assert "Nothing was measured or written" in done.stdout
    assert not [*tmp_path.glob("o.*"), *tmp_path.glob("roc*")]
    empty = tmp_path / "e.txt"
    empty.write_text("12345\n")
    done = uddm("evaluate", MEMORIZING, "--members", empty, "--heldout", texts / "heldout.txt", "--dry-run")
    assert done.exit_code == 3 and "no member can be measured" in done.output


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
        (["-o", "a.md", "--per-text"], "no summary"),
        (["-o", "csv=a.svg", "--roc", "a.svg"], "written twice"),
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
    (strange := tmp_path / "strange.txt").write_text("12345 67890\n")
    (short := tmp_path / "short.txt").write_text("a word or two\n")
    members = texts / "members.txt"
    for given, held, reason in (
        (strange, texts / "heldout.txt", "no member can be measured: '1' is not in the model's vocabulary"),
        (members, strange, "no held-out text can be measured: all were skipped"),
        (members, members, "of 6, 6 like a member"),
        (members, short, "of 1, 1 shorter than every member, the shortest of 2"),
    ):
        done = uddm("evaluate", MEMORIZING, "--members", given, "--heldout", held)
        assert done.exit_code == 3 and reason in done.stderr, done.stderr


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


def copied(folder, change=lambda weights: None, **config):
    """The memorizing example in a folder of its own, with other weights or another configuration."""
    shutil.copytree(MEMORIZING, folder)
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")
    known = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(known | config))
    return folder


def not_a_number_above(level):
    """Finite weights whose answers are NaN where more than this share of the tokens is noise."""

    def change(weights):
        slowest = math.exp(-math.log(10_000) * 47 / 48)
        weights["time_mlp.0.weight"][0] = 0
        weights["time_mlp.0.weight"][0, 95] = 1e30
        weights["time_mlp.0.bias"][0] = -1e30 * math.sin(LEVEL_SCALE * level * slowest)
        weights["time_mlp.2.weight"][:, 0] = 1e30

    return change


def laid_out(**more):
    return {"max_length": 32, "before": [], "after": [], "pad_id": None, "packed": False} | more


def test_answers_that_are_no_numbers_are_no_success(texts, tmp_path):
    # Basins reach up to a level of .75 and the evidence bound up to .97.
    late = copied(tmp_path / "late", not_a_number_above(0.9))
    heldout, members = texts / "heldout.txt", texts / "members.txt"
    done = uddm("evaluate", late, "--members", members, "--heldout", heldout, "--restarts", "1")
    assert done.exit_code == 3 and "none of the 6 members could be measured: the network's output" in done.stderr
    done = evaluate(texts, "--reference-model", copied(tmp_path / "low", not_a_number_above(0.02)))
    assert done.exit_code == 3 and "under the reference model: the network's output" in done.stderr


def test_a_text_without_a_score_is_left_out_and_told(texts, tmp_path, monkeypatch):
    from audit_cli.probes import membership

    sound = membership.nelbo_of

    def of_some(*arguments):
        out = sound(*arguments)
        out[0] = math.nan
        return out

    monkeypatch.setattr(membership, "nelbo_of", of_some)
    done = evaluate(texts, "-o", tmp_path / "o.csv")
    assert done.exit_code == 0, done.output
    counts = json.loads((tmp_path / "o.meta.json").read_text())["counts"]
    assert counts["skipped"] > 0 and counts["members"] + counts["heldout"] + counts["skipped"] == 20
    assert "skipped: the network's output is not a number" in done.stderr
    # The others keep all their scores.
    assert "elbo" in [row["score"] for row in rows(tmp_path / "o.csv")]


def test_texts_that_are_left_out_are_counted_on_both_sides(texts, tmp_path):
    lines = (texts / "heldout.txt").read_text().splitlines()
    (held := tmp_path / "held.txt").write_text("\n".join([*lines, lines[0], "12", "3 4"]) + "\n")
    members = texts / "members.txt"
    done = uddm("evaluate", MEMORIZING, "--members", members, "--heldout", held, "--restarts", "1")
    assert done.exit_code == 0 and "(1 duplicates, 2 skipped left out)" in done.stdout
    assert "2 held-out texts skipped" in done.stderr


def test_a_reference_model_is_given_the_same_rows_or_refused(texts, tmp_path):
    for name, layout in (("padded", laid_out(pad_id=0)), ("framed", laid_out(max_length=30, before=[0], after=[0]))):
        done = evaluate(texts, "--reference-model", copied(tmp_path / name, layout=layout))
        assert done.exit_code == 2 and "reference model" in done.stderr, done.output
    # One that takes longer rows takes these too.
    short = copied(tmp_path / "short", layout=laid_out(max_length=31))
    members, heldout = texts / "members.txt", texts / "heldout.txt"
    command = ["evaluate", short, "--members", members, "--heldout", heldout, "--restarts", "1"]
    done = uddm(*command, "--reference-model", EXAMPLES / "generalizing")
    assert done.exit_code == 0 and re.search("votes +[.1]", done.stdout), done.output


def test_a_picture_replaces_a_picture_of_ours_and_nothing_else(texts, tmp_path):
    picture, mine, read = tmp_path / "roc.svg", tmp_path / "mine.svg", tmp_path / "read.svg"
    assert evaluate(texts, "--roc", picture).exit_code == 0
    assert evaluate(texts, "--roc", picture).exit_code == 0
    mine.write_text("<svg>my own drawing</svg>")
    shutil.copy(picture, read)
    (tmp_path / "link.svg").symlink_to(picture)
    (tmp_path / "folder").mkdir()
    same = tmp_path / "folder" / ".." / "read.svg"
    for path, more in ((mine, []), (tmp_path / "link.svg", []), (same, ["--members", read, "--input-format", "txt"])):
        before = path.read_bytes()
        assert evaluate(texts, "--roc", path, *more).exit_code == 2
        assert path.read_bytes() == before


def test_without_the_cache_nothing_is_remembered(texts, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert evaluate(texts, "--no-cache").exit_code == 0
    assert not os.path.lexists(tmp_path / "cache")
