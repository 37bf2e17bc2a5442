"""`uddm-audit check`: every exit code, every precedence of two, policies, baselines, and what is written."""

import csv
import itertools
import json
import re
from pathlib import Path

import jsonschema
import pytest
from scipy.stats import false_discovery_control

from audit_cli.audits import Journal, cache
from audit_cli.audits.check import Check
from audit_cli.audits.watch import TimeIsOver, TimeLimited
from audit_cli.reports.gate.json_report import schema_text
from tests.cli.test_commands import EXAMPLES, GENERALIZING, MEMORIZING, uddm

TRAIN = (EXAMPLES / "train.txt").read_text().splitlines()
STORED, UNSEEN = TRAIN[:3], TRAIN[5000:5003]
# As long as the candidates, so that each is compared with all 120.
HELDOUT = [line for line in (EXAMPLES / "heldout.txt").read_text().splitlines() if len(line) >= 30][:120]
# The examples know letters only.
UNKNOWN = "1611"
MEASURE = "[measure]\nlevels = [0.25]\nrestarts = 8\nsteps = 4\n"
DATES = re.compile(r'"seconds": [\d.e-]+|"added": "[^"]*"| time="[^"]*"|[\d.,]+ m?s\b|\d+ min \d+ s')


@pytest.fixture(autouse=True)
def _one_key_and_still_code(monkeypatch):
    monkeypatch.setenv("UDDM_AUDIT_KEY", "a key for tests")
    monkeypatch.setattr(cache, "_code", lambda: "code")


@pytest.fixture(scope="module")
def remembered(tmp_path_factory):
    """What is kept of held-out text between checks: measured once for all of these."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def home(tmp_path, monkeypatch, remembered):
    """A folder with texts: run from there, as a build server does."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(remembered))
    for name, lines in (
        ("stored", STORED),
        ("unseen", UNSEEN),
        ("heldout", HELDOUT),
        ("empty", []),
        ("odd", [UNSEEN[0], UNKNOWN]),
        ("few", HELDOUT[:20]),
    ):
        Path(f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def policy(sets, top="", measure=MEASURE, name="audit.toml"):
    """A policy file with these sets, by name: the stem of a file of candidates, and held-out text or none."""
    tables = [
        f'[sets.{name}]\ncandidates = "{name}.txt"\n' + (f'heldout = "{held}.txt"\n' if held else "")
        for name, held in sets.items()
    ]
    # With 120 references three of six texts can be found at .05, and not at the .01 of the default.
    fdr = "" if "fdr" in top else "fdr = 0.05\n"
    Path(name).write_text("\n".join([fdr + top, measure, *tables]))
    return name


def check(model, sets, *more, top=""):
    return uddm("check", model, "--policy", policy(sets, top), *more)


def told(done):
    """What it says, on one line; a traceback is never among it."""
    assert "Traceback" not in done.output
    assert "unforeseen" not in done.output
    return " ".join(done.output.split())


# What makes a set end in a code by itself.
CAUSES = {0: ("unseen", "heldout"), 1: ("stored", "heldout"), 3: ("empty", "heldout"), 4: ("few", None)}


def test_a_model_that_stored_the_text_fails(home):
    done = uddm("check", MEMORIZING, "stored.txt", "--heldout", "heldout.txt", "--restarts", "8", "--steps", "4")
    assert done.exit_code == 1, done.output
    assert "FAILED: 3 texts are memorized" in told(done)
    assert "exit 1: 3 texts are memorized" in done.stderr


def test_a_model_that_did_not_passes(home):
    done = check(GENERALIZING, {"stored": "heldout"})
    assert done.exit_code == 0, done.output
    assert "PASSED: no text is memorized" in told(done)


@pytest.mark.parametrize(("code", "cause"), CAUSES.items())
def test_each_code_of_a_finished_check(home, code, cause):
    done = check(MEMORIZING, dict([cause]))
    assert done.exit_code == code, done.output
    assert bool(code) == (f"exit {code}: " in done.stderr)


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations([1, 3, 4, 0], 2)))
def test_of_two_codes_the_first_of_the_order_decides(home, first, second):
    done = check(MEMORIZING, dict([CAUSES[second], CAUSES[first]]))
    assert done.exit_code == first, done.output


