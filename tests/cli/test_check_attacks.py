"""`uddm-audit check` under attack: by policies, names, signals, time limits and arguments that nobody meant."""

import datetime
import json
import math
import os
import re
import signal
import subprocess
import sys
import xml.dom.minidom
from contextlib import closing
from pathlib import Path

import pytest

import audit_cli.cli as cli
from audit_cli.api.gate import check as gate
from audit_cli.audits import Journal, cache
from audit_cli.audits.watch import TimeIsOver, TimeLimited
from audit_cli.checkpoints import load_model
from audit_cli.cli import running
from tests.cli.test_check import DATES, HELDOUT, STORED, UNKNOWN, UNSEEN, told
from tests.cli.test_commands import GENERALIZING, MEMORIZING, uddm

pytestmark = pytest.mark.slow

MEASURE = "fdr = 0.05\n[measure]\nlevels = [0.25]\nrestarts = 4\nsteps = 4\n"
CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202e]")
KEY = "a key for tests"
# What holds of a text whatever it is judged together with.
OWN = ("fingerprint", "score", "p_value", "p_value_upper95", "references", "comparability", "status", "basin", "tokens")


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("UDDM_AUDIT_KEY", KEY)
    monkeypatch.setattr(cache, "_code", lambda: "code")
    monkeypatch.chdir(tmp_path)
    files = {
        "stored": STORED,
        "unseen": UNSEEN,
        "heldout": HELDOUT[:60],
        # Shares a candidate, and texts, with the others.
        "others": [*HELDOUT[50:75], STORED[0]],
        "skipped": [UNKNOWN, f"{UNKNOWN}1"],
    }
    for name, lines in files.items():
        Path(f"{name}.txt").write_text("".join(f"{line}\n" for line in lines))
    return tmp_path


def table(name, candidates, heldout="heldout.txt", more=""):
    held = f'heldout = "{heldout}"\n' if heldout else ""
    return f'[sets.{name}]\ncandidates = "{candidates}"\n{held}{more}\n'


def check(tables, *more, model=MEMORIZING, top=""):
    Path("audit.toml").write_text("".join([top, MEASURE, *tables]))
    done = uddm("check", model, "--policy", "audit.toml", *more)
    said = told(done)
    assert not CONTROL.search(done.output)
    assert KEY not in said
    assert not any(line in said for line in (*STORED, *UNSEEN))
    return done


def results(name):
    return json.loads(Path(name).read_text())["results"]


def test_a_set_of_which_nothing_was_measured_has_not_passed_beside_others(home):
    tables = table("a", "skipped.txt"), table("b", "unseen.txt")
    done = check(tables, "--max-skipped", "9")
    assert done.exit_code == 3, done.output
    assert "a: all texts are skipped" in told(done)


def test_each_set_is_measured_as_if_it_were_alone(home):
    twins = 'twins = {}\nslot = "{}"\n'
    tables = [
        table("a", "stored.txt"),
        table("b", "unseen.txt", "others.txt"),
        table("c", "stored.txt", "unseen.txt"),
        table("d", "others.txt", "stored.txt"),
        table("e", "stored.txt", "", twins.format(20, "letters")),
        table("f", "stored.txt", "", twins.format(12, "letters")),
        table("g", "stored.txt", "", twins.format(20, "alphanumeric")),
        table("h", "unseen.txt", "", twins.format(20, "{} a {}")),
    ]
    check(tables, "-o", "all.json", "--no-cache")
    check(tables[::-1], "-o", "reversed.json", "--no-cache")
    together = results("all.json")
    assert sorted(results("reversed.json"), key=str) == sorted(together, key=str)
    for name, one in zip("abcdefgh", tables, strict=True):
        check([one], "-o", "alone.json", "--no-cache")
        mine = [[found[key] for key in OWN] for found in together if found["set"] == name]
        assert mine == [[found[key] for key in OWN] for found in results("alone.json")], name
    drawn = {found["set"]: found["references"] for found in together}
    assert (drawn["e"], drawn["f"], drawn["g"]) == (20, 12, 20)


