"""Steps of build servers, as their runners run them."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent.parent
# As GitHub's runner does where a step says `shell: bash`; GitLab's does much the same.
BASH = ["bash", "--noprofile", "--norc", "-eo", "pipefail"]


def read(path: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / path).read_text())


def step(steps: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [one for one in steps if name in (one.get("name"), one.get("id"))]
    return found


@dataclass(frozen=True)
class Done:
    code: int
    stdout: str
    stderr: str


def run(script: str, folder: Path, environment: dict[str, str]) -> Done:
    """Run a script in a folder, with these variables and no others."""
    file = folder.parent / f"{folder.name}-step.sh"
    file.write_text(script)
    done = subprocess.run([*BASH, str(file)], cwd=folder, env=environment, capture_output=True, text=True)
    return Done(done.returncode, done.stdout, done.stderr)


def filled(environment: dict[str, str], values: dict[str, str]) -> dict[str, str]:
    """A step's `env`, each expression replaced by its value; one that has none is empty, as the runner has it."""
    return {
        name: re.sub(r"\$\{\{ (\S+) \}\}", lambda m: values.get(m[1], ""), text) for name, text in environment.items()
    }


def outputs(file: Path) -> dict[str, str]:
    """What a step wrote to GITHUB_OUTPUT, read as the runner reads it."""
    found, lines = {}, iter(file.read_text().splitlines())
    for line in lines:
        name, equals, value = line.partition("=")
        if "<<" in name or not equals:
            name, _, end = line.partition("<<")
            assert end, f"no output: {line!r}"
            value = "\n".join(iter(lambda: next(lines), end))
        found[name] = value
    return found
