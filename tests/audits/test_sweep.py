"""A sweep: which lines a model is trained on, what is kept between runs, and what comes out."""

import csv
import io
import json
import re
import shutil
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from audit_cli.audits import sweep as sweeping
from audit_cli.audits.sweep import Corpus, Sweep
from audit_cli.audits.sweep_report import sweep_report
from audit_cli.audits.sweep_settings import ALL, SweepError, SweepSettings, changes_of
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.records import RunInfo
from audit_cli.reports.sweep import write_sweep
from audit_cli.training import TrainingSettings
from tests.cli.test_commands import EXAMPLES, uddm

VERSES = (EXAMPLES / "kjv.txt").read_text().splitlines()
# From everywhere, so that few begin alike.
LINES = VERSES[::61]
TINY = SweepSettings(
    sizes=(8, 16, ALL),
    texts=24,
    samples=8,
    restarts=1,
    levels=(0.1, 0.25),
    sampling_steps=4,
    width=16,
    layers=1,
    heads=2,
    length=16,
    training=TrainingSettings(steps=20),
)


def encoded(lines, settings=TINY):
    tokenizer = train_tokenizer("char", VERSES[:500], "cut", "letters")
    return tokenizer, Corpus.of(lines, tokenizer.encode, settings)


def swept(folder, settings=TINY, lines=LINES[:120]):
    tokenizer, corpus = encoded(lines, settings)
    return Sweep(corpus, tokenizer, settings, folder, torch.device("cpu"), Watch())


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    home = tmp_path_factory.mktemp("sweep")
    return home, list(swept(home).cells())


class TestCorpus:
    def test_each_training_set_holds_the_smaller_ones_and_no_heldout_line(self):
        _, corpus = encoded(LINES[:200])
        sets = [corpus.training(size) for size in (8, 16, 64, ALL)]
        for small, large in pairwise(sets):
            assert large[: len(small)] == small
        assert not set(corpus.heldout) & set(sets[-1])
        assert len(corpus.heldout) == TINY.texts
        assert len(sets[-1]) + len(corpus.heldout) + corpus.left_out == 200

    def test_a_line_that_occurs_twice_is_trained_on_as_often_and_never_held_out(self):
        lines = [*LINES[:60], *LINES[:20]]
        _, corpus = encoded(lines)
        cut = {corpus_line for corpus_line in corpus.pool if corpus.pool.count(corpus_line) > 1}
        assert len(cut) >= 15
        assert not cut & set(corpus.heldout)

    def test_lines_cut_to_the_same_tokens_are_one_text(self):
        beginning = "in the beginning god created"
        _, corpus = encoded([*LINES[:60], f"{beginning} one", f"{beginning} two"])
        tokenizer, _ = encoded(LINES[:60])
        assert tokenizer.encode(beginning)[: TINY.length] not in corpus.heldout

    def test_too_few_lines_say_what_is_needed(self):
        with pytest.raises(SweepError, match=r"30 usable lines: 24 are held out, and the largest .* takes 16"):
            encoded(LINES[:30])
        with pytest.raises(SweepError, match="occur once"):
            encoded([LINES[0]] * 100)


def test_a_cell_has_every_text_once(folder):
    _, cells = folder
    assert [cell.size for cell in cells] == [8, 16, 96]
    for cell in cells:
        # Two of the hundred and twenty lines begin alike, and are not compared with lines that occur once.
        assert min(cell.size, TINY.texts) - 4 <= len(cell.train.entropy) <= min(cell.size, TINY.texts)
        assert len(cell.heldout.entropy) == len(cell.nelbo) == TINY.texts
        assert [len(level) for level in cell.heldout.recovery] == [TINY.texts] * 2
        assert len(cell.samples.entropy) == len(cell.samples.copy) == TINY.samples
        assert np.isfinite(cell.nelbo).all()
        # The bound on all 16 positions, before much is learned, is not far from a uniform guess.
        assert np.mean(cell.nelbo) < 2 * np.log(27)


def test_what_is_made_is_not_made_again(folder, monkeypatch):
    home, cells = folder
    monkeypatch.setattr(sweeping, "train", None)
    assert list(swept(home).cells()) == cells
    assert swept(home).missing() == 0