@pytest.mark.parametrize("code", [1, 3, 4, 0])
def test_what_is_asked_for_wrongly_is_told_before_anything_else(home, code):
    done = check(MEMORIZING, dict([CAUSES[code]]), top="fdrr = 0.01")
    assert done.exit_code == 2
    assert "audit.toml:1: unknown key 'fdrr'; did you mean fdr?" in told(done)


@pytest.mark.parametrize("code", [1, 3, 4, 0])
def test_an_interrupted_check_says_so_whatever_was_found(home, monkeypatch, code):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Check, "_judged", interrupted)
    done = check(MEMORIZING, dict([CAUSES[code]]), "-o", "a.json")
    assert done.exit_code == 130
    assert not Path("a.json").exists()
    assert "same command" in told(done)


def test_exit_zero_hides_a_finding_and_nothing_else(home):
    for code, (name, held) in CAUSES.items():
        done = check(MEMORIZING, {name: held}, "--exit-zero")
        assert done.exit_code == (0 if code == 1 else code)
    both = check(MEMORIZING, dict([CAUSES[1], CAUSES[4]]), "--exit-zero")
    assert both.exit_code == 4
    assert "3 texts are memorized (--exit-zero)" in told(both)
    alone = check(MEMORIZING, dict([CAUSES[1]]), "--exit-zero")
    assert "FAILED, exit code 0 by --exit-zero: 3 texts are memorized" in told(alone)


def test_no_heldout_text_is_inconclusive(home):
    done = uddm("check", MEMORIZING, "stored.txt", "--restarts", "2", "--steps", "4")
    assert done.exit_code == 4, done.output
    assert "nothing to compare it with" in told(done)


def test_fewer_references_than_asked_for_clear_nobody_and_excuse_nobody(home):
    passed = check(MEMORIZING, {"unseen": "heldout"}, "--min-references", "500")
    assert passed.exit_code == 4, passed.output
    assert re.search("compared with 1[12][0-9] others only, and 500 are asked for", told(passed))
    found = check(MEMORIZING, {"stored": "heldout"}, "--min-references", "500")
    assert found.exit_code == 1


def test_a_skipped_text_is_not_clean_unless_it_may_be_skipped(home):
    sets = {"odd": "heldout"}
    done = check(MEMORIZING, sets)
    assert done.exit_code == 3, done.output
    assert "1 text is skipped, and 0 may be (max-skipped)" in told(done)
    assert check(MEMORIZING, sets, top="max-skipped = 1").exit_code == 0
    assert check(MEMORIZING, sets, "--strict", top="max-skipped = 1").exit_code == 3


def test_nothing_but_skipped_texts_is_never_clean(home):
    Path("odd.txt").write_text(f"{UNKNOWN}\n")
    assert check(MEMORIZING, {"odd": "heldout"}, "--max-skipped", "9").exit_code == 3


def test_all_sets_are_compared_at_once(home):
    """q of a text rests on the candidates of all sets: beside 119 innocents a lone one cannot be found."""
    Path("many.txt").write_text("".join(f"{line}\n" for line in TRAIN[6000:6119]))
    Path("one.txt").write_text(f"{STORED[0]}\n")
    alone = check(MEMORIZING, {"one": "heldout"}, "-o", "alone.json")
    assert alone.exit_code == 1
    check(MEMORIZING, {"one": "heldout", "many": "heldout"}, "-o", "both.json")
    alone, *others = json.loads(Path("alone.json").read_text())["results"]
    assert not others
    assert alone["q_value"] == alone["p_value"] == pytest.approx(1 / (alone["references"] + 1))
    both = [r for r in json.loads(Path("both.json").read_text())["results"] if r["q_value"] is not None]
    assert len(both) > 110
    assert [r["q_value"] for r in both] == pytest.approx(false_discovery_control([r["p_value"] for r in both]))
    assert both[0]["p_value"] == alone["p_value"]
    assert both[0]["q_value"] > 0.5


