"""`uddm-audit convert`: what it prints, its exit codes, and audits of what it writes."""

import errno
import json
import os
import re

import pytest
import torch

from audit_cli.checkpoints import load_model
from tests.checkpoints.lightning_files import checkpoint
from tests.checkpoints.test_sumi import folder_of
from tests.cli.test_commands import MEMORIZING, uddm
from tests.cli.test_families import LIGHTNING, ORACLES, unwrapped


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_it_says_what_was_written_and_what_to_do_next(out):
    done = uddm("convert", LIGHTNING, "-o", out)
    assert done.exit_code == 0, done.output
    assert f"wrote {out}, duo with the dit backbone" in done.stdout
    for file in ("config.json", "model.safetensors", "ema.safetensors", "tokenizer.json"):
        assert re.search(rf"^  {file} +{(out / file).stat().st_size:,} bytes$", done.stdout, re.MULTILINE)
    assert "parameters  40,761\n" in done.stdout
    sha256 = load_model(LIGHTNING).info.weights_sha256
    assert f"weights     ema and raw; by default ema, sha256 {sha256}\n" in done.stdout
    assert f"next: uddm-audit inspect {out}\n" in done.stderr


def test_quiet_says_nothing(out):
    done = uddm("convert", LIGHTNING, "-o", out, "-q")
    assert (done.exit_code, done.output) == (0, "")
    assert load_model(out).info.family == "duo"


def test_one_set_of_weights_and_a_tokenizer_can_be_named(out):
    tokenizer = ORACLES / "duo" / "tokenizer"
    done = uddm("convert", LIGHTNING, "-o", out, "--weights", "raw", "--tokenizer", tokenizer)
    assert done.exit_code == 0, done.output
    assert "weights     raw, sha256" in done.stdout
    assert not (out / "ema.safetensors").exists()


def test_a_model_without_a_tokenizer_is_told_so(out):
    done = uddm("convert", ORACLES / "gidd", "-o", out)
    assert done.exit_code == 0, done.output
    assert "no tokenizer: audits take input_ids" in done.stderr
    assert "tokenizer.json" not in done.stdout


def test_a_checkpoint_is_replaced_only_where_that_is_said(out):
    assert uddm("convert", LIGHTNING, "-o", out).exit_code == 0
    done = uddm("convert", ORACLES / "gidd", "-o", out)
    assert done.exit_code == 2
    assert "holds a checkpoint; --overwrite replaces it" in unwrapped(done.stderr)
    assert uddm("convert", ORACLES / "gidd", "-o", out, "--overwrite").exit_code == 0
    assert load_model(out).info.family == "gidd"


def test_a_folder_of_other_things_is_never_written_into(out):
    out.mkdir()
    (out / "thesis.tex").write_text("years")
    done = uddm("convert", LIGHTNING, "-o", out, "--overwrite")
    assert done.exit_code == 2
    assert "thesis.tex: is there and not of a checkpoint of uddm-audit; move it away" in unwrapped(done.stderr)
    assert [file.name for file in out.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (MEMORIZING, "already native: there is nothing to convert"),
        ("nothing-here", "no such file or folder"),
        (ORACLES / "duo" / "tokenizer", "no config.json, so no checkpoint"),
    ],
)
def test_what_cannot_be_converted_is_one_sentence(out, model, message):
    done = uddm("convert", model, "-o", out)
    assert done.exit_code == 2
    assert message in unwrapped(done.stderr)
    assert not out.exists()


def test_a_masked_model_cannot_be_converted(out, tmp_path):
    folder = tmp_path / "masked"
    folder.mkdir()
    config = json.loads((ORACLES / "gidd" / "config.json").read_text()) | {"noise_type": -1000.0}
    (folder / "config.json").write_text(json.dumps(config))
    refused, inspected = uddm("convert", folder, "-o", out), uddm("inspect", folder)
    assert refused.exit_code == inspected.exit_code == 2
    assert "is a masked diffusion model" in unwrapped(refused.stderr)


def test_weights_that_are_no_numbers_are_not_auditable(out, tmp_path):
    content = checkpoint()
    content["state_dict"]["backbone.output_layer.linear.bias"][3] = float("nan")
    torch.save(content, tmp_path / "a.ckpt")
    done = uddm("convert", tmp_path / "a.ckpt", "-o", out)
    assert done.exit_code == 3
    assert "--weights ema converts the moving average alone" in unwrapped(done.stderr)
    assert not out.exists()
    assert uddm("convert", tmp_path / "a.ckpt", "-o", out, "--weights", "ema").exit_code == 0


def test_the_folder_must_be_named():
    done = uddm("convert", LIGHTNING)
    assert done.exit_code == 2
    assert "--output" in done.stderr


def test_a_full_disk_is_told_and_leaves_nothing(out, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("audit_cli.checkpoints.whole_files.os.fsync", full)
    done = uddm("convert", LIGHTNING, "-o", out)
    assert done.exit_code == 3
    assert done.stderr.endswith(f"{out}: disk full; nothing was written\n")
    assert not out.exists()


def rows_of(table):
    return [json.loads(line) for line in table.read_text().splitlines()]


@pytest.mark.parametrize("family", ["lightning", "udlm", "gidd", "sumi"])
def test_audits_of_the_new_folder_measure_the_same(out, tmp_path, family):
    model = {"lightning": LIGHTNING, "sumi": folder_of(tmp_path)}.get(family, ORACLES / family)
    assert uddm("convert", model, "-o", out).exit_code == 0
    found = []
    for folder in (model, out):
        done = uddm("inspect", folder)
        assert done.exit_code == 0, done.output
        told = re.sub(r"^(checkpoint|parameters|vocabulary) .*\n", "", done.stdout, flags=re.MULTILINE)
        found.append(re.sub(r"\n {5,}.*", "", told))
    assert found[0] == found[1]
    texts = tmp_path / "t.jsonl"
    rows = [{"input_ids": [5, 6, 7, 8, 9, 10]}, {"text": "the cat sat"}]
    texts.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for command, options in (("entropy", []), ("basins", ["--levels", ".25,.5", "--restarts", "8", "--steps", "8"])):
        tables = []
        for name, folder in (("original", model), ("converted", out)):
            tables.append(tmp_path / f"{command}-{name}.jsonl")
            done = uddm(command, folder, texts, *options, "-o", tables[-1])
            assert done.exit_code == 0, done.output
        original, converted = map(rows_of, tables)
        assert [{**row, "settings_id": ""} for row in original] == [{**row, "settings_id": ""} for row in converted]
        assert original[0]["status"] == "measured"
