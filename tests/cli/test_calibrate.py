"""`calibrate`, `--calibration` and what is remembered of held-out text, from the command line."""

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

from audit_cli.audits import cache
from tests.cli.test_commands import EXAMPLES, GENERALIZING, MEMORIZING, uddm

LINES = (EXAMPLES / "heldout.txt").read_text().splitlines()
QUICK = ["--levels", ".1,.25", "--restarts", "4"]


@pytest.fixture(autouse=True)
def _one_key_and_still_code(monkeypatch):
    monkeypatch.setenv("UDDM_AUDIT_KEY", "a key for tests")
    monkeypatch.setattr(cache, "_code", lambda: "code")


@pytest.fixture
def written(tmp_path):
    """A file of these lines."""

    def write(name, lines):
        path = tmp_path / name
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    return write


@pytest.fixture
def heldout(written):
    return written("heldout.txt", LINES[:120])


@pytest.fixture
def leaked(written):
    trained = (EXAMPLES / "train.txt").read_text().splitlines()[0]
    return written("leaked.txt", [trained, "and the quiet ones went away"])


@pytest.fixture
def calibration(heldout, tmp_path):
    path = tmp_path / "heldout.calibration.json"
    done = uddm("calibrate", MEMORIZING, heldout, "-o", path, "--for", "entropy")
    assert done.exit_code == 0, done.output
    return path


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def clean(done):
    assert "Traceback" not in done.output
    assert not isinstance(done.exception, Exception) or isinstance(done.exception, SystemExit)
    return done


def test_what_was_made_is_told_and_read_again(heldout, leaked, tmp_path):
    path = tmp_path / "c.json"
    done = uddm("calibrate", MEMORIZING, heldout, "-o", path, "--lengths", "24-32", *QUICK)
    assert done.exit_code == 0, done.output
    assert re.search(r"Run +for basins, by [a-z+-]+: 1\d\d held-out texts", done.stdout)
    assert re.search(r"26-32 tokens +\d+ +\.\d+", done.stdout)
    assert f"wrote {path}" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    assert not Path(f"{path}.part").exists()
    out = tmp_path / "a.csv"
    done = uddm("basins", MEMORIZING, leaked, "--calibration", path, *QUICK, "-o", out)
    assert done.exit_code == 0, done.output
    assert "of a calibration, not checkable" in " ".join(done.stdout.split())
    assert re.search(r"leaked\.txt:1 .* MEMORIZED", done.stdout)
    assert "held-out, best 1 in 100" in done.stdout
    assert {row["comparability"] for row in rows(out)} == {"not checkable"}
    meta = json.loads((tmp_path / "a.meta.json").read_text())
    assert meta["settings"]["calibration_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert meta["comparability"]["reason"] == "the calibration holds no text"


def test_a_finding_fails_a_build_as_with_heldout_text(leaked, calibration):
    done = uddm("entropy", MEMORIZING, leaked, "--calibration", calibration, "--fail-on", "familiar")
    assert done.exit_code == 1, done.output


def test_few_texts_in_a_band_are_told(written, tmp_path):
    done = uddm("calibrate", MEMORIZING, written("few.txt", LINES[:10]), "-o", tmp_path / "c.json", "--for", "entropy")
    assert done.exit_code == 0
    assert "fewer than 19 texts" in done.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--heldout", "{heldout}"], "--calibration is a comparison of its own"),
        (["--twins", "19"], "--calibration is a comparison of its own"),
        (["--reference-model", GENERALIZING], "--calibration is a comparison of its own"),
        (["--seed", "1"], "seed (0 there, 1 here)"),
        (["--time", ".1"], "t (1e-05 there, 0.1 here)"),
    ],
)
def test_what_does_not_go_together_is_a_usage_error(leaked, calibration, heldout, options, said):
    options = [option.format(heldout=heldout) for option in options]
    done = clean(uddm("entropy", MEMORIZING, leaked, "--calibration", calibration, *options))
    assert done.exit_code == 2
    assert said in done.stderr


