"""`uddm-audit extract` and `basins --pattern`, as a person gives them."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_cli.cli import app

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING = str(EXAMPLES / "memorizing")
KNOWN = "Son of man, write thee the name"
QUICK = ["--slot", "Son of man, {} thee the name", "--restarts", "16"]


def uddm(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def secrets(tmp_path):
    path = tmp_path / "secrets.txt"
    path.write_text(f"{KNOWN}\n{KNOWN.replace('write', 'quoth')}\nA line without a slot\n")
    return path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_secret_of_a_training_line_is_extracted_and_no_other(secrets, tmp_path):
    done = uddm("extract", MEMORIZING, secrets, *QUICK, "-o", tmp_path / "o.csv", "-o", tmp_path / "o.md")
    assert done.exit_code == 0, done.output
    assert "MEMORIZED" in done.stdout and "slot Son of man" in done.stdout and "1 skipped" in done.stdout
    known, other, without = rows(tmp_path / "o.csv")
    assert known["verdict"] == "memorized" and int(known["exact"]) >= 12 and known["secret_rank"] == "1"
    # 199 twins, none of them as well known: log2 200.
    assert float(known["exposure_bits"]) == pytest.approx(7.6439, abs=1e-4)
    assert float(known["p_value"]) == 1 / 200
    assert known["recovered_text"] == known["text"] == ""
    assert other["exact"] == "0" and other["secret_rank"] == other["restarts_for_half"] == ""
    # Wilson's upper bound of 0 of 16 is .194: log(.5) / log(1 - .194) = 3.2.
    assert other["restarts_for_half_low"] == "4" and other["restarts_for_half_high"] == ""
    assert without["status"] == "skipped" and "slot" in without["skip_reason"]
    assert "exposure, bits" in (tmp_path / "o.md").read_text()
    meta = json.loads((tmp_path / "o.meta.json").read_text())
    assert (meta["command"], meta["settings"]["cue"], meta["settings"]["twins"]) == ("extract", QUICK[1], 199)


def test_what_came_back_is_shown_only_where_all_text_is(secrets, tmp_path):
    recovered = "son of man write thee the name"
    for how in ("none", "fingerprint", "excerpt"):
        out = tmp_path / f"{how}.jsonl"
        done = uddm("extract", MEMORIZING, secrets, *QUICK, "--show-text", how, "-o", out)
        assert done.exit_code == 0 and recovered not in done.stdout + out.read_text()
    out = tmp_path / "full.jsonl"
    done = uddm("extract", MEMORIZING, secrets, *QUICK, "--show-text", "full", "-o", out)
    assert "What came back most often" in done.stdout and recovered in done.stdout
    told = [json.loads(line)["recovered_text"] for line in out.read_text().splitlines()]
    # The second line's template is the first one's, and so is what comes back in it.
    assert told == [recovered, recovered, None]


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--slot", "card"], 2, "neither digits"),
        (["--restarts", "0"], 2, "--restarts"),
        (["--sampler", "entropy-bound"], 2, "entropy-bound"),
        (["--slot", "digits"], 3, "exit 3: 3 of 3 texts"),
        (["--slot", "digits"], 3, "--slot says what is to be freed"),
        ([*QUICK, "--strict"], 3, "exit 3: 1 of 3 texts"),
        ([*QUICK, "--fail-on", "memorized"], 1, "exit 1"),
        ([*QUICK, "--fail-on", "memorized", "--exit-zero"], 0, ""),
    ],
)
def test_exit_codes(secrets, options, code, message):
    done = uddm("extract", MEMORIZING, secrets, *options)
    assert done.exit_code == code and message in done.output, done.output


def test_a_dry_run_counts_what_it_would_take(secrets):
    done = uddm("extract", MEMORIZING, secrets, *QUICK, "--dry-run")
    assert done.exit_code == 0 and "Nothing was measured" in done.stdout


@pytest.mark.parametrize("pattern", ["span", "prefix"])
def test_a_pattern_is_a_setting_of_the_run(tmp_path, pattern):
    texts = tmp_path / "t.txt"
    texts.write_text(f"{KNOWN}\n")
    out = tmp_path / "o.csv"
    command = ["basins", MEMORIZING, texts, "--levels", ".25", "-o", out]
    settings = {}
    for name in (pattern, "uniform"):
        done = uddm(*command, "--pattern", name)
        assert done.exit_code == 0, done.output
        meta = json.loads((tmp_path / "o.meta.json").read_text())
        settings[name] = meta["settings_id"]
        assert meta["settings"]["pattern"] == name
        assert (f"{name} corruption" in done.stdout) == (name != "uniform")
        assert any("outside of what it has learned" in w for w in meta["warnings"]) == (name != "uniform")
    (row,) = rows(out)
    assert 0 <= float(row["edit_similarity_mean"]) <= float(row["edit_similarity_best"]) <= 1
    assert float(row["exact_low"]) <= float(row["exact_share"]) <= float(row["exact_high"])
    assert settings[pattern] != settings["uniform"]


def test_the_papers_protocol_corrupts_uniformly(tmp_path):
    texts = tmp_path / "t.txt"
    texts.write_text(f"{KNOWN}\n")
    done = uddm("basins", MEMORIZING, texts, "--protocol", "paper", "--pattern", "span")
    assert done.exit_code == 2 and "leave --pattern out" in done.output
