"""A stream of texts is read again and again, and says so if its file has changed."""

import os
import subprocess
import sys
import tempfile
from io import BytesIO
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from audit_cli.candidates import CandidateError, GivenTexts, open_texts, snapshot
from audit_cli.records import Candidate


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "f.txt"
    path.write_bytes(b"one\ntwo\n")
    return path


@pytest.fixture
def stdin(monkeypatch):
    """Puts bytes on standard input."""
    return lambda content: monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=BytesIO(content)))


def texts(candidates):
    return [c.text for c in candidates]


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def test_every_pass_gives_the_same_candidates(path, tmp_path):
    pq.write_table(pa.table({"text": ["three", "four"]}), tmp_path / "g.parquet")
    opened = open_texts([path, tmp_path / "g.parquet"])
    assert list(opened) == list(opened)
    assert texts(opened) == ["one", "two", "three", "four"]
    assert opened.names == ("f.txt", "g.parquet")


def test_passes_do_not_disturb_each_other(path):
    opened = open_texts([path])
    first, second = iter(opened), iter(opened)
    assert [next(first).text, next(second).text, next(first).text, next(second).text] == ["one", "one", "two", "two"]


def test_a_pass_that_is_given_up_leaves_no_file_open(path):
    opened = open_texts([path])
    before = open_files()
    for _ in range(20):
        next(iter(opened))
    assert open_files() == before


def test_what_is_added_to_a_file_is_not_read(path):
    opened = open_texts([path])
    with path.open("ab") as file:
        file.write(b"three\n")
    assert texts(opened) == ["one", "two"]
    passing = iter(opened)
    next(passing)
    with path.open("ab") as file:
        file.write(b"four\n")
    assert texts(passing) == ["two"]


CHANGES = {
    "shorter": lambda path: path.write_bytes(b"one\n"),
    "rewritten": lambda path: path.write_bytes(b"one\nTWO\n"),
    "rewritten and longer": lambda path: path.write_bytes(b"0ne\ntwo\nthree\n"),
    "replaced": lambda path: (path.with_name("new").write_bytes(b"new\nnew\n"), path.with_name("new").replace(path)),
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changes_is_told_before_anything_of_the_change_is_given(path, change):
    opened = open_texts([path])
    change(path)
    with pytest.raises(CandidateError, match=r"f\.txt: the file changed while it was being audited"):
        next(iter(opened))


def test_an_empty_file_that_becomes_a_pipe_has_changed(tmp_path):
    path = tmp_path / "f.txt"
    path.touch()
    opened = open_texts([path])
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CandidateError, match="changed"):
        list(opened)


def test_a_change_far_into_a_file_is_told_when_it_is_reached(path, monkeypatch):
    monkeypatch.setattr(snapshot, "BLOCK_BYTES", 8)
    path.write_bytes(b"one two\nthree 4\nfive 66\n")
    opened = open_texts([path])
    assert len(texts(opened)) == 3
    path.write_bytes(b"one two\nthree 4\nfive 67\n")
    given = []
    with pytest.raises(CandidateError, match="changed"):
        given.extend(c.text for c in opened)
    assert "five 67" not in given


def test_a_file_that_is_replaced_by_its_copy_has_not_changed(path):
    opened = open_texts([path])
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    assert texts(opened) == ["one", "two"]


def test_a_file_that_is_gone_is_told(path):
    opened = open_texts([path])
    path.unlink()
    with pytest.raises(CandidateError, match="No such file"):
        list(opened)


def test_a_parquet_file_that_changes_is_told(tmp_path):
    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"text": ["one"]}), path)
    opened = open_texts([path])
    pq.write_table(pa.table({"text": ["two"]}), path)
    with pytest.raises(CandidateError, match="changed while it was being audited"):
        list(opened)


def test_standard_input_is_read_once_and_given_in_every_pass(stdin):
    stdin(b"one\ntwo\n")
    opened = open_texts([Path("-")])
    assert (
        list(opened)
        == list(opened)
        == [
            Candidate("stdin", 1, "stdin:1", "one"),
            Candidate("stdin", 2, "stdin:2", "two"),
        ]
    )
    assert opened.names == ("stdin",)


def test_the_kind_of_standard_input_can_be_said(stdin):
    stdin(b"text\na\n")
    assert texts(open_texts([Path("-")], kind="csv")) == ["a"]


