"""Ctrl-C while a command loads its libraries."""

import subprocess
import sys

import pytest

from audit_cli.cli import app
from tests.cli.test_commands import EXAMPLES, HELDOUT, MEMORIZING, ROOT

TEXTS = str(EXAMPLES / "candidates.txt")
COMMANDS = {
    "entropy": [MEMORIZING],
    "basins": [MEMORIZING, TEXTS],
    "check": [MEMORIZING, TEXTS, "--heldout", HELDOUT],
    "calibrate": [MEMORIZING, HELDOUT, "-o", "{}/c.json"],
    "extract": [MEMORIZING, TEXTS],
    "generate": [MEMORIZING],
    "retrieve": [MEMORIZING, "in the beginn__g"],
    "attractors": [MEMORIZING, TEXTS],
    "track": [MEMORIZING, "--text", TEXTS, "--heldout", HELDOUT],
    "evaluate": [MEMORIZING, "--members", TEXTS, "--heldout", HELDOUT],
    "inspect": [MEMORIZING],
    "convert": [MEMORIZING, "-o", "{}/converted"],
    "sweep": [TEXTS, "-o", "{}/runs"],
    "train": [TEXTS, "-o", "{}/model"],
}
# What torch has in C++ calls Python and ends the program on an exception; so does this, in its place.
STOPPED_WITHIN_TORCH = """
import os, signal, sys

class Torch:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                os.abort()

sys.meta_path.insert(0, Torch())
# A test suite in the background may have been started with interrupts ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
from audit_cli.cli import main
main()
"""


def test_these_are_all_commands_that_load_torch():
    """`baseline` reads and writes JSON."""
    assert COMMANDS.keys() == {command.name for command in app.registered_commands}


@pytest.mark.parametrize("command", [*COMMANDS, "entropy --trajectory"])
def test_ctrl_c_while_torch_is_loaded_is_one_line_and_130(command, tmp_path):
    command, *more = command.split()
    arguments = [*(argument.format(tmp_path) for argument in COMMANDS[command]), *more]
    program = [sys.executable, "-c", STOPPED_WITHIN_TORCH, command, *arguments]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stdout) == (130, ""), done.stderr
    assert done.stderr == "uddm-audit: stopped before anything was measured; give the same command again\n"
    assert not list(tmp_path.iterdir())


def test_ctrl_c_while_an_error_is_explained_is_one_too():
    program = [sys.executable, "-c", STOPPED_WITHIN_TORCH, "basins", MEMORIZING, "gone.txt"]
    done = subprocess.run(program, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 130, done.stderr
