"""Paths that can be read, and what is said of those that cannot."""

import os
import socket
from pathlib import Path

import pytest

from audit_cli.candidates import CandidateError, open_texts


def test_files_are_read_in_order(tmp_path):
    paths = [tmp_path / "b.txt", tmp_path / "a.jsonl", tmp_path / "b.txt"]
    (tmp_path / "b.txt").write_bytes(b"1\n2")
    (tmp_path / "a.jsonl").write_bytes(b'{"text": "3"}')
    assert [c.text for c in open_texts(paths)] == ["1", "2", "3", "1", "2"]


def test_no_files_are_no_texts():
    assert list(open_texts([])) == []


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path):
    paths = [tmp_path / "a" / "f.txt", tmp_path / "b" / "f.txt", tmp_path / "g.txt"]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    assert open_texts(paths).names == (str(paths[0]), str(paths[1]), "g.txt")


@pytest.mark.parametrize("name", ["f.TXT", "f.JsonL", "f.NDJSON", "f.CSV"])
def test_suffixes_are_known_in_capitals_too(tmp_path, name):
    (tmp_path / name).write_bytes(b'text\n{"text": "a"}\n')
    assert list(open_texts([tmp_path / name]))


def test_the_kind_overrides_every_suffix(tmp_path):
    for name in ("f.txt", "plain"):
        (tmp_path / name).write_bytes(b'{"text": "a"}\n')
    assert [c.text for c in open_texts([tmp_path / "f.txt", tmp_path / "plain"], kind="jsonl")] == ["a", "a"]


def test_a_kind_that_is_unknown_is_refused(tmp_path):
    with pytest.raises(CandidateError, match="unknown input format 'xlsx'; known: txt, jsonl, csv, tsv, parquet"):
        open_texts([], kind="xlsx")


@pytest.fixture
def odd_paths(tmp_path, monkeypatch):
    """A folder of things that are not files, with a good file among them."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.txt").mkdir()
    os.mkfifo("pipe.txt")
    Path("dangling.txt").symlink_to("nowhere")
    Path("loop.txt").symlink_to("loop.txt")
    for good in ("good.txt", "table.xlsx", "plain", "f.gz"):
        Path(good).write_bytes(b"a\n")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind("socket.txt")
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing.txt", "no such file"),
        ("good.txt/f.txt", "no such file"),
        ("folder.txt", "not a regular file but a folder; give the files in it"),
        ("pipe.txt", "a pipe can be read once: use - for standard input"),
        ("socket.txt", "not a regular file but a socket"),
        ("/dev/null", "not a regular file but a device"),
        ("dangling.txt", "a link to a file that does not exist"),
        ("loop.txt", "symbolic links"),
        ("table.xlsx", "unknown kind of file '.xlsx'; known: .txt, .jsonl, .csv, .tsv, .parquet, .ndjson.*--input-for"),
        ("plain", "unknown kind of file ''"),
        ("f.gz", "unknown kind of file ''"),
        ("x" * 300 + ".txt", "name too long"),
        ("nul\0.txt", "no such file"),
    ],
    ids=lambda value: value[:12].replace("\0", "0"),
)
def test_a_path_that_cannot_be_read_is_refused_before_any_candidate_is_given(odd_paths, name, message):
    with pytest.raises(CandidateError, match=f"(?i){message}"):
        open_texts([Path("good.txt"), Path(name)])


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is closed to root")
def test_a_file_that_may_not_be_read_is_told(odd_paths):
    Path("good.txt").chmod(0)
    with pytest.raises(CandidateError, match=r"good\.txt: no permission to read it"):
        open_texts([Path("good.txt")])
