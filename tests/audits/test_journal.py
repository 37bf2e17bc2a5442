"""What a journal keeps, for whom, and what it refuses."""

import os
import sqlite3
import subprocess
import sys

import pytest

from audit_cli.audits.journal import Journal, JournalError, OtherSettings
from audit_cli.records import Candidate, Row

KEY = b"a key for tests"


def row(*tokens):
    return Row(Candidate("f", 1, "f:1", "secret words"), tokens, 0, len(tokens))


def test_what_was_filed_is_there_when_the_run_goes_on(tmp_path):
    path = tmp_path / "out.csv.part"
    first = Journal(path, KEY)
    key = first.row_key("row", row(1, 2, 3))
    first.put([(key, "", b"measured"), (first.key("row", (9,)), "not a number", None)])
    first.close()
    again = Journal(path, KEY)
    assert again.get(key) == ("", b"measured")
    assert again.get(again.key("row", (9,))) == ("not a number", None)
    assert again.count() == 2
    again.finish()
    assert not path.exists()


def test_a_journal_that_holds_nothing_is_not_left_behind(tmp_path):
    path = tmp_path / "out.csv.part"
    Journal(path, KEY).close()
    assert list(tmp_path.iterdir()) == []


def test_other_settings_are_named_and_refused_until_told_to_begin_anew(tmp_path):
    path = tmp_path / "out.csv.part"
    first = Journal(path, KEY)
    first.bind({"restarts": 8, "steps": 16, "levels": (0.1, 0.2)})
    first.put([(b"k", "", b"x")])
    first.close()
    again = Journal(path, KEY)
    again.bind({"steps": 16, "restarts": 8, "levels": (0.1, 0.2)})
    with pytest.raises(OtherSettings, match=r"keeps 1 measurements .* restarts \(was 8, now 9\).*--restart"):
        again.bind({"restarts": 9, "steps": 16, "levels": (0.1, 0.2)})
    again.close()
    anew = Journal(path, KEY, restart=True)
    anew.bind({"restarts": 9, "steps": 16})
    assert anew.count() == 0


def test_another_key_is_another_setting(tmp_path):
    first = Journal(tmp_path / "a.part", KEY)
    first.bind({})
    first.put([(b"k", "", b"x")])
    first.close()
    with pytest.raises(OtherSettings, match="fingerprint key"):
        Journal(tmp_path / "a.part", b"another key").bind({})


def test_two_runs_on_one_output_refuse_each_other_even_when_one_begins_anew(tmp_path):
    first = Journal(tmp_path / "a.part", KEY)
    first.put([(b"k", "", b"x")])
    for restart in (False, True):
        with pytest.raises(JournalError, match="another run is writing"):
            Journal(tmp_path / "a.part", KEY, restart=restart)
    assert first.get(b"k") == ("", b"x")


@pytest.mark.parametrize("content", [b"a file of someone's", b"SQLite format 3\0" + b"\0" * 200])
def test_a_file_of_someone_else_is_left_alone(tmp_path, content):
    path = tmp_path / "a.part"
    path.write_bytes(content)
    with pytest.raises(JournalError, match="no journal"):
        Journal(path, KEY)
    assert path.read_bytes() == content


def test_an_empty_file_is_a_journal_that_was_stopped_at_once(tmp_path):
    (tmp_path / "a.part").touch()
    journal = Journal(tmp_path / "a.part", KEY)
    journal.put([(b"k", "", b"x")])
    assert journal.count() == 1


def test_a_link_and_a_folder_are_refused(tmp_path):
    (tmp_path / "a.part").symlink_to(tmp_path / "b")
    (tmp_path / "c.part").mkdir()
    for name in ("a.part", "c.part"):
        with pytest.raises(JournalError):
            Journal(tmp_path / name, KEY)


def test_a_damaged_journal_says_so(tmp_path):
    path = tmp_path / "a.part"
    journal = Journal(path, KEY)
    journal.put([(bytes([i, j]), "", b"x" * 500) for i in range(40) for j in range(20)])
    journal.close()
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(JournalError, match="damaged"):
        Journal(path, KEY).count()


