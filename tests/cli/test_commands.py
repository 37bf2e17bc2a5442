import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_cli.cli import app

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
MEMORIZING, GENERALIZING = str(EXAMPLES / "memorizing"), str(EXAMPLES / "generalizing")
HELDOUT = str(EXAMPLES / "heldout.txt")
QUICK = ["--levels", ".1,.25", "--restarts", "8"]


@pytest.fixture
def lines(tmp_path):
    """A file of candidates: one training line of the memorizing example, one unseen line of the same kind."""
    trained, unseen = (EXAMPLES / "train.txt").read_text().splitlines()[:5001:5000]
    path = tmp_path / "leaked.txt"
    path.write_text(f"{trained}\n{unseen}\n")
    return path


@pytest.fixture
def some_heldout(tmp_path):
    path = tmp_path / "heldout.txt"
    path.write_text("\n".join(Path(HELDOUT).read_text().splitlines()[:120]) + "\n")
    return str(path)


def uddm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_basins_prints_verdicts_counts_and_heldout_lines(lines, some_heldout):
    done = uddm("basins", MEMORIZING, lines, "--heldout", some_heldout, *QUICK)
    assert done.exit_code == 0, done.output
    assert "leave-one-out law (confirmed)" in done.stdout
    assert re.search(r"leaked\.txt:1 .* MEMORIZED", done.stdout)
    assert re.search(r"leaked\.txt:2 .* no evidence", done.stdout)
    assert "held-out, best 1 in 100" in done.stdout
    assert "1 memorized, 1 no evidence." in done.stdout


def test_without_a_terminal_no_text_is_shown(lines, some_heldout, tmp_path):
    text = lines.read_text()
    words = set(re.findall(r"[A-Za-z]{5,}", text))
    outputs = ["-o", tmp_path / "a.csv", "-o", tmp_path / "a.jsonl"]
    done = uddm("basins", MEMORIZING, lines, "--heldout", some_heldout, *QUICK, *outputs)
    written = "".join(p.read_text() for p in tmp_path.glob("a.*"))
    assert done.exit_code == 0
    assert not [w for w in words if w in done.stdout + done.stderr + written]