def test_a_run_that_is_stopped_anywhere_is_finished_by_the_same_command(home, monkeypatch):
    """After every so many reports of progress the time is over; what is written in the end is always the same."""
    tables = [
        *(table("a", "stored.txt"), table("b", "unseen.txt", "others.txt")),
        table("c", "stored.txt", "", 'twins = 9\nslot = "letters"\n'),
        "[regime]\nsamples = 8\nmin-distinct-share = 0.1\n",
    ]
    names = ["a.json", "a.sarif", "a.xml", "a.md", "a.csv"]
    asked = [*(part for name in names for part in ("-o", name)), "--no-cache"]
    left = [10**9]

    def advance(*_):
        left[0] -= 1
        if left[0] <= 0:
            raise TimeIsOver

    def whole():
        return [DATES.sub("", Path(name).read_text()) for name in (*names, "a.meta.json")]

    monkeypatch.setattr(TimeLimited, "advance", advance)
    check(tables, *asked, "--time-limit", "1h")
    expected, steps = whole(), 10**9 - left[0]
    assert steps > 40
    for stop in (1, 2, steps // 3, steps // 2, steps - 8, steps):
        left[0] = stop
        done = check(tables, *asked, "--time-limit", "1h")
        assert done.exit_code in (1, 3), done.output
        assert ("same command goes on" in told(done)) == Path("a.json.part").exists()
        left[0] = 10**9
        check(tables, *asked, "--time-limit", "1h")
        assert whole() == expected, stop
        assert sorted(path.name for path in home.glob("a.json*")) == ["a.json"]


def test_names_that_act_on_a_terminal_or_a_build_server_are_written_out(home):
    names = ["a.json", "a.sarif", "a.xml", "a.md", "a.csv", "a.jsonl"]
    evil = '"a\\u001b[31m\\n::error::x\\u202e\\u009b<|>`"'
    done = check(
        [table(evil, "stored.txt"), table('"=b\\u0000]]>"', "unseen.txt", "stored.txt")],
        *(part for name in names for part in ("-o", name)),
    )
    assert not any(line.startswith("::") for line in done.output.splitlines())
    for name in names:
        text = Path(name).read_text()
        assert not CONTROL.search(text), name
        assert KEY not in text
        assert not any(line in text for line in (*STORED, *UNSEEN)), name
    xml.dom.minidom.parse("a.xml")  # noqa: S318 - it is ours
    shown = check([table(evil, "stored.txt")], "--show-policy")
    assert '"a\\u001b[31m\\n::error::x\\u202e\\u009b<|>`"' in shown.output


def test_a_reference_model_may_be_named_beside_a_policy(home):
    assert check([table("a", "stored.txt")], "--reference-model", GENERALIZING).exit_code == 1
    done = check([table("a", "stored.txt", "")], "--reference-model", GENERALIZING)
    assert done.exit_code == 2
    assert "set a: a reference model needs held-out text" in told(done)


def test_a_slot_of_any_bytes_is_a_slot(home):
    done = uddm("check", MEMORIZING, "stored.txt", "--twins", "5", "--slot", "\udcff{}", "--restarts", "2")
    assert done.exit_code == 4, done.output
    assert "nothing to redraw" in told(done)


@pytest.mark.parametrize(
    "more",
    [
        ["--exit-zero", "--strict", "--fail-on", "recoverable"],
        ["--time-limit", "1s", "--max-skipped", "0"],
        ["--restart", "-o", "a.json", "-o", "a.csv"],
    ],
    ids=str,
)
def test_a_dry_run_measures_and_writes_nothing_whatever_stands_beside_it(home, more):
    for candidates in ("stored.txt", "skipped.txt"):
        assert check([table("a", candidates)], "--dry-run", *more).exit_code == 0
    assert not list(home.glob("a.*"))


@pytest.mark.parametrize(
    "more",
    [
        ["-o", "json=audit.toml"],
        ["-o", "json=stored.txt"],
        ["-o", "json=heldout.txt"],
        ["-o", "json=known.json", "--baseline", "known.json"],
        ["-o", "a.json", "-o", "json=a.json"],
        ["-o", "a.json", "-o", "json=a.json.part"],
        ["-o", "a.csv", "-o", "json=a.meta.json"],
        ["-o", "json=pipe"],
        ["-o", "json=link"],
        ["-o", "json=/dev/full"],
        ["-o", "gone/a.json"],
        ["-o", f"{'x' * 300}.json"],
    ],
    ids=str,
)
def test_an_output_takes_no_others_place(home, more):
    check([table("a", "stored.txt")], "-o", "report.json")
    uddm("baseline", "add", "known.json", "--from", "report.json", "--reason", "r")
    os.mkfifo("pipe")
    Path("link").symlink_to("report.json")
    before = {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()}
    assert check([table("a", "stored.txt")], *more).exit_code == 2
    assert {path.name: path.read_bytes() for path in home.iterdir() if path.is_file()} == before


def test_a_text_that_was_skipped_stays_in_a_baseline(home):
    check([table("a", "stored.txt")], "-o", "report.json")
    uddm("baseline", "add", "known.json", "--from", "report.json", "--reason", "r")
    report = json.loads(Path("report.json").read_text())
    report["results"][0] |= {"status": "skipped", "verdict": None, "failing": False}
    report["results"][1]["verdict"] = "no evidence"
    Path("later.json").write_text(json.dumps(report))
    done = uddm("baseline", "prune", "known.json", "--from", "later.json")
    assert "1 no longer found were removed, 2 are left" in told(done)


def test_what_a_baseline_says_does_not_act_on_a_terminal(home):
    check([table("a", "stored.txt")], "-o", "report.json")
    evil = "\x1b[31m\n::error::\u202e"
    done = uddm(
        *("baseline", "add", "known.json", "--from", "report.json"),
        *("--reason", evil, "--author", f"{evil}\udcff"),
    )
    assert done.exit_code == 0, done.output
    found = json.loads(Path("known.json").read_text()) | {"settings_id": evil, "settings": {evil: evil}, "key": evil}
    Path("known.json").write_text(json.dumps(found, indent=2))
    listed = uddm("baseline", "list", "known.json")
    assert listed.exit_code == 0, listed.output
    assert not CONTROL.search(listed.output)


@pytest.mark.parametrize("expires", ["20990101", "2027-W26-3", "2027-02-30", "10000-01-01", ""])
def test_a_day_that_the_file_would_not_take_is_refused(home, expires):
    done = uddm("baseline", "add", "k.json", "--from", "r.json", "--reason", "r", "--expires", expires)
    assert done.exit_code == 2
    assert "is no day such as" in told(done)


def test_when_a_journal_has_done_its_work_nothing_of_it_is_left_to_be_taken_for_a_strangers(tmp_path):
    """A reader that goes away ends the program right after that: the same command must run again."""
    path = tmp_path / "a.json.part"
    with closing(Journal(path, b"key")) as journal:
        journal.put([(b"k", "", b"d")])
        journal.finish()
        assert not list(tmp_path.glob("a.json*"))
        assert journal.get(b"k") == ("", b"d")


def test_who_stops_a_run_that_has_written_everything_is_not_sent_to_a_journal(home, monkeypatch):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("audit_cli.cli.gating.gate_report", stopped)
    done = check([table("a", "stored.txt")], "-o", "a.json", "-q")
    assert done.exit_code == 130
    assert "everything that was asked for is written" in told(done)
    assert results("a.json")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_while_libraries_are_loaded_is_a_stop(number, code):
    program = (
        "import os\nfrom audit_cli.cli import session\n"
        f"with session.loading():\n    os.kill(os.getpid(), {int(number)})\n    print('went on')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert "stopped before anything was measured" in done.stderr


def test_a_stop_before_a_command_begins_has_no_traceback(monkeypatch):
    def stopped(**_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "app", stopped)
    monkeypatch.setattr(cli, "_fill_closed_streams", lambda: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_the_shell_closed_is_no_error(home, closed):
    Path("known.json").write_text(
        '{"schema": "uddm-audit/baseline/1", "key": "", "settings": {}, "settings_id": "", "findings": []}'
    )
    program = f"{sys.executable} -c 'from audit_cli.cli import main; main()' baseline list known.json {closed}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_model_that_vanishes_while_it_is_audited_was_read_before(home, monkeypatch, tmp_path):
    load = running.load_model
    copy = tmp_path / "model"
    copy.mkdir()
    for file in Path(MEMORIZING).iterdir():
        (copy / file.name).write_bytes(file.read_bytes())

    def gone(*given, **more):
        model = load(*given, **more)
        for file in copy.iterdir():
            file.unlink()
        copy.rmdir()
        return model

    monkeypatch.setattr(running, "load_model", gone)
    assert check([table("a", "stored.txt")], model=str(copy)).exit_code == 1


class TestApi:
    @pytest.fixture(scope="class")
    def model(self):
        return load_model(MEMORIZING)

    @pytest.mark.filterwarnings("ignore::UserWarning")
    def test_texts_that_can_be_read_once_are_enough(self, model):
        options = {"fdr": 0.05, "restarts": 4, "steps": 4}
        first = gate(model, iter(STORED), iter(HELDOUT), **options)
        again = gate(model, {"a": iter(STORED), "b": STORED}, iter(HELDOUT), **options)
        assert (first.exit_code, again.exit_code) == (1, 1)
        assert [one.failing for one in again.sets] == [3, 3]

    @pytest.mark.parametrize(
        ("texts", "error"),
        [
            *(({}, ValueError), ({1: STORED}, ValueError), ({"": STORED}, ValueError), ("a text", TypeError)),
            *(({"a": "a text"}, TypeError), (None, TypeError), ([1], TypeError)),
        ],
    )
    def test_texts_that_are_none(self, model, texts, error):
        with pytest.raises(error):
            gate(model, texts, HELDOUT)

    @pytest.mark.parametrize(
        "option",
        [
            *({"fdr": math.nan}, {"fdr": 0}, {"max_skipped": -1}, {"max_skipped": math.nan}, {"max_skipped": 1.5}),
            *({"min_references": -1}, {"min_references": math.nan}, {"twins": 1.5}, {"restarts": True}, {"steps": "x"}),
            *({"today": "2027-01-01"}, {"today": datetime.datetime(2027, 1, 1)}, {"key": b""}),
        ],
        ids=str,
    )
    def test_an_argument_that_would_let_anything_pass_is_refused(self, model, option):
        with pytest.raises(ValueError, match=next(iter(option))):
            gate(model, STORED, None if "twins" in option else HELDOUT, **option)
