import csv
import json
import os
import re
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.cli import app, training
from audit_cli.training import TrainingError, make_rows, manifest, manifest_path

LINES = ["The cat sat.", "On the mat!", "A dog ate it.", "The cat sat.", "Two birds sang"]
UNSEEN = ["a mat ate the dog", "the cat sat", "birds"]
SMALL = ["--width", "16", "--layers", "1", "--heads", "2", "--steps", "12", "--length", "16"]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def uddm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def trained(text, model, *options):
    done = uddm("train", text, "-o", model, *SMALL, *options)
    assert done.exit_code == 0, done.output
    return read(model)


def read(model):
    header, *entries = map(json.loads, Path(f"{model}.manifest.jsonl").read_text().splitlines())
    return header, entries


def fingerprints_of_an_audit(model, lines, tmp_path):
    """By fingerprint the text, of an audit of these lines."""
    (tmp_path / "audited.txt").write_text("\n".join(lines) + "\n")
    done = uddm("entropy", model, tmp_path / "audited.txt", "-o", tmp_path / "a.csv", "--show-text", "full")
    assert done.exit_code == 0, done.output
    with (tmp_path / "a.csv").open(newline="") as file:
        return {row["fingerprint"]: row["text"] for row in csv.DictReader(file)}


@pytest.mark.parametrize("normalize", ["none", "letters"])
def test_an_audit_joined_with_the_manifest_gives_exactly_the_trained_texts(text, tmp_path, normalize):
    # "the cat sat" is what --normalize letters makes of a trained line: still it is another text.
    _, entries = trained(text, tmp_path / "model", "--normalize", normalize, "--limit", "4")
    known = {"The cat sat.", "On the mat!", "A dog ate it."}
    audited = [*UNSEEN, *LINES] if normalize == "letters" else [*UNSEEN[:2], *LINES]
    found = fingerprints_of_an_audit(tmp_path / "model", audited, tmp_path)
    assert {found[entry["fingerprint"]] for entry in entries} == known
    assert len(found) == len(set(audited))


def test_a_distinct_text_is_a_line_with_its_first_place_and_its_count(text, tmp_path):
    header, entries = trained(text, tmp_path / "model", "--skip", "0")
    assert [(e["source"], e["line"], e["count"]) for e in entries] == [
        ("train.txt", 1, 2),
        ("train.txt", 2, 1),
        ("train.txt", 3, 1),
        ("train.txt", 5, 1),
    ]
    assert [e["trained_tokens"] for e in entries] == [len(LINES[i]) for i in (0, 1, 2, 4)]
    assert (header["lines"], header["rows"], header["distinct"], header["steps_done"]) == (5, 5, 4, 12)
    assert header["settings"]["length"] == 16
    assert header["fingerprints"]["function"] == "HMAC-SHA-256"


def test_the_manifest_names_the_weights_and_the_tokenizer_that_audits_name(text, tmp_path):
    header, _ = trained(text, tmp_path / "model", "--ema", ".9")
    for kind in ("raw", "ema"):
        info = load_model(tmp_path / "model", kind).info
        assert header["weights_sha256"][kind] == info.weights_sha256
        assert header["tokenizer_sha256"] == info.tokenizer_sha256


def test_no_text_is_in_it_and_it_is_its_owners_alone_and_outside_the_checkpoint(text, tmp_path):
    trained(text, tmp_path / "model")
    path = tmp_path / "model.manifest.jsonl"
    words = set(re.findall(r"\w{3,}", " ".join(LINES))) - {"the", "The"}
    assert not [word for word in words if re.search(rf"\b{word}\b", path.read_text())]
    assert path.stat().st_mode & 0o777 == 0o600
    assert {file.name for file in (tmp_path / "model").iterdir()} == {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    }
    assert {file.name for file in tmp_path.iterdir()} - {"config"} == {"train.txt", "model", path.name}


def test_another_key_gives_other_fingerprints(text, tmp_path, monkeypatch):
    prints = []
    for key in ("one", "two", "one"):
        monkeypatch.setenv("UDDM_AUDIT_KEY", key)
        prints.append([e["fingerprint"] for e in trained(text, tmp_path / "model", "--overwrite")[1]])
    assert prints[0] == prints[2] != prints[1]


def test_without_a_manifest_there_is_none_and_an_old_one_is_told_of(text, tmp_path):
    assert uddm("train", text, "-o", tmp_path / "model", *SMALL, "--no-manifest").exit_code == 0
    path = tmp_path / "model.manifest.jsonl"
    assert not path.exists()
    trained(text, tmp_path / "model", "--overwrite")
    before = path.read_bytes()
    done = uddm("train", text, "-o", tmp_path / "model", *SMALL, "--no-manifest", "--overwrite", "--seed", "1")
    assert (done.exit_code, path.read_bytes()) == (0, before)
    assert re.search(r"manifest\.jsonl\s+is of an earlier checkpoint", done.output)


def test_a_manifest_is_replaced_only_where_that_was_asked_for(text, tmp_path):
    trained(text, tmp_path / "old")
    path = tmp_path / "model.manifest.jsonl"
    (tmp_path / "old.manifest.jsonl").rename(path)
    done = uddm("train", text, "-o", tmp_path / "model", *SMALL)
    assert (done.exit_code, "--overwrite" in done.output) == (2, True)
    header, _ = trained(text, tmp_path / "model", "--overwrite", "--seed", "7")
    assert header["settings"]["seed"] == 7


