"""The action's environment of its own."""

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.ci.steps import ROOT, filled, read, run, step

SOURCE = ("pyproject.toml", "constraints.txt", "README.md", "LICENSE", "audit_cli", "kernels")


@pytest.mark.slow
def test_the_action_installs_from_its_own_folder_and_keeps_torch(tmp_path, clean):
    """In an environment that finds what the tests have: pip gets nothing but the build backend."""
    action, runner = tmp_path / "the action", tmp_path / "runner temp"
    for name in SOURCE:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        action.mkdir(exist_ok=True)
        copy(ROOT / name, action / name)
    home = runner / "uddm-audit"
    subprocess.run([sys.executable, "-m", "venv", home], check=True)
    (packages,) = home.glob("lib/python*/site-packages")
    (packages / "those-of-the-tests.pth").write_text(sysconfig.get_path("purelib") + "\n")
    asked = step(read("action.yml")["runs"]["steps"], "Install uddm-audit")
    index = read("action.yml")["inputs"]["torch-index"]["default"]
    given = {"steps.python.outputs.python-path": sys.executable, "inputs.torch-index": index}
    environment = clean | {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    environment |= filled(asked["env"], given) | {"RUNNER_TEMP": str(runner), "GITHUB_ACTION_PATH": str(action)}
    for name in ("pip.py", "venv.py"):
        (runner / name).write_text("raise SystemExit('a file of the job was taken for it')")
    done = run(asked["run"], runner, environment)
    assert done.code == 0, done.stderr
    assert not (packages / "torch").exists()
    assert (packages / "audit_cli").is_dir()
    where = "import audit_cli, uddm_kernels; print(audit_cli.__file__)"
    found = subprocess.run([home / "bin/python", "-Ic", where], env=clean, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(packages)
    shown = subprocess.run(
        [home / "bin/uddm-audit", "check", "--show-policy"], env=clean, capture_output=True, text=True
    )
    assert shown.returncode == 0, shown.stderr
    assert 'fail-on = "memorized"' in shown.stdout
