"""The action's steps, run by bash as a runner would."""

import json
import re

import pytest

from tests.ci.steps import ROOT, filled, outputs, read, run, step

ACTION = read("action.yml")
STEPS = ACTION["runs"]["steps"]
MEMORIZING, GENERALIZING = (str(ROOT / "examples" / name) for name in ("memorizing", "generalizing"))
# Seconds less than basins.
QUICK = {"args": "--probe=entropy\n--fdr=0.05", "fail-on": "familiar"}
FILES = {"files": "candidates.txt", "heldout": "heldout.txt"}


@pytest.fixture
def audit(project, clean, program, tmp_path):
    """Run the step that audits with inputs; what it did, its outputs and its summary."""
    runner = tmp_path / "runner temp"
    (runner / "uddm-audit").mkdir(parents=True)
    (runner / "uddm-audit" / "bin").symlink_to(program)

    def start(more=(), **inputs):
        output, summary = runner / "output", runner / "summary"
        for file in (output, summary):
            file.write_text("")
        given = {f"inputs.{name}": str(one.get("default", "")) for name, one in ACTION["inputs"].items()}
        given |= {f"inputs.{name.replace('_', '-')}": value for name, value in inputs.items()} | dict(more)
        asked = step(STEPS, "audit")
        environment = clean | filled(asked["env"], given)
        environment |= {"RUNNER_TEMP": str(runner), "GITHUB_OUTPUT": str(output), "GITHUB_STEP_SUMMARY": str(summary)}
        done = run(asked["run"], project, environment)
        assert [one.name for one in runner.iterdir() if one.name.startswith("uddm-audit.")] == []
        return done, outputs(output), summary.read_text()

    return start


def test_a_model_that_memorized_fails(audit, project):
    done, out, summary = audit(model=MEMORIZING, policy="audit.toml")
    assert done.code == 1, done.stderr
    expected = {"exit-code": "1", "result": "failed", "sarif": "uddm-audit.sarif", "json": "uddm-audit.json"}
    assert out == expected
    assert json.loads((project / out["json"]).read_text())["gate"]["exit_code"] == 1
    assert json.loads((project / out["sarif"]).read_text())["runs"][0]["results"]
    assert summary.startswith("# uddm-audit check: FAILED")
    assert "::error title=uddm-audit::uddm-audit check: failed (exit 1)" in done.stdout
    assert "::notice title=uddm-audit::No key was given" in done.stdout


def test_a_model_that_did_not_passes_and_its_measurements_are_kept(audit, project, clean, tmp_path):
    kept = tmp_path / "home" / ".cache" / "uddm-audit"
    kept.mkdir(parents=True)
    more = {"steps.kept.outputs.folder": str(kept)}
    done, out, summary = audit(more, model=GENERALIZING, policy="audit.toml", key="a secret", sarif="", summary="false")
    assert done.code == 0, done.stderr
    assert (out["result"], out["sarif"], out["json"]) == ("passed", "", "uddm-audit.json")
    assert re.fullmatch(r"[0-9-]+", out["changed"])
    assert summary == ""
    assert "::error" not in done.stdout
    assert "::notice" not in done.stdout
    # What was kept is used, and needs no keeping again.
    done, out, _ = audit(more, model=GENERALIZING, policy="audit.toml", key="a secret", sarif="", summary="false")
    assert done.code == 0, done.stderr
    assert "changed" not in out
    assert not (project / "uddm-audit.sarif").exists()


def test_nothing_in_an_input_is_executed(audit, project, checkpoint):
    name = """my model's "best" $(touch pwned) `touch pwned`; touch pwned"""
    checkpoint("memorizing", name)
    texts, held = "-- $(touch pwned)\t*.txt", "::error::held 'out' .txt"
    (project / "candidates.txt").rename(project / texts)
    (project / "heldout.txt").rename(project / held)
    done, out, _ = audit(
        model=name,
        files=f"\n{texts}\r\n\n",
        heldout=f"{held}\n",
        args=QUICK["args"],
        fail_on=QUICK["fail-on"],
        sarif="""a "$(touch pwned)"\nresult=passed\nexit-code=0""",
        json="$HOME & touch pwned.json",
    )
    assert done.code == 1, done.stderr
    assert (out["exit-code"], out["result"], out["json"]) == ("1", "failed", "$HOME & touch pwned.json")
    assert out["sarif"] == """a "$(touch pwned)"\nresult=passed\nexit-code=0"""
    assert (project / out["sarif"]).is_file()
    assert not list(project.rglob("pwned*"))
    # What the program prints lies between two lines that the runner takes for commands, and is none itself.
    _, token, rest = re.split(r"::stop-commands::([0-9a-f]{32})\n", done.stdout)
    assert rest.count(f"::{token}::\n") == 1


