"""Facts about weights that are kept between runs."""

import os
from dataclasses import dataclass

import pytest

from audit_cli.checkpoints.memory import Memory


@dataclass(frozen=True)
class Fact:
    number: float | None


def asked(memory, key=("weights", 1), answer=0.1):
    """What is recalled, and whether it had to be found out."""
    calls = []

    def find_out():
        calls.append(1)
        return Fact(answer)

    return memory.recall(Fact, key, find_out), bool(calls)


def test_a_fact_is_found_out_once_and_is_exactly_what_it_was(tmp_path):
    folder = tmp_path / "cache" / "uddm-audit"
    assert asked(Memory(folder)) == (Fact(0.1), True)
    assert asked(Memory(folder), answer=0.2) == (Fact(0.1), False)
    assert asked(Memory(folder), ("weights", 2), None) == (Fact(None), True)
    assert asked(Memory(folder), ("weights", 2)) == (Fact(None), False)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.stat().st_mode & 0o777 for file in folder.iterdir()} == {0o600}


def test_what_does_not_last_is_never_written(tmp_path):
    memory = Memory(tmp_path)
    for expected in (True, False):
        calls = []
        memory.recall(Fact, ["a text"], lambda calls=calls: calls.append(1) or Fact(0.1), lasting=False)
        assert bool(calls) == expected
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_in_the_place_of_a_fact_is_not_waited_for(tmp_path):
    asked(Memory(tmp_path))
    (file,) = tmp_path.iterdir()
    file.unlink()
    os.mkfifo(file)
    assert asked(Memory(tmp_path)) == (Fact(0.1), True)


def test_without_a_folder_it_is_kept_for_the_process():
    memory = Memory()
    assert [asked(memory)[1], asked(memory)[1], asked(Memory())[1]] == [True, False, True]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"number": "x"}', b"\xff" * 9, b"1" * (1 << 17), b"[" * 4000])
def test_a_damaged_file_is_found_out_anew(tmp_path, content):
    asked(Memory(tmp_path))
    (file,) = tmp_path.iterdir()
    file.write_bytes(content)
    assert asked(Memory(tmp_path)) == (Fact(0.1), True)
    assert asked(Memory(tmp_path)) == (Fact(0.1), False)


def test_a_folder_that_cannot_be_used_is_none(tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert asked(Memory(folder)) == (Fact(0.1), True)
