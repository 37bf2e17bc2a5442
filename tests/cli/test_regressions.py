"""What a newcomer and an attacker once found."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from audit_cli.checkpoints.tokenizer import load_tokenizer
from tests.cli.test_commands import MEMORIZING, QUICK, ROOT, uddm

TRAIN = ["--width", "16", "--layers", "1", "--heads", "2", "--length", "16", "--steps", "9", "--save-every", "4"]


@pytest.fixture
def model(tmp_path):
    shutil.copytree(MEMORIZING, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "own.txt"
    path.write_text("a plain line\nnumber 5\nanother line\na plain line\n")
    return path


def with_tokenizer(folder, **changes):
    file = folder / "tokenizer.json"
    data = json.loads(file.read_text()) | changes
    file.write_text(json.dumps(data))
    return file


@pytest.mark.parametrize("command", ["basins", "entropy"])
def test_without_heldout_text_a_skipped_row_is_the_one_that_says_so(command, text):
    options = QUICK if command == "basins" else []
    lines = uddm(command, MEMORIZING, text, *options).stdout.splitlines()
    rows = {line.split()[0]: line for line in lines if line.startswith(" own.txt:")}
    assert sorted(rows) == [f"own.txt:{i}" for i in range(1, 5)]
    assert {name for name, line in rows.items() if "skipped" in line} == {"own.txt:2"}
    assert "= own.txt:1" in rows["own.txt:4"]
    assert "2 measured, 1 duplicate, 1 skipped." in lines


def test_options_that_the_papers_protocol_would_ignore_are_refused(text):
    done = uddm("basins", MEMORIZING, text, "--protocol", "paper", "--steps", "20")
    assert done.exit_code == 2 and "leave these options out" in done.output


def test_a_traceback_does_not_change_the_exit_code(text):
    for arguments in (["nowhere", text], [MEMORIZING, text, "-o", "missing/x.csv"], ["x" * 300, text]):
        done = uddm("basins", *arguments, "-vv")
        assert done.exit_code == 2, done.output


@pytest.mark.parametrize(
    "changes",
    [
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "((a+)+)+!x"}, "content": ""}},
        {"normalizer": {"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
    ],
    ids=["a regular expression that gives up", "a map that does not parse"],
)
def test_a_tokenizer_that_panics_is_an_error_like_any_other(model, tmp_path, changes):
    with_tokenizer(model, **changes)
    (tmp_path / "a.txt").write_text("a" * 30 + "\n")
    done = uddm("basins", model, tmp_path / "a.txt", *QUICK)
    assert done.exit_code in (2, 3)
    assert "Traceback" not in done.output


def test_a_tokenizer_that_drops_characters_does_not_get_away_with_it(model, tmp_path):
    vocab = {c: i for i, c in enumerate("abcdefghijklmnopqrstuvwxyz ")}
    with_tokenizer(
        model, model={"type": "BPE", "vocab": vocab, "merges": [], "dropout": 0.5}, normalizer=None, pre_tokenizer=None
    )
    tokenizer = load_tokenizer(model)
    assert tokenizer.encode("let no man") == tuple(vocab[c] for c in "let no man")
    (tmp_path / "a.txt").write_text("LET NO MAN deceive\n")
    done = uddm("basins", model, tmp_path / "a.txt", *QUICK)
    assert done.exit_code == 3
    assert "'L' is not in the model's vocabulary" in done.output


def test_finite_weights_with_infinite_surprise_are_not_measured(model, text):
    tensors = load_file(model / "model.safetensors")
    tensors["head.bias"][:] = -3e38
    tensors["head.bias"][0] = 3e38
    save_file(tensors, model / "model.safetensors")
    done = uddm("entropy", model, text)
    assert done.exit_code == 3
    assert "Warning" not in done.output


def test_an_output_is_never_one_of_the_inputs_and_never_follows_a_link(text, tmp_path):
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"text": "a plain line"}\n')
    done = uddm("basins", MEMORIZING, lines, *QUICK, "-o", lines)
    assert done.exit_code == 2 and "one of the inputs" in done.output
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "z.csv.part").symlink_to(victim)
    (tmp_path / "z.meta.json").symlink_to(victim)
    assert uddm("basins", MEMORIZING, text, *QUICK, "-o", tmp_path / "z.csv").exit_code == 2
    (tmp_path / "z.meta.json").unlink()
    assert uddm("basins", MEMORIZING, text, *QUICK, "-o", tmp_path / "z.csv").exit_code == 2
    (tmp_path / "z.csv.part").unlink()
    assert uddm("basins", MEMORIZING, text, *QUICK, "-o", tmp_path / "z.csv").exit_code == 0
    assert victim.read_text() == "precious"
    (tmp_path / "r.per-level.csv").mkdir()
    done = uddm("basins", MEMORIZING, text, *QUICK, "-o", tmp_path / "r.csv", "--per-level")
    assert done.exit_code == 2 and not (tmp_path / "r.csv").exists()


def test_ids_cannot_smuggle_controls_or_formulas_into_a_csv(tmp_path):
    names = ["\x1b[31m\n\r\t@x", "\x07=1", "​=1", "　=1+1", "‮abc", "\0=1"]
    source = tmp_path / "c.jsonl"
    source.write_text(
        "".join(json.dumps({"id": n, "text": f"line {c}"}) + "\n" for n, c in zip(names, "abcdef", strict=True))
    )
    assert uddm("basins", MEMORIZING, source, *QUICK, "-o", tmp_path / "o.csv").exit_code == 0
    written = (tmp_path / "o.csv").read_text()
    assert all(c.isprintable() or c == "\n" for c in written)
    assert not [cell for line in written.splitlines() for cell in line.split('"') if cell.startswith(("=", "@"))]


def test_a_damaged_training_state_is_refused(tmp_path, text):
    (tmp_path / "t.txt").write_text("the cat\nsat on\n")
    folder = tmp_path / "run"
    interrupted = uddm("train", tmp_path / "t.txt", "-o", folder, *TRAIN)
    assert interrupted.exit_code == 0
    assert uddm("train", tmp_path / "t.txt", "-o", folder, *TRAIN, "--resume").exit_code == 2
    from audit_cli.cli import training

    original = training.train

    def stopped(*args):
        steps = original(*args)
        for progress in steps:
            if progress.step == 6:
                steps.close()
                return
            yield progress

    training.train = stopped
    try:
        uddm("train", tmp_path / "t.txt", "-o", folder, *TRAIN, "--overwrite")
    finally:
        training.train = original
    state = folder / "training.safetensors"
    tensors = load_file(state)
    with safe_open(state, framework="pt") as opened:
        metadata = opened.metadata()
    for broken, step in (
        ({k: torch.zeros(1) if "exp_avg" in k else v for k, v in tensors.items()}, "6"),
        (tensors, "-5"),
        (tensors, "999"),
    ):
        save_file(broken, state, metadata=metadata | {"step": step})
        done = uddm("train", tmp_path / "t.txt", "-o", folder, *TRAIN, "--resume")
        assert done.exit_code == 2 and "damaged" in done.output
    save_file(tensors, state, metadata=metadata)
    (tmp_path / "t.txt").write_text("the tac\nsat on\n")
    done = uddm("train", tmp_path / "t.txt", "-o", folder, *TRAIN, "--resume")
    assert done.exit_code == 2 and "another training text" in done.output


def test_a_text_far_longer_than_the_model_is_not_tokenized_whole(model, tmp_path):
    # Each letter becomes a thousand: a line of a megabyte would take gigabytes.
    with_tokenizer(model, normalizer={"type": "Replace", "pattern": {"String": "a"}, "content": "b" * 1000})
    (tmp_path / "a.txt").write_text("a" * 200_000 + "\n")
    done = uddm("basins", model, tmp_path / "a.txt", *QUICK)
    assert done.exit_code == 3
    assert "more than 262,144 tokens" in done.output


def test_an_error_that_nobody_can_be_told_of_is_still_no_finding(tmp_path):
    command = [sys.executable, "-c", "from audit_cli.cli import main; main()"]
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    with Path("/dev/full").open("w") as full:
        told = subprocess.run([*command, "basins", "nowhere", "x.txt"], stderr=full, cwd=ROOT)
        assert told.returncode == 2
        version = subprocess.run(
            [*command, "--version"], stdout=full, stderr=subprocess.DEVNULL, cwd=ROOT, env=os.environ
        )
        assert version.returncode != 1
