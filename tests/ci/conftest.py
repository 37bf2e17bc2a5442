"""A project whose build server audits a model: texts, a policy that takes seconds, and the program on the path."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.ci.steps import ROOT

EXAMPLES = ROOT / "examples"
# One level, few restarts: enough to tell what is stored from what is not.
POLICY = """
fdr = 0.05
[measure]
levels = [0.25]
restarts = 2
steps = 4
[sets.verses]
candidates = "candidates.txt"
heldout = "heldout.txt"
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory):
    """The folder of a `uddm-audit` that runs in the tests' own environment."""
    folder = tmp_path_factory.mktemp("program") / "bin"
    folder.mkdir()
    file = folder / "uddm-audit"
    file.write_text(f"#!{sys.executable}\nfrom audit_cli.cli import main\n\nmain()\n")
    file.chmod(0o755)
    return folder


@pytest.fixture
def project(tmp_path):
    """A folder with texts and a policy, to which a test adds what it wants."""
    folder = tmp_path / "project"
    folder.mkdir()
    shutil.copy(EXAMPLES / "candidates.txt", folder)
    lines = (EXAMPLES / "heldout.txt").read_text().splitlines()[:120]
    (folder / "heldout.txt").write_text("\n".join(lines) + "\n")
    (folder / "audit.toml").write_text(POLICY)
    return folder


@pytest.fixture
def clean(tmp_path):
    """An environment that has nothing of the one that the tests run in."""
    home = tmp_path / "home"
    home.mkdir()
    return {"PATH": "/usr/bin:/bin", "HOME": str(home), "LANG": "C.UTF-8"}


@pytest.fixture
def checkpoint(project):
    """Copy an example model into the project under a name."""

    def copy(model: str, name: str) -> Path:
        return Path(shutil.copytree(EXAMPLES / model, project / name))

    return copy