def test_a_limit_of_the_models_own_texts_is_kept_exceeded_or_open(home):
    def limited(model, limit):
        return check(model, {"unseen": "heldout"}, top=f"[regime]\nsamples = 32\n{limit}\n")

    assert limited(GENERALIZING, "max-vanishing-share = 0.9").exit_code == 0
    done = limited(MEMORIZING, "max-vanishing-share = 0.5")
    assert done.exit_code == 1, done.output
    assert re.search(r"max-vanishing-share: 0\.\d\d is above 0\.5", told(done))
    share = float(re.search(r"max-vanishing-share 0\.5: (0\.\d\d) \[", told(done))[1])
    assert limited(MEMORIZING, f"max-vanishing-share = {share}").exit_code == 4


class TestPolicy:
    def test_what_is_in_force_is_itself_a_policy(self, home):
        shown = uddm("check", "--policy", policy({"stored": "heldout"}, "fail-on = 'familiar'"), "--show-policy")
        assert shown.exit_code == 0
        Path("again.toml").write_text(shown.stdout)
        again = uddm("check", "--policy", "again.toml", "--show-policy", "--seed", "0")
        assert again.stdout == shown.stdout
        assert 'fail-on = "familiar"' in shown.stdout
        assert "min-references = 19" in shown.stdout

    def test_the_command_line_stands_above_it(self, home):
        shown = uddm("check", "--policy", policy({"stored": "heldout"}, "fdr = 0.02"), "--show-policy", "--fdr", "0.1")
        assert "fdr = 0.1\n" in shown.stdout
        assert "min-references = 9\n" in shown.stdout

    def test_a_pyproject_is_found_where_no_text_is_given(self, home):
        tables = MEASURE.replace("[measure]", "[tool.uddm-audit.measure]")
        sets = '[tool.uddm-audit.sets.unseen]\ncandidates = "unseen.txt"\nheldout = "heldout.txt"\n'
        Path("pyproject.toml").write_text(f"[project]\nname = 'x'\n{tables}{sets}")
        done = uddm("check", MEMORIZING)
        assert done.exit_code == 0, done.output
        assert "unseen (pyproject.toml:7)" in told(done)

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            ("fdr = ", "no TOML"),
            ("[sets.a]\ncandidates = '*.zip'", "audit.toml:2: sets.a: candidates: '*.zip' matches no file"),
            ("[sets.a]\ncandidates = 'a'\n[sets.a]\ncandidates = 'b'", "twice"),
            ("[sets.a]\ncandidates = '/etc/hostname'", "leaves the policy's folder"),
            ("[sets.a]\ncandidates = 'link.txt'", "leaves the policy's folder"),
            ("[sets.a]\ncandidates = '../*/*.txt'", "policy's folder"),
            ("[sets.a]\ncandidates = 'stored.txt'\ntwin = 3", "sets.a: unknown key 'twin'; did you mean twins?"),
            ("[sets.a]\ncandidates = 'gone.txt'", "gone.txt"),
            ("[sets.a]\ncandidates = 'stored.txt'\n[measure]\nprobe = 'basin'", "known: basins, entropy"),
            (
                "[sets.a]\ncandidates = 'stored.txt'\n[measure]\nt = 0.5",
                "audit.toml:4: measure: t: not of the",
            ),
            ("[sets.a]\ncandidates = 'stored.txt'\n[measure]\nsampler = 'atractor'", "did you mean attractor?"),
            ("[sets.a]\ncandidates = 'stored.txt'\n[measure]\nprobe = 'entropy'", "names none memorized"),
            ("fdr = 0.01", "no sets of candidates"),
        ],
    )
    def test_one_that_cannot_be_followed_is_told_with_its_place(self, home, content, says):
        Path("link.txt").symlink_to("/etc/hostname")
        Path("audit.toml").write_text(content)
        done = uddm("check", MEMORIZING, "--policy", "audit.toml")
        assert done.exit_code == 2, done.output
        assert says in told(done)

    def test_paths_may_leave_its_folder_if_that_is_said(self, home):
        Path("sub").mkdir()
        name = policy({"stored": "heldout"}, name="sub/audit.toml")
        Path(name).write_text(Path(name).read_text().replace('= "', '= "../', 2).replace('"h', '"../h'))
        assert uddm("check", MEMORIZING, "--policy", name, "--show-policy").exit_code == 2
        assert uddm("check", MEMORIZING, "--policy", name, "--show-policy", "--allow-outside").exit_code == 0