@pytest.mark.parametrize("what", ["a file", "a link", "a folder"])
def test_what_is_no_manifest_is_never_replaced(text, tmp_path, what):
    path = tmp_path / "model.manifest.jsonl"
    if what == "a folder":
        path.mkdir()
    elif what == "a link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.write_text("precious")
    done = uddm("train", text, "-o", tmp_path / "model", *SMALL, "--overwrite")
    assert (done.exit_code, "is no manifest" in done.output) == (2, True)
    assert not (tmp_path / "model" / "config.json").exists()
    assert uddm("train", text, "-o", tmp_path / "model", *SMALL, "--no-manifest").exit_code == 0


def test_a_run_that_was_resumed_writes_the_manifest_of_a_run_that_was_not(text, tmp_path, monkeypatch):
    trained(text, tmp_path / "whole")
    steps = training.train
    with monkeypatch.context() as patch:
        patch.setattr(training, "train", lambda *arguments: Interrupted(steps(*arguments)))
        done = uddm("train", text, "-o", tmp_path / "broken", *SMALL)
    assert done.exit_code == 130
    header, entries = read(tmp_path / "broken")
    assert header["steps_done"] == 5
    assert header["weights_sha256"]["raw"] == load_model(tmp_path / "broken").info.weights_sha256
    trained(text, tmp_path / "broken", "--resume")
    assert read(tmp_path / "broken") == read(tmp_path / "whole")
    assert read(tmp_path / "broken")[1] == entries


class Interrupted:
    """Training in which Ctrl-C is pressed during the fifth step."""

    def __init__(self, steps):
        self.steps = steps
        self.close = steps.close

    def __iter__(self):
        for progress in self.steps:
            if progress.step == 5:
                signal.raise_signal(signal.SIGINT)
            yield progress


def test_a_resume_that_is_refused_leaves_the_manifest_alone(text, tmp_path):
    trained(text, tmp_path / "model")
    before = (tmp_path / "model.manifest.jsonl").read_bytes()
    assert uddm("train", text, "-o", tmp_path / "model", *SMALL, "--resume", "--seed", "3").exit_code == 2
    assert (tmp_path / "model.manifest.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("rows", "expected"),
    # "abc" fits, "abcdefgh" loses its end, "ab?" is no text of this tokenizer, "" has no tokens.
    [("cut", [3, 0, 5, 0, 3]), ("pad", [3, 0, 5, 0, 3])],
)
def test_of_every_line_it_is_known_how_much_of_it_is_trained_on(rows, expected):
    tokenizer = train_tokenizer("char", ["abcdefgh"], rows, "none")
    assert make_rows(["abc", "", "abcdefgh", "ab?", "cab"], tokenizer, 5, rows).trained.tolist() == expected


@pytest.mark.parametrize("length", range(2, 17))
def test_of_packed_lines_what_is_no_full_row_is_not_trained_on(length):
    # Each line has a letter of its own: the rows themselves tell how much of each is in them.
    lines = ["aaa", "", "bbbbbbbb", "c?", "ddd", "e"]
    tokenizer = train_tokenizer("char", ["abcde"], "pack", "none")
    rows = make_rows(lines, tokenizer, length, "pack")
    counts = [int((rows.tokens == tokenizer.id_of(letter)).sum()) for letter in "abde"]
    assert rows.trained.tolist() == [counts[0], 0, counts[1], 0, *counts[2:]]


def test_a_line_that_is_not_trained_on_is_not_in_the_manifest(tmp_path):
    (tmp_path / "train.txt").write_text("abcd\nabcdabcd\nzz\n")
    tokenizer = train_tokenizer("char", ["abcd"], "pack", "none")
    (tmp_path / "tokenizer.json").write_text(tokenizer.to_json())
    options = ["--tokenizer", tmp_path / "tokenizer.json", "--rows", "pack", "--length", "5"]
    header, entries = trained(tmp_path / "train.txt", tmp_path / "model", *options)
    # 4 tokens and a separator, then the first 5 of 9: what is left makes no row, and "zz" has no tokens.
    assert [(e["line"], e["trained_tokens"]) for e in entries] == [(1, 4), (2, 5)]
    assert (header["lines"], header["rows"], header["distinct"]) == (3, 2, 2)


@pytest.mark.parametrize(
    ("folder", "expected"),
    [("model", "model.manifest.jsonl"), ("a/model/", "a/model.manifest.jsonl"), ("v1.5", "v1.5.manifest.jsonl")],
)
def test_the_manifest_is_beside_the_folder(folder, expected):
    assert manifest_path(Path(folder)) == Path(expected)


def test_the_manifest_of_this_folder_is_beside_it_too(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path / "inner")
    assert manifest_path(Path()) == tmp_path / "inner.manifest.jsonl"
    assert manifest_path(Path("..")) == tmp_path.with_name(tmp_path.name + ".manifest.jsonl")
    with pytest.raises(TrainingError, match="beside"):
        manifest_path(Path("/"))


def test_a_disk_that_is_full_is_told_and_leaves_the_old_manifest(text, tmp_path, monkeypatch):
    trained(text, tmp_path / "model")
    before = (tmp_path / "model.manifest.jsonl").read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    # The manifest's alone: the checkpoint comes first and is on the disk.
    monkeypatch.setattr(manifest, "os", SimpleNamespace(**(vars(os) | {"fsync": full})))
    done = uddm("train", text, "-o", tmp_path / "model", *SMALL, "--overwrite")
    assert (done.exit_code, "the checkpoint is saved, its manifest is not" in " ".join(done.output.split())) == (
        2,
        True,
    )
    assert (tmp_path / "model.manifest.jsonl").read_bytes() == before
    assert not list(tmp_path.glob(".uddm-audit*"))
