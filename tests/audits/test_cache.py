"""Held-out scores between runs: a second run measures the candidates alone, and nothing that goes wrong is noticed."""

import os
import shutil
import sqlite3
import threading
from dataclasses import replace

import pytest

from audit_cli.audits import BasinSettings, Comparison, EntropySettings, Journal, cache
from audit_cli.checkpoints.memory import Memory
from audit_cli.redaction import Redaction, ShowText
from tests.audits.test_audits import texts
from tests.audits.test_calibrate import PROBES, QUICK
from tests.audits.test_stream import Counting, Evaluations

KEY = b"a key for tests"
CODE = cache._code.__wrapped__


@pytest.fixture(autouse=True)
def _still_code(monkeypatch):
    """The files of the program may change while these tests run."""
    monkeypatch.setattr(cache, "_code", lambda: "code")


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "cache"


@pytest.fixture
def kept(memorizing, folder):
    return replace(memorizing, memory=Memory(folder))


def run(model, command="entropy", heldout=40, settings=None, key=KEY, watch=None, journal=None, candidates=6):
    build, report, own = PROBES[command]
    counted = Evaluations(model.denoiser)
    audit = build(
        replace(model, denoiser=counted),
        texts("candidates.txt", candidates),
        Comparison(texts("heldout.txt", heldout)),
        settings or own,
        watch or Counting(),
        journal or Journal(None, key),
    )
    made = report(audit, Redaction(ShowText.FINGERPRINT, key))
    return made, list(made.results), counted.rows


def files(folder):
    return sorted((folder / cache.FOLDER).glob("*"))


@pytest.mark.parametrize("command", PROBES)
def test_a_second_run_measures_the_candidates_alone_and_says_the_same(kept, folder, command):
    first, results, evaluations = run(kept, command)
    again, same, fewer = run(kept, command)
    assert same == results
    assert again.counts == first.counts
    assert again.run.evaluations == first.run.evaluations
    assert again.run.settings_id == first.run.settings_id
    assert replace(again.heldout, recalled=0) == first.heldout
    assert first.heldout.recalled == 0
    assert again.heldout.recalled == first.heldout.measured
    assert fewer < evaluations
    assert len(files(folder)) == 1


def test_more_heldout_text_measures_what_is_new(kept):
    run(kept, heldout=30)
    second, results, _ = run(kept, heldout=40)
    alone, same, _ = run(replace(kept, memory=Memory()), heldout=40)
    assert results == same
    assert 0 < second.heldout.recalled < second.heldout.measured
    assert alone.heldout.recalled == 0


def test_without_a_folder_nothing_is_kept(memorizing, tmp_path):
    run(replace(memorizing, memory=Memory()))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other",
    [{"settings": EntropySettings(seed=1)}, {"settings": EntropySettings(t=0.1, draws=1)}, {"key": b"another"}],
)
def test_what_was_measured_otherwise_is_no_use(kept, folder, other):
    run(kept)
    report, results, _ = run(kept, **other)
    assert report.heldout.recalled == 0
    assert results == run(replace(kept, memory=Memory()), **other)[1]
    assert len(files(folder)) == 2


def test_other_code_measures_anew(kept, monkeypatch):
    run(kept)
    monkeypatch.setattr(cache, "_code", lambda: "other code")
    assert run(kept)[0].heldout.recalled == 0
    monkeypatch.setattr(cache, "_code", lambda: None)
    assert run(kept)[0].heldout.recalled == 0


def test_what_decides_no_score_is_no_difference(kept):
    run(kept)
    other = EntropySettings(fdr=0.2, batch_size=3, per_token=True, samples=4, sample_steps=2)
    assert run(kept, settings=other)[0].heldout.recalled > 0


def test_the_files_are_the_owners_and_hold_no_text(kept, folder):
    run(kept)
    (file,) = files(folder)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    words = {word for text in texts("heldout.txt", 40) for word in text.text.split() if len(word) > 5}
    content = file.read_bytes().decode("latin-1")
    assert not [word for word in words if word in content]


def damaged_at(content, at):
    return content[:at] + bytes(255 - b for b in content[at : at + 600]) + content[at + 600 :]