def test_a_cell_that_was_stopped_is_made_anew_and_comes_out_the_same(folder, tmp_path, monkeypatch):
    _, cells = folder

    def stopped(*given, **named):
        yield next(train(*given, **named))
        raise KeyboardInterrupt

    train = sweeping.train
    cell = iter(swept(tmp_path).cells())
    next(cell)
    monkeypatch.setattr(sweeping, "train", stopped)
    with pytest.raises(KeyboardInterrupt):
        next(cell)
    monkeypatch.undo()
    again = swept(tmp_path)
    assert again.missing() == 2
    assert [replace(cell, seconds=0) for cell in again.cells()] == [replace(cell, seconds=0) for cell in cells]


@pytest.mark.parametrize(
    "other",
    [
        lambda home: swept(home, replace(TINY, training=TrainingSettings(steps=21))),
        lambda home: swept(home, replace(TINY, schedule="cosine")),
        lambda home: swept(home, lines=LINES[:121]),
    ],
)
def test_models_of_other_settings_or_another_corpus_are_not_written_over(folder, other):
    home, _ = folder
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    with pytest.raises(SweepError, match=r"8: was made of another corpus, with other settings"):
        other(home)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_what_no_sweep_made_is_not_written_over(folder, tmp_path):
    (tmp_path / "16").mkdir()
    assert swept(tmp_path).missing() == 3
    (tmp_path / "16" / "thesis.txt").write_text("mine")
    with pytest.raises(SweepError, match=r"16: is there, and no sweep made it"):
        swept(tmp_path)
    (tmp_path / "16" / "thesis.txt").unlink()
    (tmp_path / f"16{sweeping.MEASURED}").write_text("{")
    with pytest.raises(SweepError, match=r"is not what the sweep wrote"):
        swept(tmp_path)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda record, _: record["cell"].update(size=-3),
        lambda record, _: record["cell"].update(nelbo=[1e308] * TINY.texts),
        lambda record, _: record["cell"]["train"].update(recovery=[[0.1]]),
        lambda _, model: (model / "model.safetensors").unlink(),
        lambda _, model: (model / "config.json").write_text("{}"),
    ],
)
def test_what_was_changed_after_it_was_measured_is_not_believed(folder, tmp_path, spoil):
    home, _ = folder
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    file = tmp_path / f"8{sweeping.MEASURED}"
    assert swept(tmp_path).missing() == 0
    record = json.loads(file.read_bytes())
    spoil(record, tmp_path / "8")
    file.write_text(json.dumps(record))
    with pytest.raises(SweepError, match=r"is not what the sweep wrote, or .*8 is not"):
        swept(tmp_path)


class TestVariants:
    def test_a_change_is_read_as_it_is_written(self):
        varied = TINY.varied(changes_of("backbone=dit, learning-rate=0.003,width=32"))
        assert varied == replace(TINY, backbone="dit", width=32, training=replace(TINY.training, learning_rate=0.003))

    @pytest.mark.parametrize(
        ("change", "says"),
        [
            ("cosine", "'cosine' is no change; NAME=VALUE"),
            ("sizes=3", "'sizes=3' is no change"),
            ("schedule=quadratic", "'quadratic' is none of its values"),
            ("width=0", "'0' is none of its values"),
            ("learning-rate=fast", "'fast' is none of its values"),
            ("", "'' is no change"),
            ("learning-rate=nan", "'nan' is none of its values"),
            ("learning-rate=-1", "'-1' is none of its values"),
            ("layers=100000", "'100000' is none of its values"),
            ("steps=5,steps=6", "changes steps twice"),
        ],
    )
    def test_what_is_none_says_what_is(self, change, says):
        with pytest.raises(SweepError, match=re.escape(says)):
            changes_of(change)


def test_a_larger_sweep_takes_over_the_sizes_that_are_there(folder):
    home, _ = folder
    assert swept(home, replace(TINY, sizes=(8, 12, 16, ALL))).missing() == 1


