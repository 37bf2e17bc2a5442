"""Interrupted runs, other inputs and outputs, other comparisons: what a person with real material does."""

import gzip
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest

from tests.cli.test_commands import EXAMPLES, GENERALIZING, HELDOUT, MEMORIZING, QUICK, lines, some_heldout, spawn, uddm

__all__ = ["lines", "some_heldout"]  # fixtures

COMMAND = [sys.executable, "-c", "from audit_cli.cli import main; main()"]


@pytest.fixture
def many(tmp_path):
    path = tmp_path / "many.txt"
    path.write_text("\n".join((EXAMPLES / "train.txt").read_text().splitlines()[:600]) + "\n")
    return path


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen in time")


def measured(part):
    return part.exists() and part.stat().st_size > 100_000


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_to_the_result_of_an_undisturbed_one(many, tmp_path):
    arguments = ["basins", MEMORIZING, many, "--heldout", HELDOUT, "--levels", ".25"]
    undisturbed, out = tmp_path / "a.csv", tmp_path / "b.csv"
    assert uddm(*arguments, "-o", undisturbed).exit_code == 0
    part = tmp_path / "b.csv.part"
    audit = spawn(*arguments, "-o", out)
    wait_for(lambda: measured(part))
    second = uddm(*arguments, "-o", out)
    assert second.exit_code == 2 and "another run is writing" in second.output
    audit.kill()
    audit.wait()
    kept = part.stat().st_size
    other = uddm(*arguments, "-o", out, "--restarts", "9")
    assert other.exit_code == 2
    assert "restarts (was 8, now 9)" in other.output and "--restart" in other.output
    assert part.stat().st_size == kept
    audit = spawn(*arguments, "-o", out)
    wait_for(lambda: part.stat().st_size > kept)
    audit.send_signal(signal.SIGTERM)
    _, errors = audit.communicate(timeout=60)
    assert audit.returncode == 143
    assert "stopped" in errors and "the same command again" in errors and "Traceback" not in errors
    done = uddm(*arguments, "-o", out)
    assert done.exit_code == 0, done.output
    assert out.read_text() == undisturbed.read_text()
    assert not part.exists()


def test_begin_anew_forgets_what_was_kept(lines, tmp_path):
    from audit_cli.audits.journal import Journal

    journal = Journal(tmp_path / "o.csv.part", os.fsencode("k"))
    journal.bind({"command": "something else"})
    journal.put([(b"k", "", b"x")])
    journal.close()
    command = ["basins", MEMORIZING, lines, *QUICK, "-o", tmp_path / "o.csv"]
    assert uddm(*command).exit_code == 2
    assert uddm(*command, "--restart").exit_code == 0
    assert not (tmp_path / "o.csv.part").exists()


def test_a_dry_run_tells_what_it_would_take_and_writes_nothing(lines, some_heldout, tmp_path):
    done = uddm("basins", MEMORIZING, lines, "--heldout", some_heldout, *QUICK, "--dry-run", "-o", tmp_path / "o.csv")
    assert done.exit_code == 0, done.output
    assert re.search(r"texts +2 of 2 to measure", done.stdout)
    assert re.search(r"forward passes +[\d,]+ of one sequence: texts [\d,]+, held-out texts [\d,]+", done.stdout)
    assert "Nothing was measured" in done.stdout
    assert not list(tmp_path.glob("o.*"))


def test_standard_input_is_read_once_and_audited(lines, some_heldout):
    done = subprocess.run(
        [*COMMAND, "entropy", MEMORIZING, "-", "--heldout", some_heldout],
        input=lines.read_text(), capture_output=True, text=True, cwd=EXAMPLES.parent, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"stdin:1 .* FAMILIAR", done.stdout)
    both = subprocess.run(
        [*COMMAND, "entropy", MEMORIZING, "-", "--heldout", "-"],
        input="a\n", capture_output=True, text=True, cwd=EXAMPLES.parent, check=False,
    )  # fmt: skip
    assert both.returncode == 2 and "standard input" in both.stderr


def test_tables_are_read_by_their_column(lines, some_heldout, tmp_path):
    texts = lines.read_text().splitlines()
    frame = pd.DataFrame({"who": ["ann", "bo"], "said": texts})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    with gzip.open(tmp_path / "t.csv.gz", "wt") as file:
        frame.to_csv(file, index=False)
    told = []
    for name in ("t.csv", "t.parquet", "t.csv.gz"):
        done = uddm("entropy", MEMORIZING, tmp_path / name, "--text-column", "said", "--heldout", some_heldout,
                    "-o", tmp_path / "o.jsonl")  # fmt: skip
        assert done.exit_code == 0, done.output
        rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
        told.append([(row["fingerprint"], row["score"], row["verdict"]) for row in rows])
    assert told[0] == told[1] == told[2]
    assert [verdict for *_, verdict in told[0]] == ["familiar", "no evidence"]
    missing = uddm("entropy", MEMORIZING, tmp_path / "t.csv")
    assert missing.exit_code == 2 and "said" in missing.output


def test_every_kind_of_output_from_one_run(lines, some_heldout, tmp_path):
    outputs = [tmp_path / "o.csv", tmp_path / "o.jsonl", tmp_path / "o.parquet", tmp_path / "o.md"]
    odd = tmp_path / "table.txt"
    done = uddm("basins", MEMORIZING, lines, "--heldout", some_heldout, *QUICK, "-o", f"csv={odd}",
                *(part for path in outputs for part in ("-o", path)))  # fmt: skip
    assert done.exit_code == 0, done.output
    frames = [pd.read_csv(outputs[0]), pd.read_json(outputs[1], lines=True), pd.read_parquet(outputs[2])]
    assert all(frame["verdict"].tolist() == ["memorized", "no evidence"] for frame in frames)
    assert odd.read_text() == outputs[0].read_text()
    assert "memorized" in outputs[3].read_text()
    assert not list(tmp_path.glob("*.part"))