@pytest.mark.parametrize(
    "damage",
    [
        lambda c: b"",
        lambda c: c[: len(c) // 2],
        lambda c: b"no database",
        lambda c: damaged_at(c, 0),
        lambda c: damaged_at(c, 4096),
        lambda c: damaged_at(c, len(c) // 2),
        lambda c: damaged_at(c, len(c) - 2000),
    ],
)
def test_a_damaged_file_is_measured_anew(kept, folder, damage):
    _, results, _ = run(kept)
    (file,) = files(folder)
    file.write_bytes(damage(file.read_bytes()))
    assert run(kept)[1] == results
    assert run(kept)[0].heldout.recalled > 0


def test_a_score_that_somebody_changed_is_not_taken(kept, folder):
    _, results, _ = run(kept)
    (file,) = files(folder)
    with sqlite3.connect(file) as db:
        rows = db.execute("SELECT key, data FROM measured").fetchall()
        db.executemany("UPDATE measured SET data = ? WHERE key = ?", [(rows[0][1], key) for key, _ in rows])
    assert run(kept)[1] == results


def test_something_else_in_the_place_of_the_file_or_the_folder(kept, folder):
    _, results, _ = run(kept)
    (file,) = files(folder)
    file.unlink()
    os.mkfifo(file)
    assert run(kept)[1] == results
    file.unlink()
    file.mkdir()
    assert run(kept)[1] == results
    shutil.rmtree(folder / cache.FOLDER)
    (folder / cache.FOLDER).write_text("a file")
    assert run(kept)[1] == results


def test_a_folder_that_takes_nothing_is_as_good_as_none(kept, folder, monkeypatch):
    _, results, _ = run(replace(kept, memory=Memory()))

    def refuse(*_, **__):
        raise PermissionError(30, "Read-only file system")

    monkeypatch.setattr("pathlib.Path.touch", refuse)
    assert run(kept)[1] == results
    assert files(folder) == []


def test_a_full_disk_keeps_nothing_and_is_not_noticed(kept, folder, monkeypatch):
    own = Journal.another

    def small(self, path):
        journal = own(self, path)
        journal._db.execute("PRAGMA max_page_count = 5")
        return journal

    monkeypatch.setattr(Journal, "another", small)
    _, results, _ = run(replace(kept, memory=Memory()))
    assert run(kept)[1] == results
    assert files(folder) == []


def test_a_file_that_another_run_has_open_is_left_alone(kept, folder):
    _, results, _ = run(kept)
    (file,) = files(folder)
    with sqlite3.connect(file, isolation_level=None) as other:
        other.execute("BEGIN EXCLUSIVE")
        report, same, _ = run(kept)
        assert same == results
        assert report.heldout.recalled == 0
    other.close()
    assert run(kept)[0].heldout.recalled > 0


def test_two_runs_at_once_give_the_same(kept, folder):
    _, results, _ = run(replace(kept, memory=Memory()))
    found = []
    threads = [threading.Thread(target=lambda: found.append(run(kept)[1])) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [results] * 3
    assert run(kept)[0].heldout.recalled > 0


def test_a_run_that_is_stopped_keeps_what_it_has_measured(kept):
    settings = BasinSettings(levels=(0.1, 0.25), restarts=4)
    task = PROBES["basins"][0](kept, (), Comparison(), settings).task
    # Held-out text comes first.
    half = task.evaluations(None) * 20
    with pytest.raises(KeyboardInterrupt):
        run(kept, "basins", watch=Counting(half))
    report, *_ = run(kept, "basins")
    assert 0 < report.heldout.recalled < report.heldout.measured


def test_what_could_not_be_measured_is_tried_again(kept, monkeypatch):
    real = type(PROBES["entropy"][0](kept, (), Comparison(), EntropySettings()).task).measure

    def failing(self, denoiser, rows):
        from audit_cli.records import Skipped

        for i, measured in enumerate(real(self, denoiser, rows)):
            yield Skipped(rows[i].candidate, "no number") if i == 0 else measured

    with monkeypatch.context() as patch:
        patch.setattr("audit_cli.audits.entropy.EntropyTask.measure", failing)
        assert run(kept)[0].heldout.skipped > 0
    report, results, _ = run(kept)
    assert report.heldout.skipped == 0
    assert results == run(replace(kept, memory=Memory()))[1]


def test_files_that_were_not_used_for_longest_are_removed(kept, folder, monkeypatch):
    monkeypatch.setattr(cache, "MOST_FILES", 3)
    for seed in range(5):
        run(kept, settings=EntropySettings(seed=seed), heldout=3)
        for age, file in enumerate(sorted(files(folder), key=lambda f: f.stat().st_mtime_ns, reverse=True)):
            os.utime(file, ns=(10**18 - age, 10**18 - age))
    assert len(files(folder)) == 3
    assert run(kept, settings=EntropySettings(seed=4), heldout=3)[0].heldout.recalled == 3
    assert run(kept, settings=EntropySettings(seed=0), heldout=3)[0].heldout.recalled == 0
    monkeypatch.setattr(cache, "MOST_BYTES", 1)
    run(kept, settings=EntropySettings(seed=9), heldout=3)
    assert files(folder) == []


def test_a_calibration_takes_what_a_run_has_measured(kept):
    from audit_cli.audits.calibrate import Calibrator

    long = [text for text in texts("heldout.txt", 60) if len(kept.token_ids(text)) >= 32]
    audit = PROBES["basins"][0](kept, (), Comparison(), QUICK, Counting(), Journal(None, KEY))
    first = Calibrator(audit, long, (32, 32))
    first.made()
    again = PROBES["basins"][0](kept, (), Comparison(), QUICK, Counting(), Journal(None, KEY))
    second = Calibrator(again, long, (32, 32))
    assert second.made().encoded() == first.made().encoded()
    assert second.recalled == len(long) > 0


def test_code_that_changed_while_it_ran_keeps_nothing(monkeypatch):
    monkeypatch.setattr(cache, "LOADED", float("inf"))
    assert len(CODE()) == 64
    monkeypatch.setattr(cache, "LOADED", 0.0)
    assert CODE() is None