def test_the_text_is_written_where_it_is_asked_for(lines, tmp_path):
    done = uddm("basins", MEMORIZING, lines, *QUICK, "--show-text", "full", "-o", tmp_path / "a.jsonl")
    assert done.exit_code == 0
    rows = [json.loads(line) for line in (tmp_path / "a.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == lines.read_text().splitlines()


RESTARTS_FOR = ", ".join(f"restarts_for_{name}{end}" for name in ("half", "90pct") for end in ("", "_low", "_high"))
BASINS_COLUMNS = (
    "schema, settings_id, source, line, id, fingerprint, duplicate_of, windows, window_offset, tokens, status, "
    "skip_reason, verdict, verdict_reason, recipe, score, p_value, p_value_upper95, q_value, references, "
    "comparability, returns_at_level, returned_share, returned_low, returned_high, basin, basin_low, basin_high, "
    "basin_censored, curve_area, surprise_nats, longest_recovered_run, edit_similarity_mean, edit_similarity_best, "
    f"exact_share, exact_low, exact_high, {RESTARTS_FOR}, nfe, text"
)
LEVEL_COLUMNS = (
    "settings_id, fingerprint, id, level, t, restarts, corrupted_tokens, returned, returned_low, returned_high, "
    f"exact, exact_low, exact_high, {RESTARTS_FOR}, recovery_rate, recovery_low, recovery_high, unstable_rate, "
    "unstable_low, unstable_high, argmax_recovery_rate, interval_method"
)
ENTROPY_COLUMNS = (
    BASINS_COLUMNS.split(", returns_at_level")[0]
    + ", origin, context, law, t, draws, entropy_nats, entropy_sd_draws, entropy_max_nats, surprise_nats, "
    "surprise_max_nats, surprise_rms_nats, margin_mean, vanishing_share, vanishing_below_nats, longest_sure_run, text"
)
TOKEN_COLUMNS = (
    "settings_id, fingerprint, id, position, t, entropy_nats, surprise_nats, rank, margin, top_probability, token, "
    "top_token"
)


def read(path):
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return rows, list(rows[0])


def test_the_columns_of_the_tables(lines, some_heldout, tmp_path):
    out = tmp_path / "out.csv"
    assert uddm("basins", MEMORIZING, lines, *QUICK, "-o", out, "--per-level").exit_code == 0
    rows, columns = read(out)
    assert columns == BASINS_COLUMNS.split(", ")
    assert rows[0]["p_value"] == "" and rows[0]["verdict"] == ""
    levels, columns = read(tmp_path / "out.per-level.csv")
    assert columns == LEVEL_COLUMNS.split(", ")
    assert [float(row["level"]) for row in levels] == [0.1, 0.25, 0.1, 0.25]
    out = tmp_path / "entropy.csv"
    assert uddm("entropy", MEMORIZING, lines, "--heldout", some_heldout, "-o", out, "--per-token").exit_code == 0
    rows, columns = read(out)
    assert columns == ENTROPY_COLUMNS.split(", ")
    tokens, columns = read(tmp_path / "entropy.per-token.csv")
    assert columns == TOKEN_COLUMNS.split(", ")
    assert len(tokens) == sum(int(row["tokens"]) for row in rows)
    assert {row["token"] for row in tokens} == {""}
    meta = json.loads((tmp_path / "entropy.meta.json").read_text())
    assert meta["settings_id"] == rows[0]["settings_id"]
    assert len(meta["model"]["weights_sha256"]) == 64
    assert (meta["device"], meta["precision"], meta["backend"]) == ("cpu", "float32", "chunked")


def test_bits_are_nats_by_log_two(lines, tmp_path):
    for unit in ("nats", "bits"):
        assert uddm("entropy", MEMORIZING, lines, "--unit", unit, "-o", tmp_path / f"{unit}.csv").exit_code == 0
    nats, bits = read(tmp_path / "nats.csv")[0], read(tmp_path / "bits.csv")[0]
    assert "entropy_nats" not in bits[0]
    for a, b in zip(nats, bits, strict=True):
        assert float(b["entropy_bits"]) == pytest.approx(float(a["entropy_nats"]) / 0.6931471805599453)


def test_entropy_without_a_file_judges_the_model(tmp_path):
    done = uddm("entropy", MEMORIZING, "--samples", "64", "-o", tmp_path / "s.csv")
    assert done.exit_code == 0
    assert " MEMORIZING\n" in done.stdout
    assert "distinct texts among 64 samples" in done.stdout
    rows, _ = read(tmp_path / "s.csv")
    assert len(rows) == 64 and {row["origin"] for row in rows} == {"generated"}


def test_inspect_says_what_a_checkpoint_is():
    done = uddm("inspect", GENERALIZING)
    assert done.exit_code == 0
    for words in ("native, additive", "27 tokens", "log-linear", "law check confirmed", "sha256"):
        assert words in done.stdout


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"\xff\xfe\x00", "not valid UTF-8"),
        (b"a 4111 1111", "'4' is not in the model's vocabulary"),
        (b"\x1b[31mred\x1b[0m", "'\\x1b' is not in the model's vocabulary"),
        (b"x" * (1 + (1 << 18)), "262,145 characters, and one text may have 262,144"),
        (b"!!!", "the text has no tokens"),
        ("日本".encode(), "'日' is not in the model's vocabulary"),
    ],
)
def test_a_line_that_cannot_be_scored_is_skipped_and_explained(tmp_path, content, reason):
    path = tmp_path / "bad.txt"
    path.write_bytes(b"a plain line\n" + content + b"\n")
    done = uddm("basins", MEMORIZING, path, *QUICK)
    assert done.exit_code == 0
    assert reason in done.stdout
    assert "bad.txt:2" in done.stdout
    assert "1 measured, 1 skipped." in done.stdout
    assert uddm("basins", MEMORIZING, path, *QUICK, "--strict").exit_code == 3


def test_markup_and_controls_in_names_reach_no_terminal(tmp_path):
    path = tmp_path / "[bold]x\x1b[2J[nope].txt"
    path.write_text("[red]the lord[/red]\n")
    done = uddm("basins", MEMORIZING, path, *QUICK, "--show-text", "full")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert "[bold]x\\x1b[2J[nope].txt:1" in done.stdout
    assert "[red]the lord[/red]" in done.stdout


