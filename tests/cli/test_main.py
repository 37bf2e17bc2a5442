"""What `main` sets up before a command runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
RUN = "from audit_cli.cli import main; main()"


@pytest.mark.parametrize("locale", [{"PYTHONIOENCODING": "ascii"}, {"PYTHONUTF8": "0", "LC_ALL": "C"}], ids=str)
def test_a_stdout_that_cannot_encode_the_report_gets_all_of_it(tmp_path, locale):
    (tmp_path / "c.txt").write_text("café olé\n", encoding="utf-8")
    environment = os.environ | locale | {"PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "basins", str(EXAMPLES / "memorizing"), "c.txt", "--show-text", "full"],
        cwd=tmp_path, env=environment, capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("ascii").rstrip().endswith("measured.")
    assert b"caf? ol?" in done.stdout


def test_a_panic_in_rust_brings_no_backtrace():
    code = "import os, audit_cli.cli as cli\ncli.app = lambda **_: print('RUST_BACKTRACE' in os.environ)\ncli.main()"
    done = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"RUST_BACKTRACE": "1"}, capture_output=True, text=True
    )
    assert done.stdout == "False\n", done.stderr