def test_what_is_kept_of_standard_input_has_no_name_and_is_ours_alone(stdin, monkeypatch, tmp_path):
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    stdin(b"secret\n")
    opened = open_texts([Path("-")])
    assert list(folder.iterdir()) == []
    with opened.files[0].snapshot.opened() as view:
        assert os.fstat(view._descriptor).st_mode & 0o777 == 0o600
    assert texts(opened) == ["secret"]


def test_standard_input_that_is_closed_or_cannot_be_kept_is_told(stdin, monkeypatch):
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CandidateError, match="standard input: it is closed"):
        open_texts([Path("-")])
    stdin(b"a\n" * 100)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda: open("/dev/full", "wb"))  # noqa: PTH123, SIM115
    with pytest.raises(CandidateError, match="No space left on device"):
        open_texts([Path("-")])


class Endless:
    """`yes`, as a stream that counts what is taken of it."""

    def __init__(self, line=b"abc\n"):
        self.line, self.taken = line, 0

    def read(self, size):
        self.taken += size
        return (self.line * (size // len(self.line) + 1))[:size]


@pytest.mark.parametrize("kind", ["txt", "jsonl", "csv"])
def test_of_an_endless_stream_no_more_is_taken_than_is_asked_for(monkeypatch, kind):
    endless = Endless(b"abc\n" if kind == "txt" else b'{"text": "a"}\n' if kind == "jsonl" else b"text\n")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=endless))
    opened = open_texts([Path("-")], kind=kind)
    assert len(list(islice(opened, 5))) == len(list(islice(opened, 5))) == 5
    assert endless.taken == snapshot.BLOCK_BYTES
    # One pass goes on where another has stopped.
    more = list(islice(opened, 300_000))
    assert more == list(islice(opened, 300_000))
    assert snapshot.BLOCK_BYTES < endless.taken <= 8 * snapshot.BLOCK_BYTES


@pytest.mark.parametrize("kind", ["txt", "parquet"])
def test_an_endless_stream_is_given_up(monkeypatch, kind):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless()))
    monkeypatch.setattr(snapshot, "MAX_STREAM_BYTES", 3 << 20)
    with pytest.raises(CandidateError, match=r"standard input: more than 0 GiB, .* give a file, or --limit"):
        for _ in open_texts([Path("-")], kind=kind):
            pass


def test_a_stream_that_would_fill_the_disk_is_given_up_in_every_pass(monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Endless()))
    opened = open_texts([Path("-")])
    monkeypatch.setattr(os, "fstatvfs", lambda _: SimpleNamespace(f_bavail=1, f_frsize=4 << 20))
    for _ in range(2):
        with pytest.raises(CandidateError, match="almost full"):
            list(opened)
    # What was kept is still there, and nothing is missing in its midst.
    assert len(list(islice(opened, 1 << 18))) == 1 << 18


def test_standard_input_can_be_given_only_once(stdin):
    stdin(b"a\n")
    with pytest.raises(CandidateError, match="only once"):
        open_texts([Path("-"), Path("-")])


def test_a_pipe_of_the_shell_is_standard_input():
    code = (
        "from pathlib import Path; from audit_cli.candidates import open_texts\n"
        "opened = open_texts([Path('-')])\n"
        "print([c.text for c in opened], [c.text for c in opened])"
    )
    done = subprocess.run([sys.executable, "-c", code], input="a\nb\n", capture_output=True, text=True)
    assert done.stdout == "['a', 'b'] ['a', 'b']\n"


def test_only_parquet_files_load_arrow():
    code = "import sys, audit_cli.candidates; sys.exit(int(bool({'pyarrow', 'numpy', 'torch'} & set(sys.modules))))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_texts_in_memory_are_numbered_and_candidates_stay_as_they_are():
    own = Candidate("mine", 7, "x", None, (1, 2))
    given = GivenTexts(text for text in ["a", own, "b\ud800"])
    assert (
        list(given)
        == list(given)
        == [
            Candidate("text", 1, "text:1", "a"),
            own,
            Candidate("text", 3, "text:3", "b\ud800"),
        ]
    )
    assert given.names == ("text", "mine")
    assert len(given) == 3


@pytest.mark.parametrize("texts", ["a text", [b"bytes"], [None], [["a"]]])
def test_what_is_no_list_of_texts_is_a_type_error(texts):
    with pytest.raises(TypeError, match="text"):
        GivenTexts(texts)