@pytest.mark.parametrize("command", ["basins", "entropy"])
@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["nowhere", "x.txt"], 2, "nowhere: no such file or folder"),
        ([MEMORIZING, "missing.txt"], 2, "missing.txt: no such file"),
        ([MEMORIZING, str(EXAMPLES)], 2, "not a regular file"),
        ([str(EXAMPLES), "x.txt"], 2, "no config.json"),
        ([MEMORIZING, str(EXAMPLES / "demo.sh")], 2, "unknown kind of file"),
        ([MEMORIZING, "x.txt", "--heldout", "missing.txt"], 2, "missing.txt: no such file"),
        ([MEMORIZING, "x.txt", "--fail-on", "familiar"], 2, "--fail-on needs"),
        ([MEMORIZING, "x.txt", "-o", "out.docx"], 2, "unknown kind of output"),
        ([MEMORIZING, "x.txt", "-o", "no/such/folder.csv"], 2, "does not exist"),
        ([MEMORIZING, "x.txt", "--device", "warp"], 2, "--device warp"),
        ([MEMORIZING, "x.txt", "--device", "cuda:77"], 2, "--device cuda:77"),
        ([MEMORIZING, "x.txt", "--backend", "fused"], 2, "--backend fused: fused kernels run on CUDA and ROCm devices"),
        ([MEMORIZING, "empty.txt"], 3, "no candidates"),
        ([MEMORIZING, "blank.txt"], 3, "no candidates"),
        ([MEMORIZING, "junk.txt"], 3, ""),
        ([MEMORIZING, "x.txt", "--weights", "ema"], 2, "no EMA weights"),
        ([MEMORIZING, "x.txt", "--nonsense"], 2, "No such option"),
        ([MEMORIZING, "x.txt", "--fdr", "2"], 2, "--fdr"),
    ],
)
def test_every_mistake_has_one_message_and_its_exit_code(tmp_path, monkeypatch, command, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    Path("x.txt").write_text("a line\n")
    Path("empty.txt").write_text("")
    Path("blank.txt").write_text("\n \n\n")
    Path("junk.txt").write_bytes(b"\xff\n\xfe\n")
    done = uddm(command, *arguments)
    assert done.exit_code == code, done.output
    assert message in done.output
    assert "Traceback" not in done.output


@pytest.mark.parametrize("levels", ["", "x", "0", "1.5", ".1,-1", "nan"])
def test_wrong_levels_are_refused(lines, levels):
    done = uddm("basins", MEMORIZING, lines, "--levels", levels)
    assert done.exit_code == 2
    assert "level" in done.output.lower() or "number" in done.output


def test_weights_that_are_no_numbers_are_exit_3(tmp_path, lines):
    import torch
    from safetensors.torch import load_file, save_file

    shutil.copytree(MEMORIZING, tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "model.safetensors")
    tensors["norm.weight"][0] = torch.nan
    save_file(tensors, tmp_path / "model" / "model.safetensors")
    done = uddm("basins", tmp_path / "model", lines)
    assert done.exit_code == 3
    assert "NaN or infinity" in done.output


def test_the_exit_code_of_a_gate(lines, some_heldout, tmp_path):
    gate = ["basins", MEMORIZING, lines, "--heldout", some_heldout, *QUICK, "--fail-on", "memorized"]
    assert uddm(*gate).exit_code == 1
    assert uddm(*gate, "--exit-zero").exit_code == 0
    clean = tmp_path / "clean.txt"
    clean.write_text(lines.read_text().splitlines()[1] + "\n")
    assert uddm("basins", MEMORIZING, clean, *gate[3:]).exit_code == 0
    few = tmp_path / "few.txt"
    few.write_text("\n".join(Path(HELDOUT).read_text().splitlines()[:3]) + "\n")
    done = uddm("basins", MEMORIZING, lines, "--heldout", few, *QUICK, "--fail-on", "memorized")
    assert done.exit_code == 4
    assert "too few" in done.stdout
    assert uddm("entropy", MEMORIZING, lines, "--heldout", some_heldout, "--fail-on", "familiar").exit_code == 1
    assert uddm("entropy", MEMORIZING, lines, "--heldout", some_heldout, "--fail-on", "memorized").exit_code == 2


def test_train_makes_a_checkpoint_that_the_other_commands_take(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("The cat sat.\nOn the mat!\nA dog ate it.\n" * 3)
    model = tmp_path / "model"
    small = ["--width", "16", "--layers", "1", "--heads", "2", "--steps", "20", "--length", "16"]
    done = uddm("train", text, "-o", model, *small, "--normalize", "letters")
    assert done.exit_code == 0, done.output
    assert "9 lines, 9 rows of up to 16 tokens" in done.output
    assert uddm("inspect", model).exit_code == 0
    assert uddm("basins", model, text, *QUICK).exit_code == 0
    again = uddm("train", text, "-o", model, *small)
    assert (again.exit_code, "--overwrite" in again.output) == (2, True)
    assert uddm("train", text, "-o", model, *small, "--overwrite", "--rows", "pad", "--ema", ".9").exit_code == 0
    padded = uddm("basins", model, text, *QUICK)
    assert padded.exit_code == 0
    assert "ema weights" in padded.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--heads", "5"], "heads"),
        (["--tokenizer", "bpe:3"], "vocabulary"),
        (["--tokenizer", "nope.json"], "no such tokenizer"),
        (["--skip", "99"], "too few characters"),
        (["--learning-rate", "1e30", "--clip", "1e30"], "not a number"),
        (["--resume"], "nothing to resume"),
    ],
)
def test_training_mistakes_are_told(tmp_path, options, message):
    text = tmp_path / "text.txt"
    text.write_text("abc\n")
    done = uddm("train", text, "-o", tmp_path / "model", "--width", "16", "--steps", "5", *options)
    assert done.exit_code == 2
    assert message in done.output
    assert "Traceback" not in done.output


