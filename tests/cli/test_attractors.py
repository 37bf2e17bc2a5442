"""`uddm-audit attractors`, as a person gives it."""

import csv
import json
import math
from pathlib import Path

import pandas
import pytest
from typer.testing import CliRunner

from audit_cli.checkpoints.loaded import Layout, LoadedModel
from audit_cli.cli import app
from audit_cli.diffusion.denoiser import Law
from audit_cli.records import ModelInfo
from tests.exact import ExactDenoiser

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
MEMORIZING, GENERALIZING = str(EXAMPLES / "memorizing"), str(EXAMPLES / "generalizing")
STORED = "who fed thee in the wilderness"
UNSEEN = "no doubt but ye are the people"
MARGIN = "smallest_margin_nats"


def uddm(*arguments, **more):
    return CliRunner().invoke(app, [str(a) for a in arguments], **more)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The sixteen training lines of the memorizing model."""
    path = tmp_path_factory.mktemp("texts") / "stored.txt"
    path.write_text("".join((EXAMPLES / "train.txt").read_text().splitlines(keepends=True)[:16]))
    return path


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "unseen.txt"
    path.write_text("".join((EXAMPLES / "heldout.txt").read_text().splitlines(keepends=True)[:60]))
    return path


def test_what_is_stored_is_a_deep_attractor_and_what_is_unseen_is_none(stored, unseen, tmp_path):
    out = tmp_path / "o.csv"
    done = uddm("attractors", MEMORIZING, stored, "--heldout", unseen, "-o", out)
    assert done.exit_code == 0, done.output
    assert "16 of 16 texts are fixed points, 1 [.81, 1]; 0 of 60 held-out texts are fixed points" in done.stdout
    assert "No verdict" in done.stdout
    found = rows(out)
    assert [row["id"] for row in found] == [f"stored.txt:{i}" for i in range(1, 17)]
    assert {row["fixed_point"] for row in found} == {"True"}
    assert min(int(row["flips_survived"]) for row in found) >= 20 and min(float(row[MARGIN]) for row in found) > 2
    for row in found:
        survived, tokens = int(row["flips_survived"]), int(row["tokens"])
        assert float(row["flips_survived_share"]) == survived / tokens and int(row["returned"]) >= 8
        assert float(row["returned_share"]) == int(row["returned"]) / 16
        assert (row["returned_one_more"] == "") == (survived == tokens)
        assert float(row["energy_nats"]) == pytest.approx(float(row["energy_mean_nats"]) * tokens)
    meta = json.loads((tmp_path / "o.meta.json").read_text())
    assert meta["texts"]["fixed_points"] == 16 and meta["heldout"]["measured"] == 60
    assert meta["settings"]["restarts"] == 16 and meta["settings"]["heldout_sha256"]
    # At a terminal the deepest comes first.
    order = [line.split()[0] for line in done.stdout.splitlines() if line.strip().startswith("stored.txt:")]
    depth = {row["id"]: (int(row["flips_survived"]), float(row[MARGIN])) for row in found}
    assert order == sorted(depth, key=depth.get, reverse=True)


def test_to_a_model_that_generalizes_few_are(stored, unseen, tmp_path):
    out = tmp_path / "o.jsonl"
    assert uddm("attractors", GENERALIZING, stored, "--heldout", unseen, "-o", out).exit_code == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert sum(row["fixed_point"] for row in found) <= 2
    for row in found:
        if not row["fixed_point"]:
            assert row["flips_survived"] is None and row["returned"] is None and row["changed_tokens"] > 0


def test_batch_and_order_and_company_change_nothing(stored, unseen, tmp_path):
    texts = (stored.read_text() + unseen.read_text()).splitlines()[10:24]
    tables = []
    for name, lines, more in (("a", texts, []), ("b", texts[::-1], ["--batch-size", 3]), ("c", texts[2:5], [])):
        given, out = tmp_path / f"{name}.txt", tmp_path / f"{name}.csv"
        given.write_text("\n".join(lines) + "\n")
        assert uddm("attractors", MEMORIZING, given, "--restarts", 4, *more, "-o", out).exit_code == 0
        tables.append({row["fingerprint"]: row for row in rows(out)})
    for row in (row for table in tables for row in table.values()):
        del row["source"], row["line"], row["id"]
    assert tables[0] == tables[1] and tables[2].items() <= tables[0].items()


def test_texts_and_rivals_are_shown_only_as_far_as_asked(tmp_path):
    for how, shown in (("none", False), ("fingerprint", False), ("excerpt", False), ("full", True)):
        out = tmp_path / f"{how}.jsonl"
        given = f"{STORED}\n{UNSEEN}\n"
        asked = ("--restarts", 2, "--show-text", how, "-o", out)
        done = uddm("attractors", MEMORIZING, "-", *asked, input=given)
        assert done.exit_code == 0, done.output
        assert (STORED[:24] in done.stdout) == (STORED in out.read_text()) == shown
        first = json.loads(out.read_text().splitlines()[0])
        assert (first["rival"] is not None) == shown and (first["fingerprint"] is None) == (how == "none")
        assert first["smallest_margin_position"] == 17
    assert STORED[:8] not in uddm("attractors", MEMORIZING, "-", "--restarts", 2, input=f"{STORED}\n").stdout


def test_formats_and_bits_agree(tmp_path):
    outs = [tmp_path / f"o.{kind}" for kind in ("csv", "parquet", "md")]
    asked = [part for out in outs for part in ("-o", out)]
    given = f"{UNSEEN}\n{STORED}\n{STORED}\n"
    assert uddm("attractors", MEMORIZING, "-", "--unit", "bits", *asked, input=given).exit_code == 0
    nats = tmp_path / "n.csv"
    assert uddm("attractors", MEMORIZING, "-", "-o", nats, input=given).exit_code == 0
    for bits, row in zip(rows(outs[0]), rows(nats), strict=True):
        for name in ("energy", "energy_mean", "smallest_margin"):
            assert float(bits[f"{name}_bits"]) == pytest.approx(float(row[f"{name}_nats"]) / math.log(2))
    table = pandas.read_parquet(outs[1])
    assert list(table["smallest_margin_bits"]) == [float(row["smallest_margin_bits"]) for row in rows(outs[0])]
    assert table["flips_survived"].isna().tolist() == [True, False, False]
    lines = outs[2].read_text().splitlines()
    assert "energy, bits/token" in outs[2].read_text()
    # The deepest first.
    assert [line.count("30 of 30") for line in lines if line.startswith("|")][2:] == [1, 1, 0]


@pytest.mark.parametrize("width", [60, 80, 124])
def test_a_narrow_terminal_loses_columns_and_no_line_is_wider(width, monkeypatch):
    monkeypatch.setattr("audit_cli.cli.session.PIPE_WIDTH", width)
    done = uddm("attractors", MEMORIZING, "-", "--restarts", 2, input=f"{STORED}\n{UNSEEN}\n日本\n{'god ' * 20}\n")
    assert done.exit_code == 0 and max(map(len, done.stdout.splitlines())) <= width
    assert "30 of 30" in done.stdout and "skipped a" in done.stdout
    assert (("itself" in done.stdout), ("[95 %]" in done.stdout)) == (width > 60, width > 80)


def test_texts_that_cannot_be_measured_are_rows_with_their_reason(tmp_path):
    out = tmp_path / "o.csv"
    given = f"{STORED}\n日本\n"
    done = uddm("attractors", MEMORIZING, "-", "--restarts", 2, "-o", out, input=given)
    assert done.exit_code == 0 and "1 skipped" in done.stdout and "日本" not in done.stdout
    assert [row["status"] for row in rows(out)] == ["measured", "skipped"]
    assert uddm("attractors", MEMORIZING, "-", "--restarts", 2, "--strict", input=given).exit_code == 3
    assert uddm("attractors", MEMORIZING, "-", input="日本\n").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["EMPTY"], 3, "holds no text"),
        (["nowhere.txt"], 2, "no such file"),
        (["TEXT", "--heldout", "nowhere.txt"], 2, "no such file"),
        (["TEXT", "--heldout", "EMPTY"], 3, "holds no text"),
        (["TEXT", "--restarts", 0], 2, "not between"),
        (["TEXT", "--restart"], 2, "no -o was given"),
        (["-", "--heldout", "-"], 2, "standard input can be read only once"),
        (["TEXT", "-o", "o.txt"], 2, "o.txt"),
        (["TEXT", "-o", "csv=TEXT"], 2, "TEXT"),
    ],
)
def test_what_cannot_be_done_is_told(tmp_path, monkeypatch, arguments, code, told):
    monkeypatch.chdir(tmp_path)
    Path("EMPTY").write_text("\n")
    Path("TEXT").write_text(f"{STORED}\n")
    kind = ["--input-format", "txt"]
    done = uddm("attractors", MEMORIZING, *arguments, *kind)
    assert done.exit_code == code and told in done.stderr
    assert "Traceback" not in done.output and "wilderness" not in done.output
    assert Path("TEXT").read_text() == f"{STORED}\n"


def exact_model(law=Law.LEAVE_ONE_OUT):
    net = ExactDenoiser([[1, 2], [2, 1]], 3, law)
    info = ModelInfo("n", "f", 1, 3, 2, "log-linear", str(law), "r", "raw", "w", "t", "s", "b")
    return LoadedModel(net, None, Layout(2), info)


def test_a_network_without_attractors_is_refused(monkeypatch):
    monkeypatch.setattr("audit_cli.cli.attracting.model_of", lambda *_: exact_model(Law.POSTERIOR))
    done = uddm("attractors", MEMORIZING, "-", input="a\n")
    assert done.exit_code == 3 and "posterior law, under which every text is a fixed point" in done.stderr


def test_a_network_without_numbers_measures_nothing(monkeypatch, tmp_path):
    model = exact_model()
    hidden = model.denoiser.hidden
    model.denoiser.hidden = lambda tokens, t, context=None: float("nan") * hidden(tokens, t)
    monkeypatch.setattr("audit_cli.audits.attractors.checked_law", lambda *_: _confirmed())
    monkeypatch.setattr("audit_cli.cli.attracting.model_of", lambda *_: model)
    given, out = tmp_path / "t.jsonl", tmp_path / "o.csv"
    given.write_text('{"input_ids": [1, 2]}\n')
    done = uddm("attractors", MEMORIZING, given, "-o", out)
    assert done.exit_code == 3 and rows(out)[0]["skip_reason"] == "the network's output is not a number"
    assert rows(out)[0]["energy_nats"] == ""


def _confirmed():
    from audit_cli.records import LawCheck, LawCheckResult

    return LawCheckResult(0.0, LawCheck.CONFIRMED, 1)


def test_ids_from_outside_are_made_safe(tmp_path):
    given = tmp_path / "c.jsonl"
    given.write_text(json.dumps({"id": "=1+1\x1b[31m", "text": STORED}) + "\n")
    done = uddm("attractors", MEMORIZING, given, "--restarts", 2, "-o", tmp_path / "o.csv")
    assert done.exit_code == 0 and "\x1b" not in done.stdout
    assert rows(tmp_path / "o.csv")[0]["id"] == "'=1+1\\x1b[31m"


def test_heldout_text_of_which_nothing_can_be_measured_is_no_comparison(tmp_path):
    unknown = tmp_path / "unknown.txt"
    unknown.write_text("12345\n67890\n")
    done = uddm("attractors", MEMORIZING, EXAMPLES / "candidates.txt", "--limit", 2, "--heldout", unknown)
    assert done.exit_code == 3, done.output
    assert "none of 2 held-out texts could be measured" in done.stderr
