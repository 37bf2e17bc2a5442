"""When a checkpoint in a folder is taken for whole."""

import os
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_cli.audits.arrivals import Arrivals, natural

LONG_AGO = 1_600_000_000


def checkpoint(path, age=None, weights=b"w"):
    path.mkdir(exist_ok=True)
    for name, data in (("config.json", b"{}"), ("model.safetensors", weights)):
        (path / name).write_bytes(data)
        if age is not None:
            os.utime(path / name, (age, age))
    return path


def test_what_is_there_at_the_start_comes_at_once_in_the_order_of_its_numbers(tmp_path):
    places = [checkpoint(tmp_path / name, LONG_AGO) for name in ("step-10000", "step-2000", "step-300")]
    assert Arrivals(tmp_path).poll() == places[::-1]


def test_what_grows_is_waited_for(tmp_path):
    arrivals = Arrivals(tmp_path)
    assert arrivals.poll() == []
    place = checkpoint(tmp_path / "step-1", weights=b"w")
    assert arrivals.poll() == []
    checkpoint(place, weights=b"weights")
    assert arrivals.poll() == []
    assert arrivals.poll() == [place]
    assert arrivals.poll() == arrivals.poll() == []


def test_what_was_copied_with_its_old_time_is_waited_for_too(tmp_path):
    arrivals = Arrivals(tmp_path)
    arrivals.poll()
    place = checkpoint(tmp_path / "step-1", LONG_AGO)
    assert arrivals.poll() == []
    assert arrivals.poll() == [place]


def test_what_has_just_been_written_is_waited_for_at_the_start(tmp_path):
    place = checkpoint(tmp_path / "step-1")
    arrivals = Arrivals(tmp_path, settled=60)
    assert arrivals.poll() == []
    assert arrivals.poll() == [place]


def test_what_is_written_anew_comes_again(tmp_path):
    place = checkpoint(tmp_path / "run", LONG_AGO)
    arrivals = Arrivals(place)
    assert arrivals.poll() == [place]
    assert arrivals.unchanged(place)
    checkpoint(place, weights=b"others")
    assert not arrivals.unchanged(place)
    assert arrivals.poll() == []
    assert arrivals.poll() == [place]


def test_folders_of_something_else_are_not_looked_at(tmp_path):
    arrivals = Arrivals(tmp_path)
    for name in ("logs", ".hidden", "tmp-checkpoint-5"):
        (tmp_path / name).mkdir()
    for name in (".hidden", "tmp-checkpoint-5"):
        checkpoint(tmp_path / name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "model.safetensors").write_text("x")
    (tmp_path / "step=5.ckpt").write_bytes(b"x")
    (tmp_path / "folder.ckpt").mkdir()
    os.mkfifo(tmp_path / "pipe.ckpt")
    arrivals.poll()
    assert arrivals.poll() == [tmp_path / "step=5.ckpt"]


def test_a_folder_that_comes_and_goes_is_no_error(tmp_path):
    arrivals = Arrivals(tmp_path / "run")
    assert arrivals.poll() == []
    place = checkpoint(tmp_path / "run")
    arrivals.poll()
    assert arrivals.poll() == [place]
    for file in place.iterdir():
        file.unlink()
    place.rmdir()
    assert arrivals.poll() == []
    assert not arrivals.unchanged(place)
    assert arrivals.poll() == []


@pytest.mark.parametrize("first", [1, 9, 10, 999])
def test_numbers_in_names_are_numbers(first):
    assert natural(f"step-{first}") < natural(f"step-{first + 1}") < natural(f"step-{first + 1}-last")


@given(st.lists(st.text(max_size=8), max_size=6))
def test_any_names_can_be_sorted(names):
    ordered = [natural(name) for name in sorted(names, key=natural)]
    assert all(one <= other for one, other in pairwise(ordered))