def test_an_output_of_an_earlier_run_is_replaced_whole_and_nothing_else_is(lines, tmp_path):
    target = tmp_path / "target.csv"
    target.write_text("precious")
    (tmp_path / "link.csv").symlink_to(target)
    for name in ("link.csv", "target.csv"):
        assert uddm("basins", MEMORIZING, lines, *QUICK, "-o", tmp_path / name).exit_code == 2
    assert target.read_text() == "precious"
    out = tmp_path / "out.csv"
    assert uddm("basins", MEMORIZING, lines, *QUICK, "-o", out).exit_code == 0
    out.write_text("of an earlier run")
    assert uddm("basins", MEMORIZING, lines, *QUICK, "-o", out).exit_code == 0
    assert read(out)[1][0] == "schema"
    assert out.stat().st_mode & 0o777 == 0o600
    assert not list(tmp_path.glob("*.part"))


def test_fingerprints_are_keyed_and_the_key_is_private(lines, tmp_path, monkeypatch):
    def fingerprints(**environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        assert uddm("basins", MEMORIZING, lines, *QUICK, "-o", tmp_path / "f.csv").exit_code == 0
        return [row["fingerprint"] for row in read(tmp_path / "f.csv")[0]]

    first = fingerprints()
    assert fingerprints() == first
    key = tmp_path / "config" / "uddm-audit" / "fingerprint.key"
    assert key.stat().st_mode & 0o777 == 0o600
    assert key.read_text().strip() not in (tmp_path / "f.meta.json").read_text()
    assert fingerprints(UDDM_AUDIT_KEY="another") != first


def spawn(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, "-c", "from audit_cli.cli import main; main()", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | options,
        # A test suite in the background may have been started with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_ctrl_c_is_one_line_and_130(tmp_path):
    out = tmp_path / "o.csv"
    audit = spawn("basins", MEMORIZING, EXAMPLES / "train.txt", "--limit", "20000", "-o", out)
    time.sleep(6)
    audit.send_signal(signal.SIGINT)
    _, errors = audit.communicate(timeout=60)
    assert audit.returncode == 130
    assert "stopped" in errors and "Traceback" not in errors
    assert not out.exists()


def test_a_closed_pipe_is_not_a_finding(lines):
    audit = spawn("basins", MEMORIZING, lines, *QUICK)
    audit.stdout.close()
    audit.wait(timeout=120)
    assert audit.returncode != 1
    assert "Traceback" not in audit.stderr.read()


def test_an_unforeseen_error_is_one_line_and_its_traceback_is_there_for_who_asks(lines, monkeypatch):
    def broken(*args, **options):
        raise RuntimeError(lines.read_text())  # an error that quotes a text

    monkeypatch.setattr("audit_cli.audits.basins_audit", broken)
    done = uddm("basins", MEMORIZING, lines)
    assert done.exit_code == 3
    assert "unforeseen RuntimeError" in done.output
    assert "devil said" not in done.output
    told = uddm("basins", MEMORIZING, lines, "-vv")
    assert "in broken" in told.output and "devil said" not in told.output
    assert "devil said" in uddm("basins", MEMORIZING, lines, "-vv", "--show-text", "full").output
