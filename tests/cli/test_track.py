"""`uddm-audit track`, as a person gives it."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import permutations
from xml.etree import ElementTree

import pandas
import pytest
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from audit_cli.audits.track import Track
from audit_cli.cli import app
from audit_cli.reports.columns import TRACK_COLUMNS
from audit_cli.reports.files import WriteError
from tests.short_run import (
    EVERY,
    EXAMPLES,
    HELDOUT,
    LEARNED,
    QUICK,
    checkpoints,
    copied,
    cut_off,
    lines,
    spoiled,
    steps_of,
)


def uddm(*arguments, **more):
    return CliRunner().invoke(app, [str(a) for a in arguments], **more)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return checkpoints(tmp_path_factory.mktemp("run"))


@pytest.fixture
def asked(tmp_path):
    """The texts and what makes it quick."""
    text, held = lines(tmp_path / "mine.txt", LEARNED), lines(tmp_path / "other.txt", HELDOUT[:80])
    return ["--text", text, "--heldout", held, *QUICK]


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestList:
    def test_a_row_a_checkpoint_and_the_first_that_knows_too_much(self, run, asked, tmp_path):
        outs = [tmp_path / f"o.{kind}" for kind in ("csv", "jsonl", "parquet", "md")]
        picture = tmp_path / "o.svg"
        done = uddm("track", *run, *asked, *(a for out in outs for a in ("-o", out)), "--figure", picture)
        assert done.exit_code == 0, done.output
        found = rows(outs[0])
        assert list(found[0]) == list(TRACK_COLUMNS["track"])
        assert [row["checkpoint"] for row in found] == [str(path) for path in run]
        assert [row["look"] for row in found] == ["1", "2", "3", "4"]
        assert {float(row["p_allowed"]) for row in found} == {0.05 / 4}
        for row in found:
            assert float(row["gap_nats"]) == pytest.approx(
                float(row["surprise_heldout_nats"]) - float(row["surprise_text_nats"])
            )
            assert float(row["gap_low_nats"]) <= float(row["gap_nats"]) <= float(row["gap_high_nats"])
            assert (row["significant"] == "True") == (float(row["p_value"]) <= 0.05 / 4)
        first = next(row for row in found if row["significant"] == "True")
        said = f"first at {first['checkpoint']}: p = "
        assert said in done.stdout.replace("\n", " ") and f"at look {first['look']} of 4." in done.stdout
        meta = json.loads((tmp_path / "o.meta.json").read_text())
        assert meta["first_significant"] == first["checkpoint"] and said in meta["conclusion"]
        assert (meta["looks_planned"], meta["alpha"], meta["counts"]["measured"]) == (4, 0.05, 4)
        lined = [json.loads(line) for line in outs[1].read_text().splitlines()]
        assert [row["p_value"] for row in lined] == [float(row["p_value"]) for row in found]
        assert list(pandas.read_parquet(outs[2])["weights_sha256"]) == [row["weights_sha256"] for row in found]
        assert "| first" not in outs[3].read_text() and outs[3].read_text().count("| yes |") >= 1
        assert ElementTree.parse(picture).getroot().tag.endswith("svg")  # noqa: S314 - our own file
        # Nothing of a text is in any of them, nor on the screen.
        for told in (done.output, *(out.read_text(errors="replace") for out in (*outs, picture))):
            assert not any(text in told for text in (*LEARNED, *HELDOUT[:80]))

    @pytest.mark.parametrize("width", [70, 80, 100, 120])
    def test_the_table_fits_the_terminal(self, run, asked, width, monkeypatch):
        from rich.console import Console

        monkeypatch.setattr("audit_cli.cli.session.stdout", lambda: Console(width=width, markup=False))
        done = uddm("track", *run[:2], *asked, "-q")
        assert done.exit_code == 0
        assert max(map(len, done.stdout.splitlines())) <= width
        # Where there is no room for all, the heading of the names gives way, and no number does.
        (row,) = [line for line in done.stdout.splitlines() if line.startswith(" step-30 ")]
        assert "…" not in row and len(re.findall(r"\d*\.\d+", row)) >= 9

    def test_bits(self, run, asked, tmp_path):
        for unit in ("nats", "bits"):
            assert uddm("track", run[3], *asked, "--unit", unit, "-o", tmp_path / f"{unit}.csv").exit_code == 0
        nats, bits = rows(tmp_path / "nats.csv")[0], rows(tmp_path / "bits.csv")[0]
        assert float(bits["gap_bits"]) == pytest.approx(float(nats["gap_nats"]) / 0.6931471805599453)
        assert bits["recovery_gap"] == nats["recovery_gap"]

    def test_the_gate(self, run, asked):
        assert uddm("track", run[3], *asked, "--fail-on", "significant").exit_code == 1
        unseen = ["--text", asked[3], "--heldout", EXAMPLES / "heldout.txt", *QUICK]
        # The others are left out as near-duplicates: lines of the same kind, none of which was learned.
        done = uddm("track", run[3], *unseen, "--fail-on", "significant")
        assert done.exit_code == 0 and "no proof that none was learned" in done.stdout.replace("\n", " ")

    def test_a_reference_takes_out_what_was_known_before(self, run, asked):
        done = uddm("track", run[3], *asked, "--reference-model", run[3])
        assert done.exit_code == 0 and "At no checkpoint" in done.stdout and "smallest p is 1," in done.stdout
        assert "goes beyond its own" in done.stdout


class TestBadCheckpoints:
    def test_one_that_cannot_be_read_or_is_no_number_is_a_row(self, run, asked, tmp_path):
        bad = [
            cut_off(run[0], tmp_path / "torn"),
            spoiled(run[0], tmp_path / "nan"),
            spoiled(run[0], tmp_path / "inf", 3e38),
        ]
        out = tmp_path / "o.csv"
        done = uddm("track", run[0], *bad, run[3], *asked, "-o", out)
        assert done.exit_code == 3
        assert "3 of 5 checkpoints could not be measured" in done.stderr
        assert [row["status"] for row in rows(out)] == ["measured", *["skipped"] * 3, "measured"]
        reasons = [row["skip_reason"] for row in rows(out)[1:4]]
        assert "damaged" in reasons[0] and "NaN" in reasons[1] and "not a number" in reasons[2]
        # They are no looks, and the others' part of the error stays a fifth.
        kept = [row for row in rows(out) if row["status"] == "measured"]
        assert [(row["look"], row["p_allowed"]) for row in kept] == [("1", "0.01"), ("2", "0.01")]
        assert "better known than held-out text" in done.stdout

    def test_models_of_another_training_are_refused_before_anything_is_measured(self, run, asked, tmp_path):
        out = tmp_path / "o.csv"
        done = uddm("track", run[0], EXAMPLES / "memorizing", *asked, "-o", out)
        assert done.exit_code == 2 and not out.exists()
        assert f"{run[0]} and {EXAMPLES / 'memorizing'} are no checkpoints of one training" in done.stderr
        assert "parameters" in done.stderr and "nats a token" not in done.stderr

    @pytest.mark.parametrize(
        ("more", "says"),
        [
            (["nowhere"], "nowhere: no such file"),
            (["RUN"], "is given twice"),
            (["--until", 3], "--until and --idle end a --watch"),
            (["--watch", "."], "give checkpoints, or --watch"),
            (["--figure", "o.gif"], "pictures are SVG or PNG"),
            (["--heldout", "gone.txt"], "gone.txt"),
            (["--alpha", 0.9], "not between"),
            (["-o", "-"], "tables go to files"),
            (["--reference-model", "nowhere"], "nowhere: no such file"),
            (["--reference-model", EXAMPLES / "realistic"], "another tokenizer"),
        ],
    )
    def test_what_cannot_be_done_is_told_at_once(self, run, asked, more, says):
        done = uddm("track", run[0], *(run[0] if a == "RUN" else a for a in more), *asked)
        assert done.exit_code == 2 and says in done.output.replace("\n", " ").replace("│", "")
        assert "Traceback" not in done.output

    def test_texts_are_asked_for(self, run, asked):
        assert "--text and --heldout" in uddm("track", run[0]).stderr
        assert uddm("track", run[0], "--text", asked[1]).exit_code == 2
        assert uddm("track", *asked).exit_code == 2
        assert uddm("track", "--watch", "/nowhere/at/all", *asked).exit_code == 2

    def test_texts_of_another_kind_leave_it_open(self, run, asked, tmp_path):
        odd = lines(tmp_path / "odd.txt", [f"{a}{b} {b}{a} zq xj kvq" for a, b in permutations("qzxjvk", 2)])
        done = uddm("track", run[3], "--text", odd, *asked[2:], "--fail-on", "significant")
        assert done.exit_code == 4
        assert "unlike the held-out text" in done.stdout and "Nothing was tested" in done.stdout

    def test_a_name_is_made_safe_wherever_it_is_shown(self, run, asked, tmp_path):
        bad = copied(run[3], tmp_path / "=cmd()\x1b[31m$x^|<b>")
        outs = [tmp_path / f"o.{kind}" for kind in ("csv", "md", "jsonl")]
        done = uddm("track", run[2], bad, *asked, *(a for o in outs for a in ("-o", o)), "--figure", tmp_path / "o.svg")
        assert done.exit_code == 0, done.output
        for told in (done.stdout, done.stderr, *(out.read_text() for out in (*outs, tmp_path / "o.svg"))):
            assert "\x1b" not in told
        assert "<b>" not in outs[1].read_text() and "<b>" not in (tmp_path / "o.svg").read_text()
        assert [json.loads(line)["checkpoint"] for line in outs[2].read_text().splitlines()] == [str(run[2]), str(bad)]

    def test_a_disk_that_is_full_loses_no_row(self, run, asked, tmp_path, monkeypatch):
        def full(*_):
            raise WriteError("o.csv: disk full; it was not written")

        monkeypatch.setattr("audit_cli.cli.tracking.write_track", full)
        done = uddm("track", *run[:2], *asked, "-o", tmp_path / "o.csv")
        assert done.exit_code == 3 and "disk full" in done.stderr and " step-60 " in done.stdout

    def test_a_checkpoint_that_takes_too_much_memory_is_a_row(self, run, asked, monkeypatch):
        look = Track.look

        def out_of_memory(track, model, name):
            if name.endswith("step-30"):
                raise MemoryError("a single text takes more memory than there is")
            return look(track, model, name)

        monkeypatch.setattr(Track, "look", out_of_memory)
        done = uddm("track", *run[:2], *asked)
        assert done.exit_code == 3 and "more memory than there is" in done.stdout and " step-60 " in done.stdout

    def test_nothing_that_can_be_loaded_is_no_checkpoint(self, run, asked, tmp_path):
        done = uddm("track", cut_off(run[0], tmp_path / "torn"), *asked)
        assert done.exit_code == 2 and "damaged" in done.stderr

    def test_another_order_than_that_of_the_numbers_is_said(self, run, asked):
        assert "not that of the numbers" in uddm("track", run[1], run[0], *asked).stderr
        assert "not that of the numbers" not in uddm("track", *run[:2], *asked).stderr

    def test_a_foreign_file_is_no_output(self, run, asked, tmp_path):
        (tmp_path / "mine.svg").write_text("<svg/>")
        done = uddm("track", run[0], *asked, "--figure", tmp_path / "mine.svg")
        assert done.exit_code == 2 and "not written by uddm-audit" in done.stderr


class TestWatch:
    def test_what_is_there_is_looked_at_in_its_order_and_the_rest_as_it_comes(self, run, asked, tmp_path):
        folder, out = tmp_path / "runs", tmp_path / "o.csv"
        folder.mkdir()
        old = [copied(run[0], folder / "step-100"), copied(run[1], folder / "step-20")]
        for file in (file for place in old for file in place.iterdir()):
            os.utime(file, (1_600_000_000, 1_600_000_000))

        def arrive():
            # Not before the first two: then a half one, which is mended, and the same weights under another name.
            deadline = time.monotonic() + 60
            while time.monotonic() < deadline and not (out.exists() and len(rows(out)) == 2):
                time.sleep(0.05)
            torn = cut_off(run[2], folder / "step-300")
            time.sleep(2)
            shutil.copy(run[2] / "model.safetensors", torn / "model.safetensors")
            copied(run[2], folder / "latest")
            time.sleep(1)
            copied(run[3], folder / "step-400")

        thread = threading.Thread(target=arrive)
        thread.start()
        done = uddm("track", "--watch", folder, "--every", 0.3, "--until", 4, *asked, "-o", out)
        thread.join()
        assert done.exit_code == 0, done.output
        found = rows(out)
        names = [row["checkpoint"].rpartition("/")[2] for row in found]
        assert names[:2] == ["step-20", "step-100"] and names[3] == "step-400"
        # Whichever of the two was whole first.
        assert names[2] in ("step-300", "latest")
        allowed = [float(row["p_allowed"]) for row in found]
        assert allowed == pytest.approx([6 * 0.05 / (3.141592653589793 * k) ** 2 for k in (1, 2, 3, 4)])
        assert "tried again when it changes" in done.stderr and "no new look" in done.stderr

    def test_one_of_another_training_is_a_row_and_the_watch_goes_on(self, run, asked, tmp_path):
        folder = tmp_path / "runs"
        folder.mkdir()
        copied(run[0], folder / "step-1")
        shutil.copytree(EXAMPLES / "memorizing", folder / "step-2")
        cut_off(run[0], folder / "step-3")
        copied(run[1], folder / "step-4")
        done = uddm("track", "--watch", folder, "--every", 0.2, "--idle", 0.02, *asked, "-o", tmp_path / "o.csv")
        assert done.exit_code == 3
        status = {row["checkpoint"].rpartition("/")[2]: row["status"] for row in rows(tmp_path / "o.csv")}
        assert status == {"step-1": "measured", "step-2": "skipped", "step-4": "measured", "step-3": "skipped"}
        assert "are no checkpoints of one training" in done.stdout.replace("\n", " ")

    def test_nothing_that_comes_is_no_audit(self, asked, tmp_path):
        done = uddm("track", "--watch", tmp_path / "later", "--every", 0.1, "--idle", 0.01, *asked)
        assert done.exit_code == 3 and "which is not there yet" in done.stderr and "no checkpoint" in done.stderr

    def test_a_training_that_writes_its_folder_anew(self, asked, tmp_path):
        """The program's own `train` while it is watched: one folder, and each save another look."""
        folder, out = tmp_path / "run", tmp_path / "o.csv"

        def training():
            for done in steps_of(folder):
                if done.step % EVERY == 0:
                    # A training of minutes, in seconds: each save is looked at before the next.
                    deadline = time.monotonic() + 60
                    looks = done.step // EVERY
                    while time.monotonic() < deadline and not (out.exists() and len(rows(out)) >= looks):
                        if looks * EVERY == 120:
                            break
                        time.sleep(0.05)

        thread = threading.Thread(target=training)
        thread.start()
        done = uddm("track", "--watch", folder, "--every", 0.2, "--until", 4, *asked, "-o", out)
        thread.join()
        assert done.exit_code == 0, done.output
        assert [row["checkpoint"] for row in rows(out)] == [
            *(f"{folder} (step {n})" for n in (30, 60, 90)),
            # Of a training that has ended nothing tells the step.
            f"{folder} (4)",
        ]
        assert len({row["weights_sha256"] for row in rows(out)}) == 4
        assert float(rows(out)[3]["gap_nats"]) > float(rows(out)[0]["gap_nats"])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    def test_a_stop_reports_what_was_seen(self, run, asked, tmp_path, number):
        folder, out = tmp_path / "runs", tmp_path / "o.csv"
        folder.mkdir()
        copied(run[0], folder / "step-1")
        command = ["track", "--watch", folder, "--every", 0.2, *asked, "-o", out]
        code = "import sys; from audit_cli.cli import main; main()"
        process = subprocess.Popen(
            [sys.executable, "-c", code, *map(str, command)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 90
        while not out.exists() and time.monotonic() < deadline:
            time.sleep(0.1)
        time.sleep(0.5)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
        assert "step-1" in said and "known than held-out text" in said.replace("\n", " ")
        assert len(rows(out)) == 1


def test_the_same_weights_are_no_two_looks(tmp_path):
    shutil.copytree(EXAMPLES / "memorizing", tmp_path / "again")
    both = [EXAMPLES / "memorizing", tmp_path / "again"]
    done = uddm("track", *both, "--text", EXAMPLES / "candidates.txt", "--heldout", EXAMPLES / "heldout.txt")
    assert done.exit_code == 2, done.output
    assert "have the same weights" in done.stderr


def test_a_list_of_which_nothing_is_a_number_is_not_auditable(tmp_path):
    shutil.copytree(EXAMPLES / "memorizing", tmp_path / "broken")
    file = tmp_path / "broken" / "model.safetensors"
    save_file({name: value * math.nan for name, value in load_file(file).items()}, file)
    texts = ["--text", EXAMPLES / "candidates.txt", "--heldout", EXAMPLES / "heldout.txt"]
    done = uddm("track", tmp_path / "broken", *texts)
    assert done.exit_code == 3, done.output