class TestBaseline:
    def accepted(self, *more, model=MEMORIZING):
        check(model, {"stored": "heldout"}, "-o", "audit.json")
        done = uddm("baseline", "add", "known.json", "--from", "audit.json", "--reason", "licensed [text]", *more)
        assert done.exit_code == 0, done.output
        return json.loads(Path("known.json").read_text())

    def test_what_is_accepted_no_longer_fails_and_is_shown_as_known(self, home):
        known = self.accepted("--author", "Ada", "--expires", "2999-01-01")
        assert [entry["verdict"] for entry in known["findings"]] == ["memorized"] * 3
        assert not any(line in Path("known.json").read_text() for line in STORED)
        done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json", "-o", "again.json")
        assert done.exit_code == 0, done.output
        assert "accepted by Ada until 2999-01-01: licensed [text]" in told(done)
        before, after = (json.loads(Path(f"{name}.json").read_text()) for name in ("audit", "again"))
        for x, y in zip(before["results"], after["results"], strict=True):
            assert (x["q_value"], x["verdict"], x["failing"]) == (y["q_value"], y["verdict"], True)
            assert (x["known"], y["failing"], y["known"]["author"]) == (None, False, "Ada")
        assert (after["gate"]["failing"], after["gate"]["known"]) == (0, 3)

    def test_it_is_recognized_whatever_is_shown_of_texts(self, home):
        self.accepted()
        for show in ("none", "excerpt", "full"):
            done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json", "--show-text", show)
            assert done.exit_code == 0, done.output

    def test_another_text_fails_beside_it(self, home):
        self.accepted()
        Path("stored.txt").write_text("".join(f"{line}\n" for line in TRAIN[:4]))
        done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json")
        assert done.exit_code == 1
        assert "FAILED: 1 text is memorized" in told(done)

    def test_one_that_has_expired_is_a_finding_again(self, home):
        self.accepted("--expires", "2999-01-01")
        Path("known.json").write_text(Path("known.json").read_text().replace("2999-01-01", "2001-01-01"))
        more = ("-o", "again.json", "-o", "again.csv", "-o", "again.md")
        done = check(MEMORIZING, {"stored": "heldout", "unseen": "heldout"}, "--baseline", "known.json", *more)
        assert done.exit_code == 1
        assert "3 of them accepted until a day that is over" in told(done)
        assert told(done).count("MEMORIZED, expired a") == 3
        assert "until 2001-01-01, which is over: licensed [text]" in told(done)
        texts = json.loads(Path("again.json").read_text())["results"]
        assert [text["expired"] is not None for text in texts] == [text["verdict"] == "memorized" for text in texts]
        assert [text["expired"]["expires"] for text in texts if text["expired"]] == ["2001-01-01"] * 3
        assert not any(text["known"] for text in texts)
        with Path("again.csv").open(newline="") as file:
            rows = [(row["expired"], row["known"], row["failing"]) for row in csv.DictReader(file)]
        assert rows == [(str(text["expired"] is not None), "False", str(text["failing"])) for text in texts]
        assert Path("again.md").read_text().count("failing, expired") == 3
        assert "3 accepted, 3 of them expired." in told(uddm("baseline", "list", "known.json"))
        assert "3 expired and 0 no longer found were removed, 0 are left" in told(
            uddm("baseline", "prune", "known.json")
        )

    def test_what_was_accepted_as_less_fails_as_more(self, home):
        self.accepted()
        Path("known.json").write_text(Path("known.json").read_text().replace("memorized", "familiar"))
        assert check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json").exit_code == 1

    def test_one_of_other_settings_or_another_key_is_refused(self, home, monkeypatch):
        self.accepted()
        done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json", "--restarts", "4")
        assert done.exit_code == 2
        assert "known.json: made under other settings: restarts (was 8, now 4)" in told(done)
        monkeypatch.setenv("UDDM_AUDIT_KEY", "another")
        done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json")
        assert done.exit_code == 2
        assert "made under another fingerprint key" in told(done)

    def test_one_that_is_none_is_refused(self, home):
        for content, says in (
            ("{", "no baseline"),
            ('{"schema": "uddm-audit/baseline/2"}', "another version"),
            ('{"schema": "uddm-audit/baseline/1"}', "no baseline"),
            ("[" * 100_000, "no baseline"),
        ):
            Path("known.json").write_text(content)
            for done in (
                check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json"),
                uddm("baseline", "list", "known.json"),
            ):
                assert done.exit_code == 2
                assert says in told(done)

    def test_only_what_is_named_is_accepted(self, home):
        check(MEMORIZING, {"stored": "heldout"}, "-o", "audit.json")
        one = json.loads(Path("audit.json").read_text())["results"][1]["fingerprint"]
        uddm("baseline", "add", "known.json", "--from", "audit.json", "--reason", "r", "--fingerprint", one)
        done = check(MEMORIZING, {"stored": "heldout"}, "--baseline", "known.json")
        assert "FAILED: 2 texts are memorized" in told(done)
        strange = uddm("baseline", "add", "k.json", "--from", "audit.json", "--reason", "r", "--fingerprint", "0" * 16)
        assert strange.exit_code == 2

    def test_what_is_no_longer_found_can_be_pruned(self, home):
        self.accepted()
        Path("stored.txt").write_text(f"{STORED[0]}\n")
        check(MEMORIZING, {"stored": "heldout"}, "-o", "later.json")
        done = uddm("baseline", "prune", "known.json", "--from", "later.json")
        assert "0 expired and 2 no longer found were removed, 1 are left" in told(done)