def test_the_files_hold_every_value_with_its_interval(folder, tmp_path):
    _, cells = folder
    run = RunInfo("sweep", "0", {"seed": 0}, "", "cpu", "float32", "", 1.0, 0)
    report = sweep_report(cells, TINY.deciding, run, 0)
    files = {path.name: path for path in write_sweep(report, tmp_path)}
    rows = list(csv.DictReader(io.StringIO(files["sweep.csv"].read_text())))
    assert [row["size"] for row in rows] == ["8", "16", "96"]
    assert float(rows[0]["recovery_train_at_0.25"]) == pytest.approx(np.mean(cells[0].train.recovery[1]))
    assert float(rows[0]["perplexity"]) == pytest.approx(np.exp(np.mean(cells[0].nelbo)))
    for row in rows:
        for name in row:
            if f"{name}_low" in row:
                assert float(row[f"{name}_low"]) <= float(row[name]) <= float(row[f"{name}_high"])
    facts = json.loads(files["sweep.meta.json"].read_text())
    assert [point["name"] for point in facts["transition"]] == ["half", "meet", "known"]
    assert ElementTree.parse(files["sweep.svg"]).getroot().tag.endswith("svg")  # noqa: S314 - our own file
    before = files["sweep.svg"].read_bytes()
    write_sweep(report, tmp_path)
    assert files["sweep.svg"].read_bytes() == before


def test_seeds_are_units_where_there_are_three(folder):
    _, cells = folder
    three = [replace(cells[0], seed=seed) for seed in range(3)]
    run = RunInfo("sweep", "0", {}, "", "cpu", "float32", "", 1.0, 0)
    row = sweep_report(three, TINY.deciding, run, 0).rows[0]
    # Models that agree to the last bit leave no doubt about seeds.
    assert row.entropy_train.low == row.entropy_train.high == pytest.approx(row.entropy_train.value)
    assert row.seeds == 3


def test_an_interval_over_seeds_holds_what_can_be(folder):
    _, cells = folder
    copies = [replace(cells[0].samples, copy=(True,) * n + (False,) * (8 - n)) for n in (8, 8, 6)]
    three = [replace(cells[0], seed=seed, samples=own) for seed, own in enumerate(copies)]
    found = sweep_report(three, TINY.deciding, RunInfo("sweep", "0", {}, "", "cpu", "float32", "", 1.0, 0), 0).rows[0]
    # Mean 11/12, standard error 1/12, and 4.303 of them on either side.
    assert (found.copies.value, found.copies.high) == (pytest.approx(11 / 12), 1.0)
    assert found.copies.low == pytest.approx(11 / 12 - 4.3026527 / 12)


@pytest.mark.slow
def test_few_lines_are_stored_and_many_are_not(tmp_path):
    """The paper's finding at the smallest scale that shows it: two networks of a thousand steps."""
    settings = SweepSettings(
        sizes=(16, ALL), texts=128, samples=32, width=64, training=TrainingSettings(steps=1000, learning_rate=8e-3)
    )
    few, many = swept(tmp_path, settings, VERSES).cells()
    k = settings.deciding

    def gap(cell):
        return np.mean(cell.train.recovery[k]) - np.mean(cell.heldout.recovery[k])

    assert gap(few) > 0.5
    assert abs(gap(many)) < 0.1
    assert np.mean(few.train.entropy) < 0.3 < 1.0 < np.mean(many.train.entropy)