def test_a_text_longer_than_the_model_is_shown_by_its_strongest_window(lines, some_heldout, tmp_path):
    trained = lines.read_text().splitlines()[0]
    stored = re.sub("[^a-z]+", " ", trained.lower()).strip()
    book = tmp_path / "book.txt"
    book.write_text("x" * 64 + stored.ljust(32, "x")[:32] + "x" * 40 + "\n")
    held = tmp_path / "long.txt"
    unseen = (EXAMPLES / "heldout.txt").read_text().splitlines()
    held.write_text("".join(f"{a} {b}\n" for a, b in zip(unseen[::2], unseen[1::2], strict=True)))
    done = uddm("entropy", MEMORIZING, book, "--heldout", held, "-o", tmp_path / "o.jsonl")
    assert done.exit_code == 0, done.output
    (row,) = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert (row["windows"], row["window_offset"], row["tokens"]) == (5, 64, 136)
    assert row["p_value"] == pytest.approx(5 / (row["references"] + 1))
    assert "book.txt:1 +64" in done.stdout


def test_twins_and_reference_models_give_verdicts_on_the_command_line(lines, some_heldout):
    done = uddm("entropy", MEMORIZING, lines, "--twins", "99", "--slot", "letters")
    assert done.exit_code == 0 and "99 twins a text" in done.stdout and "FAMILIAR" in done.stdout
    gate = uddm("basins", MEMORIZING, lines, *QUICK, "--twins", "99", "--slot", "{}", "--fail-on", "memorized")
    assert gate.exit_code == 1
    done = uddm("entropy", MEMORIZING, lines, "--heldout", some_heldout, "--reference-model", GENERALIZING)
    assert done.exit_code == 0 and "reference model" in done.stdout
    assert re.search(r"leaked\.txt:1 .* FAMILIAR", done.stdout)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--twins", "9", "--heldout", HELDOUT], "--twins is a comparison of its own"),
        (["--reference-model", GENERALIZING], "--reference-model needs --heldout"),
        (["--slot", "digits"], "no --twins was given"),
        (["--twins", "9", "--slot", "card"], "--slot card"),
        (["--fail-on", "memorized"], "--fail-on needs --heldout or --twins"),
        (["--restart"], "no -o was given"),
        (["--levels", "1e-9"], "outside what the log-linear schedule reaches"),
        (
            ["--heldout", HELDOUT, "--reference-model", GENERALIZING, "-o", f"csv={GENERALIZING}/config.json"],
            "of the model",
        ),
        (["-o", "table.docx"], "unknown kind of output"),
        (["-o", "-"], "-o -"),
        (["--input-format", "doc"], "unknown input format"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_anything_is_loaded(lines, options, message):
    begun = time.monotonic()
    done = uddm("basins", MEMORIZING, lines, *options)
    assert done.exit_code == 2
    assert message in done.output
    assert time.monotonic() - begun < 30


PEAK = """
import resource, sys
from audit_cli.cli import main
try:
    main()
finally:
    print("PEAK", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
"""


def peak_of(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=EXAMPLES.parent,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split("PEAK")[1])


@pytest.mark.slow
def test_twenty_times_as_many_texts_take_no_more_memory(tmp_path):
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefghijklmnop ", k=draw.randrange(20, 33))) + "x\n" for _ in range(40_000)]
    peaks = []
    for count in (2_000, 40_000):
        path = tmp_path / f"{count}.txt"
        path.write_text("".join(texts[:count]))
        peaks.append(peak_of("entropy", MEMORIZING, path, "--heldout", HELDOUT, "-o", tmp_path / f"{count}.csv", "-q"))
    assert peaks[1] <= 1.05 * peaks[0]


def test_a_text_stands_in_no_output_unless_it_is_asked_for(some_heldout, tmp_path):
    marker = "zqxjvkwzqxjvkw"
    path = tmp_path / "in.jsonl"
    rows = [
        {"text": f"the {marker} a"},
        {"text": f"the {marker} a"},
        {"text": f"{marker} 4111 é"},
        {"text": marker * 9000},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + f'{{"text": "{marker}\n')
    outputs = [part for kind in ("csv", "jsonl", "parquet", "md") for part in ("-o", tmp_path / f"o.{kind}")]
    for command, second in (("basins", "--per-level"), ("entropy", "--per-token")):
        levels = ["--levels", ".25", "--restarts", "2"] if command == "basins" else []
        done = uddm(command, MEMORIZING, path, "--heldout", some_heldout, *levels, *outputs, second, "-vv")
        assert done.exit_code == 0, done.output
        assert marker not in done.output
        for file in tmp_path.glob("o.*"):
            assert marker.encode() not in file.read_bytes(), file
        # Neither letter by letter.
        pieces = [json.loads(line) for line in (tmp_path / "o.per-token.jsonl").open()] if command == "entropy" else []
        assert all(piece["token"] is None and piece["top_token"] is None for piece in pieces)
        full = uddm(command, MEMORIZING, path, "--heldout", some_heldout, *levels, *outputs, "--show-text", "full")
        assert full.exit_code == 0 and marker in full.output
        assert marker in (tmp_path / "o.csv").read_text() and marker in (tmp_path / "o.md").read_text()