OUTPUTS = ["a.json", "a.sarif", "a.xml", "a.md", "a.csv", "a.jsonl"]


def test_output_is_the_same_for_the_same_input_but_for_times(home):
    texts = []
    for _ in range(2):
        check(MEMORIZING, {"stored": "heldout", "odd": "heldout"}, *(x for name in OUTPUTS for x in ("-o", name)))
        texts.append([DATES.sub("", Path(name).read_text()) for name in OUTPUTS])
    assert texts[0] == texts[1]
    assert not any(line in text for text in texts[0] for line in (*STORED, *UNSEEN))


def test_what_is_written_agrees_with_its_schema(home):
    check(MEMORIZING, {"stored": "heldout", "empty": "heldout", "odd": None}, "-o", "a.json")
    report = json.loads(Path("a.json").read_text())
    jsonschema.validate(report, json.loads(schema_text()))
    assert report["gate"]["exit_code"] == 1
    assert [reason["code"] for reason in report["gate"]["reasons"]] == [1, 3, 3, 4]


def test_a_time_limit_ends_with_what_was_measured_and_the_same_command_goes_on(home, monkeypatch):
    filed, put = [], Journal.put

    def noted(self, entries):
        filed.extend(entries := list(entries))
        put(self, entries)

    def advance(*_):
        # When the first texts are filed, and not all of them.
        if filed:
            raise TimeIsOver

    sets = {"stored": "heldout"}
    with monkeypatch.context() as patched:
        patched.setattr(TimeLimited, "advance", advance)
        patched.setattr(Journal, "put", noted)
        done = check(MEMORIZING, sets, "--time-limit", "10m", "--no-cache", "-o", "a.json")
    assert done.exit_code == 3, done.output
    assert "the time limit of 10m was over" in told(done)
    assert {r["skip_reason"] for r in json.loads(Path("a.json").read_text())["results"]} == {
        "not measured: the time limit of 10m was over"
    }
    assert Path("a.json.part").exists()
    rest = check(MEMORIZING, sets, "--no-cache", "-o", "a.json")
    assert "going on: " in told(rest)
    assert rest.exit_code == 1, rest.output
    assert not Path("a.json.part").exists()