class TestCommand:
    def test_a_small_sweep_from_the_command_line(self, tmp_path):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        quick = ["--steps", "5", "--texts", "16", "--samples", "8", "--width", "16", "--layers", "1", "--heads", "2"]
        command = ["sweep", corpus, "-o", tmp_path / "runs", "--preset", "demo", "--sizes", "32,8", *quick]
        done = uddm(*command)
        assert done.exit_code == 0, done.output
        assert "N_half" in done.stdout
        assert (tmp_path / "runs" / "8" / "model.safetensors").exists()
        again = uddm(*command)
        assert "going on: 2 of 2 models are there" in again.stderr

    def test_variants_come_in_one_table(self, tmp_path):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        quick = ["--steps", "5", "--texts", "16", "--samples", "8", "--width", "16", "--layers", "1", "--heads", "2"]
        vary = ["--vary", "backbone=timeless", "--vary", "backbone=dit,loss=elbo", "--vary", "width=32"]
        runs = tmp_path / "runs"
        done = uddm("sweep", corpus, "-o", runs, "--sizes", "8,32", *quick, *vary)
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(io.StringIO((runs / "variants.csv").read_text())))
        assert [row["variant"] for row in rows] == [
            "as given",
            "backbone=timeless",
            "backbone=dit,loss=elbo",
            "width=32",
        ]
        assert [row["loss"] for row in rows] == ["resampled", "resampled", "elbo", "resampled"]
        own = list(csv.DictReader(io.StringIO((runs / "backbone-dit_loss-elbo" / "sweep.csv").read_text())))
        assert rows[2]["recovery_train_smallest"] == own[0]["recovery_train_at_0.25"]
        assert rows[2]["perplexity_largest"] == own[-1]["perplexity"]
        # A network that is not told the time has the parameters of one that is, without those of its time.
        assert int(rows[0]["parameters"]) - int(rows[1]["parameters"]) == 2 * (16 * 16 + 16)
        assert (
            json.loads((runs / "backbone-timeless" / "8" / "config.json").read_text())["backbone"]["name"] == "timeless"
        )
        for row in rows:
            assert row["variant"] in done.stdout

    def test_equal_changes_are_one_variant(self, tmp_path):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        quick = ["--steps", "2", "--texts", "16", "--samples", "8", "--width", "16", "--layers", "1", "--heads", "2"]
        runs = tmp_path / "runs"
        same = ["--vary", "width=8", "--vary", " width = 8\n", "--vary", "width=08"]
        done = uddm("sweep", corpus, "-o", runs, "--sizes", "8", *quick, *same)
        assert done.exit_code == 0, done.output
        rows = list(csv.DictReader(io.StringIO((runs / "variants.csv").read_text())))
        assert [row["variant"] for row in rows] == ["as given", "width=8"]
        assert {path.name for path in runs.iterdir() if path.is_dir()} == {"8", "width-8"}

    @pytest.mark.parametrize("name", ["sweep.csv", "sweep.meta.json", "variants.png", "width-8/sweep.csv"])
    def test_files_of_others_are_not_written_over(self, tmp_path, name):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        file = tmp_path / "runs" / name
        file.parent.mkdir(parents=True)
        file.write_text("mine")
        done = uddm("sweep", corpus, "-o", tmp_path / "runs", "--sizes", "8", "--texts", "16", "--vary", "width=8")
        assert done.exit_code == 2, done.output
        assert "was not written by uddm-audit" in done.stderr
        assert file.read_text() == "mine"
        assert not (tmp_path / "runs" / "8").exists()

    def test_the_corpus_is_not_written_over(self, tmp_path):
        corpus = tmp_path / "sweep.csv"
        corpus.write_text("text\n" + "\n".join(line.replace(",", "") for line in LINES[:80]) + "\n")
        before = corpus.read_bytes()
        done = uddm("sweep", corpus, "-o", tmp_path, "--sizes", "8", "--texts", "16", "--steps", "2")
        assert done.exit_code == 2, done.output
        assert "is one of the inputs" in done.stderr
        assert corpus.read_bytes() == before

    def test_a_stopped_sweep_says_that_nothing_is_lost(self, tmp_path, monkeypatch):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        monkeypatch.setattr(sweeping.Sweep, "_trained", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        done = uddm("sweep", corpus, "-o", tmp_path / "runs", "--sizes", "8", "--texts", "16", "--steps", "5")
        assert done.exit_code == 130
        assert "the same command goes on" in done.stderr

    def test_a_loss_that_is_no_number_is_no_fault_of_the_options(self, tmp_path):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        wild = ["--learning-rate", "1e30", "--steps", "30"]
        done = uddm("sweep", corpus, "-o", tmp_path / "runs", "--sizes", "8", "--texts", "16", *wild)
        assert done.exit_code == 3, done.output
        assert "try a smaller --learning-rate; finished models stay" in done.stderr

    @pytest.mark.parametrize(
        ("options", "says"),
        [
            (["--sizes", "8,x"], "no list of sizes"),
            (["--vary", "width=97"], "width 97"),
            (["--vary", "width=96"], "changes nothing"),
            (["--sizes", "0"], "at least 1"),
            (["--sizes", "5000"], "usable lines"),
            (["--tokenizer", "gone.json"], "gone.json"),
            (["--heads", "5"], "heads"),
        ],
    )
    def test_what_cannot_be_swept_is_told_before_anything_is_trained(self, tmp_path, options, says):
        corpus = tmp_path / "corpus.txt"
        corpus.write_text("\n".join(LINES[:80]) + "\n")
        done = uddm("sweep", corpus, "-o", tmp_path / "runs", "--texts", "16", "--sizes", "8", *options)
        assert done.exit_code == 2, done.output
        assert says in done.output
        assert "Traceback" not in done.output
