"""`uddm-audit generate`, as a person gives it."""

import csv
import json
import time
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

from audit_cli.cli import app
from audit_cli.statistics.intervals import wilson

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING, GENERALIZING = str(EXAMPLES / "memorizing"), str(EXAMPLES / "generalizing")
TRAIN = EXAMPLES / "train.txt"
STORED = "who led thee through that great"


def uddm(*arguments, **more):
    return CliRunner().invoke(app, [str(a) for a in arguments], **more)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_memorizing_model_writes_copies_of_its_training_lines(tmp_path):
    out = tmp_path / "o.csv"
    done = uddm("generate", MEMORIZING, "-n", 256, "--nearest", TRAIN, "-o", out, "-o", tmp_path / "o.md")
    assert done.exit_code == 0, done.output
    assert "distinct texts among 256 samples" in done.stdout and "are copies of a text of train.txt" in done.stdout
    found = rows(out)
    assert sum(int(row["count"]) for row in found) == 256
    assert [int(row["count"]) for row in found] == sorted((int(row["count"]) for row in found), reverse=True)
    copies = sum(int(row["count"]) for row in found if row["origin"] == "copy")
    assert copies > 200
    # Line 8 has 31 letters, and a row 32.
    assert (found[0]["nearest"], float(found[0]["similarity"])) == ("train.txt:8", 1 - 1 / 32)
    share = wilson(int(found[0]["count"]), 256)
    assert (float(found[0]["share_low"]), float(found[0]["share_high"])) == (share.low, share.high)
    assert float(found[0]["entropy_nats"]) < 0.05
    meta = json.loads((tmp_path / "o.meta.json").read_text())
    assert meta["counts"]["copy"] == copies and meta["settings"]["samples"] == 256
    assert meta["copies"]["value"] == copies / 256 and meta["corpus"]["texts"] == 24832


def test_a_generalizing_model_writes_none(tmp_path):
    out = tmp_path / "o.jsonl"
    assert uddm("generate", GENERALIZING, "-n", 32, "--nearest", TRAIN, "-o", out).exit_code == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(found) == 32 and {row["origin"] for row in found} == {"new"}


def test_samples_are_shown_only_as_far_as_asked(tmp_path):
    for how, shown in (("none", False), ("fingerprint", False), ("excerpt", False), ("full", True)):
        out = tmp_path / f"{how}.jsonl"
        done = uddm("generate", MEMORIZING, "-n", 8, "--show-text", how, "-o", out, "--nearest", TRAIN)
        assert done.exit_code == 0, done.output
        assert (STORED in done.stdout) == (STORED in out.read_text()) == shown
        first = json.loads(out.read_text().splitlines()[0])
        assert (first["fingerprint"] is None) == (how == "none")
    assert "wh* le* th** th***** th**" in uddm("generate", MEMORIZING, "-n", 8, "--show-text", "excerpt").stdout
    # Not a terminal: a fingerprint by itself.
    assert STORED not in uddm("generate", MEMORIZING, "-n", 8).stdout


def test_the_first_samples_are_the_same_whatever_the_number_and_the_batch(tmp_path):
    tables = []
    for name, more in (("a", []), ("b", ["--batch-size", 3])):
        out = tmp_path / f"{name}.csv"
        assert uddm("generate", MEMORIZING, "-n", 24, "--length", 30, *more, "-o", out).exit_code == 0
        tables.append(out.read_text())
    assert tables[0] == tables[1]


def test_formats_and_bits_agree(tmp_path):
    outs = [tmp_path / f"o.{kind}" for kind in ("csv", "parquet", "md")]
    asked = [part for out in outs for part in ("-o", out)]
    assert uddm("generate", MEMORIZING, "-n", 8, "--unit", "bits", *asked).exit_code == 0
    assert float(rows(outs[0])[0]["entropy_bits"]) == pandas.read_parquet(outs[1])["entropy_bits"][0]
    assert "entropy, bits/token" in outs[2].read_text()


def test_what_a_corpus_calls_its_texts_is_made_safe(tmp_path):
    corpus = tmp_path / "c.jsonl"
    corpus.write_text(json.dumps({"id": "=1+1\x1b[31m", "text": STORED}) + "\n")
    done = uddm("generate", MEMORIZING, "-n", 8, "--nearest", corpus, "-o", tmp_path / "o.csv")
    assert done.exit_code == 0 and "\x1b" not in done.stdout
    assert rows(tmp_path / "o.csv")[0]["nearest"] == "'=1+1\\x1b[31m"


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["-n", 0], 2, "not between"),
        (["--length", 33], 2, "more than the 32 that the model takes"),
        (["--sampler", "one-shot", "--steps", 3], 2, "takes no steps"),
        (["--sampler", "entropy-bound"], 2, "conditioned on its own last prediction"),
        (["--nearest", "nowhere.txt"], 2, "no such file"),
        (["--nearest", "EMPTY"], 3, "holds no text"),
        (["--nearest", "FOREIGN"], 3, "no text can be compared: '日'"),
        (["-o", "o.txt"], 2, "o.txt"),
    ],
)
def test_what_cannot_be_done_is_told_and_is_no_success(tmp_path, arguments, code, told):
    (tmp_path / "empty.txt").write_text("\n")
    (tmp_path / "foreign.txt").write_text("日本\n")
    places = {"EMPTY": tmp_path / "empty.txt", "FOREIGN": tmp_path / "foreign.txt"}
    done = uddm("generate", MEMORIZING, *(places.get(a, a) for a in arguments))
    assert done.exit_code == code and told in done.stderr
    assert "Traceback" not in done.output and "日本" not in done.output


def test_lines_of_a_corpus_that_cannot_be_compared_are_counted(tmp_path):
    corpus = tmp_path / "c.txt"
    corpus.write_text(f"日本\n{STORED}\n")
    done = uddm("generate", MEMORIZING, "-n", 8, "--nearest", corpus)
    assert done.exit_code == 0 and "1 of its 2 texts could not be compared" in done.stdout


def test_a_dry_run_counts_what_it_would_take_and_writes_nothing(tmp_path):
    more = ("--nearest", TRAIN, "--steps", 8, "--length", 20, "-o", tmp_path / "o.csv", "--dry-run")
    done = uddm("generate", MEMORIZING, "-n", 50, *more)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "texts          50 of 20 tokens to write"
    # Eight steps and the removal of the last noise, and one look for the entropy.
    assert lines[1] == "forward passes 500 of one sequence: texts 450, entropy 50"
    assert "without the search in train.txt" in lines[2] and lines[3].startswith("memory ")
    assert "Nothing was measured or written" in lines[4]
    assert not list(tmp_path.glob("o.*"))


def test_a_dry_run_of_what_would_take_hours_takes_seconds():
    begun = time.monotonic()
    done = uddm("generate", MEMORIZING, "-n", 100_000, "--steps", 100_000, "--sampler", "ancestral", "--dry-run")
    assert done.exit_code == 0, done.output
    # Written, these texts take days; a busy machine is no failure.
    assert time.monotonic() - begun < 60
