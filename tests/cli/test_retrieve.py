"""`uddm-audit retrieve`, as a person gives it."""

import json
import random
from pathlib import Path

import pytest
from typer.testing import CliRunner

from audit_cli.checkpoints.loaded import Layout, LoadedModel
from audit_cli.cli import app
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import ModelInfo
from tests.exact import ExactDenoiser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING, GENERALIZING = str(EXAMPLES / "memorizing"), str(EXAMPLES / "generalizing")
TRAIN = EXAMPLES / "train.txt"
STORED = "who fed thee in the wilderness"
CUE = "who fed th__ in __e wil_er_e_s"


def uddm(*arguments, **more):
    return CliRunner().invoke(app, [str(a) for a in arguments], **more)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def posterior_model():
    net = ExactDenoiser([[1, 2], [2, 1]], 3, Law.POSTERIOR)
    info = ModelInfo("n", "f", 1, 3, 2, "log-linear", str(net.law), "r", "raw", "w", "t", "s", "b")
    return LoadedModel(net, None, Layout(2), info)


def damaged(text, seed):
    """The text with a quarter of its characters unknown."""
    places = set(random.Random(seed).sample(range(len(text)), round(len(text) / 4)))
    return "".join("_" if i in places else c for i, c in enumerate(text))


@pytest.fixture(scope="module")
def trained(memorizing):
    """The sixteen training lines, as the model spells them."""
    plain = [memorizing.tokenizer.encode(line) for line in TRAIN.read_text().splitlines()[:16]]
    return [memorizing.tokenizer.decode(tokens) for tokens in plain]


def test_every_training_line_comes_back_to_a_cue_with_three_quarters_of_it_and_is_stored(trained, tmp_path):
    cues = "".join(f"{damaged(text, i)}\n" for i, text in enumerate(trained))
    for how in ([], ["--freeze"]):
        out = tmp_path / f"o{len(how)}.jsonl"
        done = uddm("retrieve", MEMORIZING, "-", *how, "--corpus", TRAIN, "--show-text", "full", "-o", out, input=cues)
        assert done.exit_code == 0, done.output
        first = [row for row in lines(out) if row["rank"] == 1]
        assert [row["text"] for row in first] == trained
        assert {row["storage"] for row in first} == {"stored"} and all(row["fixed_point"] for row in first)
        assert min(row["count"] for row in first) >= 60 and max(row["entropy_nats"] for row in first) < 0.1
        assert [row["nearest"] for row in first] == [f"train.txt:{i}" for i in range(1, 17)]
        assert "16 stored" in done.stdout


def test_a_model_that_generalizes_brings_back_few(trained, tmp_path):
    cues = "".join(f"{damaged(text, i)}\n" for i, text in enumerate(trained))
    for how in ([], ["--freeze"]):
        out = tmp_path / f"o{len(how)}.jsonl"
        found = uddm("retrieve", GENERALIZING, "-", *how, "--corpus", TRAIN, "-o", out, input=cues)
        assert found.exit_code == 0
        first = [row for row in lines(out) if row["rank"] == 1]
        assert sum(row["storage"] == "stored" for row in first) <= 3


def test_wrong_letters_are_mended_where_nothing_is_frozen(tmp_path):
    out = tmp_path / "o.jsonl"
    wrong = STORED.replace("wilderness", "wildarnoss")
    asked = ("--show-text", "full", "-o", out, "--restarts", 32)
    assert uddm("retrieve", MEMORIZING, wrong, "--level", 0.25, *asked).exit_code == 0
    assert lines(out)[0]["text"] == STORED and lines(out)[0]["count"] >= 28 and lines(out)[0]["storage"] is None
    frozen = wrong.replace("who", "w_o")
    assert uddm("retrieve", MEMORIZING, frozen, "--freeze", *asked).exit_code == 0
    assert lines(out)[0]["text"] == wrong


def test_counts_are_of_the_restarts_and_do_not_depend_on_the_batch(tmp_path):
    tables = []
    for more in ([], ["--batch-size", 5]):
        out = tmp_path / f"o{len(more)}.jsonl"
        assert uddm("retrieve", GENERALIZING, CUE, "--freeze", "--restarts", 40, *more, "-o", out).exit_code == 0
        tables.append(lines(out))
    assert tables[0] == tables[1]
    assert sum(row["count"] for row in tables[0]) == 40
    assert [row["rank"] for row in tables[0]] == list(range(1, len(tables[0]) + 1))