def test_hostile_words_where_a_file_is_meant_are_no_options(audit, project):
    done, out, _ = audit(model="--exit-zero", files="--help\n-", heldout="$(touch pwned)", baseline="--exit-zero")
    assert (done.code, out["result"]) == (2, "misconfigured")
    assert not (project / "pwned").exists()


def test_without_a_model_the_first_file_is_not_taken_for_it(audit):
    done, out, summary = audit(model="", **FILES)
    assert done.code == 2
    assert "no MODEL" in done.stderr
    assert out == {"exit-code": "2", "result": "misconfigured"}
    assert summary == "# uddm-audit check: misconfigured (exit 2); the log says why\n"


def test_a_run_that_audits_nothing_has_not_passed(audit, project):
    (project / "uddm-audit.sarif").write_text("{}")
    done, out, _ = audit(model=MEMORIZING, args="--help")
    assert (done.code, out["result"]) == (0, "not-audited")
    assert "sarif" not in out


def test_no_candidates_are_not_audited(audit, project):
    (project / "candidates.txt").write_text("\n")
    done, out, _ = audit(model=MEMORIZING, **FILES, args=QUICK["args"], fail_on="familiar")
    assert (done.code, out["result"], out["sarif"]) == (3, "not-audited", "uddm-audit.sarif")


def test_texts_without_a_comparison_are_inconclusive(audit):
    done, out, summary = audit(model=MEMORIZING, files="candidates.txt", args=QUICK["args"], fail_on="familiar")
    assert (done.code, out["result"], out["json"]) == (4, "inconclusive", "uddm-audit.json")
    assert "inconclusive" in summary.splitlines()[0]


@pytest.mark.parametrize("given", ["", "relative", "/absolute/cache"])
def test_the_folder_that_is_kept_is_the_one_the_program_uses(given, clean, project, tmp_path, monkeypatch):
    from audit_cli.cli.session import cache_folder

    if given.startswith("/"):
        given = str(tmp_path / given[1:])
    output = tmp_path / "output"
    environment = clean | {"GITHUB_OUTPUT": str(output)} | ({"XDG_CACHE_HOME": given} if given else {})
    assert run(step(STEPS, "kept")["run"], project, environment).code == 0
    monkeypatch.setenv("HOME", clean["HOME"])
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert outputs(output)["folder"] == str(cache_folder())


def test_inputs_and_outputs_reach_each_other():
    """Every expression names an input, a step's output or what the runner says; no output is left behind."""
    ids = {one["id"] for one in STEPS if "id" in one}
    named = re.findall(r"(inputs|steps)\.([\w-]+)", (ROOT / "action.yml").read_text())
    assert {name for kind, name in named if kind == "inputs"} == set(ACTION["inputs"])
    assert {name for kind, name in named if kind == "steps"} <= ids
    written = re.findall(r"^\s*(?:if .*; then )?output ([\w-]+)", step(STEPS, "audit")["run"], re.MULTILINE)
    assert set(ACTION["outputs"]) | {"changed"} == set(written)


def test_every_result_is_described():
    cases = re.findall(r"result=([a-z-]+)", step(STEPS, "audit")["run"])
    assert set(cases) == set(re.findall(r"[a-z]+(?:-[a-z]+)?", ACTION["outputs"]["result"]["description"])) - {"or"}


def test_no_script_has_an_expression_in_it():
    """An expression is pasted into the script before bash sees it: what it holds would be read as a command."""
    workflow = read("examples/ci/github-workflow.yml")["jobs"]["audit"]["steps"]
    scripts = [one["run"] for one in (*STEPS, *workflow) if "run" in one]
    assert len(scripts) == 4
    assert not [script for script in scripts if "${{" in script]


def test_actions_of_others_are_pinned():
    for file in ("action.yml", "examples/ci/github-workflow.yml"):
        used = re.findall(r"uses: (?!OWNER/)(\S+)@(\S+)(.*)", (ROOT / file).read_text())
        assert used
        assert all(re.fullmatch("[0-9a-f]{40} # v[0-9.]+", commit + said) for _, commit, said in used), used
