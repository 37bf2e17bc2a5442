"""What a user copies: valid, and it does what it says."""

import hashlib
import json
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from importlib import resources

import jsonschema
import junitparser
import pytest
import yaml

from audit_cli.verdicts import policy
from tests.ci.conftest import EXAMPLES
from tests.ci.steps import ROOT, read, run, step

GITLAB = read("examples/ci/gitlab-ci.yml")["memorization"]
GITHUB = read("examples/ci/github-workflow.yml")
HOOK = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text())


@pytest.mark.parametrize(
    ("file", "schema"),
    [
        ("action.yml", "github-actions"),
        ("examples/ci/github-workflow.yml", "github-workflows"),
        ("examples/ci/gitlab-ci.yml", "gitlab-ci"),
    ],
)
def test_it_is_valid(file, schema):
    known = resources.files("check_jsonschema") / "builtin_schemas" / "vendor" / f"{schema}.json"
    # YAML 1.1 reads the key `on` as true.
    given = {"on" if key is True else key: value for key, value in read(file).items()}
    jsonschema.validators.validator_for(json.loads(known.read_text()))(json.loads(known.read_text())).validate(given)


@pytest.fixture
def published(tmp_path):
    """An example model as an archive with an address, and its hash."""

    def publish(model):
        file = tmp_path / "published model.tar"
        with tarfile.open(file, "w") as archive:
            for part in (EXAMPLES / model).iterdir():
                archive.add(part, part.name)
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return {"CHECKPOINT_URL": file.as_uri(), "CHECKPOINT_SHA256": digest}

    return publish


@pytest.mark.parametrize(("model", "code"), [("memorizing", 1), ("generalizing", 0)])
def test_gitlabs_job_ends_with_the_programs_code(model, code, published, project, clean, program):
    environment = clean | published(model) | {"CI_PROJECT_DIR": str(project), "UDDM_AUDIT_KEY": "a secret"}
    environment["PATH"] = f"{program}:{clean['PATH']}"
    environment["XDG_CACHE_HOME"] = GITLAB["variables"]["XDG_CACHE_HOME"].replace("$CI_PROJECT_DIR", str(project))
    done = run("\n".join(GITLAB["script"]), project, environment)
    assert done.code == code, done.stderr
    report = junitparser.JUnitXml.fromfile(str(project / GITLAB["artifacts"]["reports"]["junit"]))
    assert (report.tests, report.failures) == (24, 16 if code else 0)
    assert all((project / name).is_file() for name in GITLAB["artifacts"]["paths"])
    assert list((project / GITLAB["cache"]["paths"][0]).rglob("*.journal"))


def test_githubs_workflow_takes_the_checkpoint_that_was_meant(published, project, clean, tmp_path):
    script = step(GITHUB["jobs"]["audit"]["steps"], "Get the checkpoint")["run"]
    environment = clean | published("memorizing") | {"RUNNER_TEMP": str(tmp_path)}
    assert run(script, project, environment).code == 0
    assert (project / "checkpoint" / "config.json").is_file()
    environment["CHECKPOINT_SHA256"] = "0" * 64
    assert run(script, project, environment).code != 0


def test_githubs_workflow_gives_inputs_that_the_action_has():
    action = read("action.yml")
    asked = step(GITHUB["jobs"]["audit"]["steps"], "audit")
    assert set(asked["with"]) <= set(action["inputs"])
    used = re.findall(r"steps\.audit\.outputs\.(\w+)", (ROOT / "examples/ci/github-workflow.yml").read_text())
    assert set(used) <= set(action["outputs"])


def test_the_shown_policy_is_in_force():
    found = policy.read(EXAMPLES / "audit.toml")
    (verses,) = found.sets
    assert [path.name for path in (*verses.files, *verses.heldout)] == ["candidates.txt", "heldout.txt"]
    assert found.regime.limits() == {"min-distinct-share": 0.5}


def test_what_the_shown_policy_leaves_out_could_be_put_in(tmp_path):
    """Its commented keys are keys that there are."""
    shown = (EXAMPLES / "audit.toml").read_text()
    whole = re.sub(r"^# (\[.*|[a-z-]+ = .*)$", r"\1", shown, flags=re.MULTILINE)
    assert {"baseline", "fail-on"} <= set(tomllib.loads(whole))
    for folder, name in (("cards", "a.jsonl"), ("more", "a.txt")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("")
    (tmp_path / "audit.toml").write_text(whole)
    found = policy.read(tmp_path / "audit.toml")
    assert [one.name for one in found.sets] == ["verses", "cards", "more-verses"]
    assert found.sets[1].twins == 999


def test_the_hook_runs_what_its_arguments_say(project, clean, program):
    (hook,) = HOOK
    assert (hook["id"], hook["language"], hook["stages"]) == ("uddm-audit-check", "python", ["pre-push", "manual"])
    assert hook["pass_filenames"] is False
    assert (ROOT / hook["additional_dependencies"][0].partition("=")[2]).is_file()
    command = [*shlex.split(hook["entry"]), str(EXAMPLES / "memorizing"), "--policy", "audit.toml"]
    environment = clean | {"PATH": f"{program}:{clean['PATH']}"}
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "FAILED: 16 texts are memorized" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("lines", "code", "told"), [(16, 1, "16 memorized"), (20_000, 0, "24 no evidence")])
def test_the_trainers_gate_ends_with_the_decision(lines, code, told, tmp_path):
    command = [sys.executable, str(EXAMPLES / "ci" / "trainer_gate.py"), "--lines", str(lines)]
    done = subprocess.run([*command, "--folder", str(tmp_path / "kept")], capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert f"audit: {told}" in done.stdout
    assert f"exit {code}" in done.stdout
    assert (tmp_path / "kept" / "model.safetensors").is_file()