def test_a_calibration_of_something_else_is_a_usage_error(leaked, calibration):
    done = clean(uddm("entropy", GENERALIZING, leaked, "--calibration", calibration))
    assert (done.exit_code, "weights (" in done.stderr) == (2, True)
    done = clean(uddm("basins", MEMORIZING, leaked, "--calibration", calibration))
    assert (done.exit_code, "command (entropy there, basins here)" in done.stderr) == (2, True)
    done = clean(uddm("entropy", MEMORIZING, "--calibration", calibration))
    assert (done.exit_code, "give a FILE" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[" * 9999, b'{"schema": "uddm-audit/calibration/2"}', b"\xff\x00", b'"text"']
)
def test_a_file_that_is_no_calibration_is_a_usage_error(leaked, tmp_path, content):
    path = tmp_path / "c.json"
    path.write_bytes(content)
    done = clean(uddm("entropy", MEMORIZING, leaked, "--calibration", path, "--fail-on", "familiar"))
    assert done.exit_code == 2
    assert "calibration" in done.stderr
    assert clean(uddm("entropy", MEMORIZING, leaked, "--calibration", tmp_path / "none")).exit_code == 2
    assert clean(uddm("entropy", MEMORIZING, leaked, "--calibration", tmp_path)).exit_code == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--for", "entropy", "--levels", ".1"], "are of --for basins"),
        (["--for", "entropy", "--recipe", "basin-area"], "entropy has"),
        (["--time", ".1"], "are of --for entropy"),
        (["--lengths", "30-20"], "the shorter length stands first"),
        (["--lengths", "0-3"], "at least one token"),
        (["--lengths", "many"], "no range of token counts"),
        (["--protocol", "paper", "--levels", ".1"], "--protocol paper has its own"),
        (["-o", "csv=c.csv"], "a calibration is JSON"),
    ],
)
def test_calibrate_refuses_what_does_not_go_together(heldout, tmp_path, options, said):
    done = clean(uddm("calibrate", MEMORIZING, heldout, "-o", tmp_path / "c.json", *options))
    assert done.exit_code == 2
    assert said in " ".join(re.sub(r"[│╭╮╰╯─]", " ", done.output).split())
    assert not (tmp_path / "c.json").exists()


def test_only_an_earlier_calibration_is_replaced(heldout, calibration, tmp_path):
    assert uddm("calibrate", MEMORIZING, heldout, "-o", calibration, "--for", "entropy").exit_code == 0
    (tmp_path / "mine.json").write_text('{"schema": "mine"}')
    (tmp_path / "link.json").symlink_to(calibration)
    for name in ("mine.json", "heldout.txt", "link.json", "no/folder.json", "."):
        before = (tmp_path / name).read_bytes() if (tmp_path / name).is_file() else None
        done = clean(uddm("calibrate", MEMORIZING, heldout, "-o", tmp_path / name, "--for", "entropy"))
        assert done.exit_code == 2, name
        assert before is None or (tmp_path / name).read_bytes() == before
    assert clean(uddm("calibrate", MEMORIZING, heldout, "-o", "-", "--for", "entropy")).exit_code == 2


@pytest.mark.parametrize(
    ("lines", "options", "code"),
    [
        ([], [], 3),
        (["", "  "], [], 3),
        (["ab", "a b"], ["--lengths", "20-30"], 3),
        (["1234 5678", "%%%"], [], 3),
    ],
)
def test_heldout_text_that_gives_nothing_writes_nothing(written, tmp_path, lines, options, code):
    path = tmp_path / "c.json"
    done = clean(uddm("calibrate", MEMORIZING, written("h.txt", lines), "-o", path, "--for", "entropy", *options))
    assert done.exit_code == code, done.output
    assert not path.exists()


@pytest.mark.parametrize("comparison", ["--heldout", "--calibration"])
@pytest.mark.parametrize(
    "lines",
    [["ab", "cd"], LINES[:1], LINES[:19], None],
    ids=["all too short", "one reference", "nineteen", "all are candidates"],
)
def test_bad_heldout_text_never_passes_a_build(written, tmp_path, leaked, comparison, lines):
    """Exit 0 with --fail-on means that every text was judged."""
    held = leaked if lines is None else written("h.txt", lines)
    path = held
    if comparison == "--calibration":
        path = tmp_path / "c.json"
        assert uddm("calibrate", MEMORIZING, held, "-o", path, "--for", "entropy").exit_code == 0
    out = tmp_path / "a.csv"
    done = clean(uddm("entropy", MEMORIZING, leaked, comparison, path, "--fail-on", "familiar", "-o", out))
    verdicts = {row["verdict"] for row in rows(out)}
    assert done.exit_code == (1 if "familiar" in verdicts else 4 if "inconclusive" in verdicts else 0)
    if lines is None or len(lines[0]) < 5:
        assert done.exit_code == 4
        assert verdicts == {"inconclusive"}
    assert done.exit_code or len(held.read_text().splitlines()) == 19 or verdicts <= {"no evidence"}