def test_texts_and_cues_are_shown_only_as_far_as_asked(tmp_path):
    for how, shown in (("none", False), ("fingerprint", False), ("excerpt", False), ("full", True)):
        out = tmp_path / f"{how}.jsonl"
        done = uddm("retrieve", MEMORIZING, CUE, "--show-text", how, "-o", out, "--corpus", TRAIN)
        assert done.exit_code == 0, done.output
        assert (STORED in done.stdout) == (STORED in out.read_text()) == (CUE in done.stdout) == shown
    assert "wi**" in uddm("retrieve", MEMORIZING, CUE, "--show-text", "excerpt").stdout


def test_cues_that_cannot_be_run_are_rows_with_their_reason(tmp_path):
    out, cues = tmp_path / "o.csv", f"{CUE}\n____\nson of m_n 日\n"
    done = uddm("retrieve", MEMORIZING, "-", "-o", out, "-o", tmp_path / "o.md", input=cues)
    assert done.exit_code == 0 and "2 cues skipped" in done.stdout
    assert out.read_text().count('"skipped"') == 2 and "skipped: nothing of the cue" in (tmp_path / "o.md").read_text()
    assert uddm("retrieve", MEMORIZING, "-", "--strict", input=cues).exit_code == 3
    assert uddm("retrieve", MEMORIZING, "-", input="____\n").exit_code == 3
    assert uddm("retrieve", MEMORIZING, "-", input="").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ([""], 2, "the cue is empty"),
        (["______"], 2, "uddm-audit generate gives"),
        ([STORED], 2, "nothing of the cue is unknown"),
        ([CUE + CUE], 2, "the cue has 60 tokens, and the model takes 32"),
        (["日_"], 2, "'日' is not in the model's vocabulary"),
        ([CUE, "--freeze", "--level", 0.5], 2, "leave one of both out"),
        ([CUE, "--level", 1], 2, "not between"),
        ([CUE, "--sampler", "entropy-bound"], 2, "conditioned on its own last prediction"),
        ([CUE, "--sampler", "attractor", "--steps", 4], 2, "takes no steps"),
        ([CUE, "--corpus", "nowhere.txt"], 2, "no such file"),
        (["-", "--corpus", "-"], 2, "standard input can be read only once"),
        ([CUE, "--restarts", 0], 2, "not between"),
    ],
)
def test_what_cannot_be_done_is_told_and_writes_nothing(tmp_path, arguments, code, told):
    out = tmp_path / "o.csv"
    done = uddm("retrieve", MEMORIZING, *arguments, "-o", out)
    assert done.exit_code == code and told in done.stderr
    assert "Traceback" not in done.output and "wilderness" not in done.output and not out.exists()


def test_a_model_that_is_not_there_is_told_of():
    assert uddm("retrieve", "nowhere", CUE).exit_code == 2


def test_a_network_without_attractors_is_refused(monkeypatch):
    model = posterior_model()
    monkeypatch.setattr("audit_cli.cli.remembering.model_of", lambda *_: model)
    done = uddm("retrieve", MEMORIZING, CUE)
    assert done.exit_code == 3 and "posterior law, under which every text is a fixed point" in done.stderr


def test_a_dry_run_counts_what_it_would_take_and_writes_nothing(tmp_path):
    cues = "in the b_g\n____\nwho led th_e\n"
    more = ("--restarts", 10, "--sampler", "one-shot", "-o", tmp_path / "o.csv", "--dry-run")
    done = uddm("retrieve", MEMORIZING, "-", *more, input=cues)
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert lines[0] == "cues           2 of 3 to run, 10 restarts each (1 cannot be run)"
    # A restart is one step, then it is asked whether its end is fixed, and how well it is known.
    assert lines[1] == "forward passes 60 of one sequence: cues 40, entropy 20"
    assert "Nothing was measured or written" in lines[4]
    assert not list(tmp_path.glob("o.*"))
    refused = uddm("retrieve", MEMORIZING, "____", "--dry-run")
    assert refused.exit_code == 2 and "nothing of the cue is known" in refused.output