def test_a_portion_is_filed_whole_or_not_at_all(tmp_path):
    journal = Journal(tmp_path / "a.part", KEY)

    def broken():
        yield (b"one", "", b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.put(broken())
    assert journal.count() == 0
    journal.put([(b"two", "", b"x")])
    assert journal.count() == 1


def test_it_holds_neither_text_nor_a_hash_that_someone_could_guess(tmp_path):
    path = tmp_path / "a.part"
    journal = Journal(path, KEY)
    with journal.texts_anew():
        key = journal.row_key("row", row(1, 2, 3))
        journal.add_text(0, "f:1", key, 3)
        journal.add_windows(0, [(0, key)])
    journal.put([(key, "", b"x")])
    other = Journal(None, b"another key")
    assert key != other.row_key("row", row(1, 2, 3))
    journal.close()
    content = path.read_bytes()
    assert b"secret" not in content and KEY not in content
    assert path.stat().st_mode & 0o077 == 0


def test_equal_texts_share_the_first_ones_place():
    journal = Journal(None, KEY)
    with journal.texts_anew():
        for position, tokens in enumerate([(1, 2), (3,), (1, 2), (1, 2)]):
            key = journal.row_key("row", row(*tokens))
            entry = journal.add_text(position, f"f:{position}", key, len(tokens))
            if entry.first == position:
                journal.add_windows(position, [(0, key)])
        journal.add_text(4, "f:4", None, None, "no text")
    assert [(e.first, e.windows, e.reason) for e in journal.texts()] == [
        (0, 1, ""), (1, 1, ""), (0, 1, ""), (0, 1, ""), (4, 0, "no text"),
    ]  # fmt: skip
    assert [p[:3] for p in journal.parts()] == [(0, 0, 0), (1, 0, 0)]
    with journal.texts_anew():
        pass
    assert list(journal.texts()) == []


def test_layout_and_kind_are_part_of_a_key():
    journal = Journal(None, KEY)
    bare = row(1, 2, 0, 0)
    padded = Row(bare.candidate, bare.tokens, 0, 2)
    keys = {journal.row_key("row", bare), journal.row_key("row", padded), journal.row_key("reference", bare)}
    assert len(keys) == 3


def filled(path):
    journal = Journal(path, KEY)
    journal.bind({"steps": 16})
    journal.put([(bytes([i]), "", b"measured") for i in range(20)])
    journal.close()


HOSTILE = [
    "DROP TABLE facts; CREATE VIEW facts AS SELECT 'identity' AS name, '{}' AS value, x'' AS seal",
    "CREATE TRIGGER t AFTER INSERT ON measured BEGIN DELETE FROM measured; END",
    "CREATE TABLE more (x)",
    "ALTER TABLE measured ADD COLUMN more",
    "UPDATE facts SET value = 'x'",
    "UPDATE facts SET value = NULL",
    "UPDATE facts SET value = '[]'",
    "UPDATE facts SET value = replace(value, '16', '17')",
    "UPDATE facts SET value = CAST(x'ff' AS TEXT)",
    "UPDATE measured SET data = x'c1'",
    "UPDATE measured SET data = NULL",
    "UPDATE measured SET data = 5",
    "UPDATE measured SET data = zeroblob(100000000)",
    "UPDATE measured SET reason = 'why'",
    "UPDATE measured SET reason = x'00'",
    "UPDATE measured SET reason = CAST(x'ff' AS TEXT)",
    "UPDATE measured SET seal = NULL",
]


@pytest.mark.parametrize("statement", HOSTILE)
def test_what_was_written_into_a_journal_from_outside_is_no_measurement(tmp_path, statement):
    path = tmp_path / "a.part"
    filled(path)
    db = sqlite3.connect(path)
    db.executescript(statement)
    db.close()
    with pytest.raises(JournalError, match="damaged; remove it"):
        look_at(Journal(path, KEY))
    anew = Journal(path, KEY, restart=True)
    anew.bind({"steps": 17})
    assert anew.count() == 0


def look_at(journal):
    try:
        journal.bind({"steps": 16})
        for i in range(20):
            if journal.get(bytes([i])) is None:
                raise AssertionError("it is gone, and nobody says so")
    finally:
        journal.close()


def test_a_stream_that_is_given_up_says_nothing_of_a_closed_journal(tmp_path):
    journal = Journal(tmp_path / "a.part", KEY)
    with journal.texts_anew():
        for position in range(5):
            key = journal.row_key("row", row(position))
            journal.add_text(position, "f", key, 1)
            journal.add_windows(position, [(0, key)])
    streams = [journal.parts(), journal.texts()]
    for stream in streams:
        next(stream)
    journal.close()
    for stream in streams:
        stream.close()
        assert next(stream, None) is None


@pytest.mark.parametrize("suffix", ["-journal", "-wal", "-shm"])
def test_files_that_sqlite_would_take_for_its_own_are_left_alone(tmp_path, suffix):
    other = tmp_path / f"a.part{suffix}"
    other.write_text("precious")
    with pytest.raises(JournalError, match="no journal"):
        Journal(tmp_path / "a.part", KEY)
    assert other.read_text() == "precious"
    other.unlink()
    other.symlink_to(tmp_path / "elsewhere")
    filled(tmp_path / "b.part")
    (tmp_path / "b.part").rename(tmp_path / "a.part")
    with pytest.raises(JournalError, match="no journal"):
        Journal(tmp_path / "a.part", KEY)


FILL = """
import resource, sys
from pathlib import Path
from audit_cli.audits.journal import DiskFull, Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
journal = Journal(Path(sys.argv[1]), b"k")
try:
    for i in range(1000):
        journal.put([(bytes([i // 256, i % 256]), "", b"x" * 1000)])
except DiskFull as error:
    print(error)
    journal.close()
"""


def test_a_full_disk_keeps_what_was_filed(tmp_path):
    path = tmp_path / "out.csv.part"
    done = subprocess.run([sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=False)
    assert "the disk is full. What was measured is kept there" in done.stdout, done
    journal = Journal(path, b"k")
    assert journal.count() > 50