@pytest.mark.parametrize("comparison", ["--heldout", "--calibration"])
def test_scores_that_are_no_numbers_never_pass_a_build(written, tmp_path, leaked, heldout, monkeypatch, comparison):
    path = heldout
    if comparison == "--calibration":
        path = tmp_path / "c.json"
        assert uddm("calibrate", MEMORIZING, heldout, "-o", path, "--for", "entropy").exit_code == 0
    monkeypatch.setattr("audit_cli.audits.measuring.Filed.score", lambda *_: float("nan"))
    done = clean(uddm("entropy", MEMORIZING, leaked, comparison, path, "--fail-on", "familiar"))
    assert done.exit_code in (3, 4)
    monkeypatch.setattr("audit_cli.audits.measuring.Filed.score", lambda *_: float("inf"))
    done = clean(uddm("calibrate", MEMORIZING, heldout, "-o", tmp_path / "n.json", "--for", "entropy"))
    assert done.exit_code == 3
    assert not (tmp_path / "n.json").exists()


def test_another_key_is_told_once(leaked, calibration, monkeypatch):
    monkeypatch.setenv("UDDM_AUDIT_KEY", "another key")
    done = uddm("entropy", MEMORIZING, leaked, "--calibration", calibration)
    assert done.exit_code == 0
    assert done.stderr.count("another fingerprint key") == 1


def test_a_second_run_takes_the_heldout_scores_of_the_first(leaked, heldout, tmp_path):
    cached = tmp_path / "cache" / "uddm-audit" / "heldout"
    run = ["basins", MEMORIZING, leaked, "--heldout", heldout, *QUICK]
    first = uddm(*run, "-o", tmp_path / "a.csv", "--per-level")
    assert "earlier run" not in first.stdout
    assert len(list(cached.iterdir())) == 1
    second = uddm(*run, "-o", tmp_path / "b.csv", "--per-level")
    assert "held-out scores from an earlier run" in " ".join(second.stdout.split())
    alone = uddm(*run, "-o", tmp_path / "c.csv", "--per-level", "--no-cache")
    assert "earlier run" not in alone.stdout
    assert (first.exit_code, second.exit_code, alone.exit_code) == (0, 0, 0)
    for name in ("{}.csv", "{}.per-level.csv"):
        one, other, third = ((tmp_path / name.format(run)).read_bytes() for run in "abc")
        assert one == other == third


def test_without_the_cache_nothing_is_written_there(leaked, heldout, tmp_path):
    done = uddm("entropy", MEMORIZING, leaked, "--heldout", heldout, "--no-cache")
    assert done.exit_code == 0
    assert not (tmp_path / "cache").exists()


def test_a_stopped_calibration_goes_on_with_the_same_command(heldout, tmp_path, monkeypatch):
    from audit_cli.audits import measuring

    command = ["calibrate", MEMORIZING, heldout, "-o", tmp_path / "c.json", *QUICK, "--no-cache", "--lengths", "26-32"]
    real, portions = measuring.Filed._missing, []

    def stopping(self, *arguments):
        for i, entry in enumerate(real(self, *arguments)):
            if i == 20 and not portions:
                portions.append(i)
                raise KeyboardInterrupt
            yield entry

    monkeypatch.setattr(measuring.Filed, "_missing", stopping)
    stopped = uddm(*command)
    assert (stopped.exit_code, "give the same command again" in stopped.stderr) == (130, True), stopped.output
    assert not (tmp_path / "c.json").exists()
    done = uddm(*command)
    assert (done.exit_code, "going on:" in done.stderr) == (0, True)
    assert list(tmp_path.glob("*.part")) == []