def test_what_another_set_has_measured_in_time_is_judged(home, monkeypatch):
    """Texts of two sets, the second of which had no time: its candidates are measured, and what they are compared with
    is not."""
    filed, put = [], Journal.put

    def noted(self, entries):
        filed.extend(entries := list(entries))
        put(self, entries)

    def advance(*_):
        if filed:
            raise TimeIsOver

    monkeypatch.setattr(TimeLimited, "advance", advance)
    monkeypatch.setattr(Journal, "put", noted)
    Path("audit.toml").write_text(
        f'{MEASURE}[sets.twins]\ncandidates = "stored.txt"\ntwins = 19\nslot = "letters"\n'
        '[sets.again]\ncandidates = "stored.txt"\nheldout = "heldout.txt"\n'
    )
    done = uddm("check", MEMORIZING, "--policy", "audit.toml", "--time-limit", "10m", "--no-cache", "-o", "a.json")
    assert done.exit_code == 3, told(done)
    assert "texts were not measured: the time was over" in told(done)
    assert not any(r["failing"] for r in json.loads(Path("a.json").read_text())["results"])


def test_a_dry_run_tells_what_it_takes_and_writes_nothing(home):
    done = check(MEMORIZING, {"stored": "heldout", "unseen": "heldout"}, "--dry-run", "-o", "a.json")
    assert done.exit_code == 0, done.output
    assert re.search(r"texts +6 of 6 to measure .*forward passes [\d,]+ .*time about .*memory about", told(done))
    assert not list(Path().glob("a.json*"))


def test_heldout_text_is_measured_once_for_many_checks(home):
    check(MEMORIZING, {"stored": "heldout"})
    done = check(MEMORIZING, {"stored": "heldout"}, "--fail-on", "familiar")
    assert "held-out scores from an earlier run" in told(done)


def test_texts_that_change_meanwhile_are_never_a_pass(home, monkeypatch):
    measure = Check._measured

    def meddled(self, surveys):
        Path("unseen.txt").write_text("something else\n")
        return measure(self, surveys)

    monkeypatch.setattr(Check, "_measured", meddled)
    done = check(MEMORIZING, {"unseen": "heldout"}, "-o", "a.json")
    assert done.exit_code == 2, done.output
    assert "changed" in told(done)
    assert not Path("a.json").exists()


def test_where_nothing_can_be_written_nothing_is_measured(home):
    done = check(MEMORIZING, {"stored": "heldout"}, "-o", "/proc/a.json")
    assert done.exit_code == 2
    assert "not writable" in told(done)


def test_a_build_servers_summary_is_added_to(home, monkeypatch):
    summary = home / "summary"
    summary.write_text("# before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = check(MEMORIZING, {"stored": "heldout"}, "-o", f"markdown={summary}")
    assert done.exit_code == 1, done.output
    assert summary.read_text().startswith("# before\n")
    assert "# uddm-audit check: FAILED" in summary.read_text()
    assert sorted(path.name for path in home.glob("summary*")) == ["summary"]
