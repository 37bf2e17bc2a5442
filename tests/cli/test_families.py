"""Published families from the command line."""

import json
from dataclasses import replace

import pytest

from audit_cli.audits import Comparison, EntropySettings, entropy_audit, report_entropy
from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.duo import DISTILLED
from audit_cli.redaction import Redaction, ShowText
from tests.cli.test_commands import ROOT, uddm

ORACLES = ROOT / "tests" / "data" / "oracles"
LIGHTNING = ORACLES / "duo" / "lm1b-oracle.ckpt"


def unwrapped(text):
    """What was printed, whatever lines it was broken into: paths are long here and short there."""
    return " ".join(text.split())


def test_a_lightning_file_is_audited_with_the_tokenizer_that_it_holds(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat\n")
    for weights in ("raw", "ema"):
        done = uddm("entropy", LIGHTNING, tmp_path / "t.txt", "--weights", weights)
        assert done.exit_code == 0, done.output
        assert f"{weights} weights" in unwrapped(done.stdout) and "1 measured." in done.stdout
    assert "duo, dit backbone" in uddm("inspect", LIGHTNING).stdout


def test_the_papers_protocol_takes_raw_weights_where_there_are_any(tmp_path):
    (tmp_path / "t.txt").write_text("the cat sat\n")
    done = uddm("entropy", LIGHTNING, tmp_path / "t.txt", "--protocol", "paper")
    assert done.exit_code == 0 and "raw weights" in unwrapped(done.stdout)
    (tmp_path / "t.jsonl").write_text(json.dumps({"input_ids": [5, 6, 7, 8]}) + "\n")
    done = uddm("entropy", ORACLES / "udlm", tmp_path / "t.jsonl", "--protocol", "paper")
    assert done.exit_code == 0 and "ema weights" in unwrapped(done.stdout)


@pytest.mark.parametrize("family", ["udlm", "gidd"])
def test_a_folder_without_a_tokenizer_takes_tokens_and_skips_texts(tmp_path, family):
    rows = [{"input_ids": [5, 6, 7, 8]}, {"text": "a text"}]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    done = uddm("entropy", ORACLES / family, tmp_path / "t.jsonl")
    assert done.exit_code == 0, done.output
    assert "1 measured, 1 skipped." in unwrapped(done.stdout) and "--tokenizer" in unwrapped(done.stdout)
    assert uddm("inspect", ORACLES / family).exit_code == 0


def test_a_path_that_was_mistyped_is_no_name_on_the_hub(tmp_path):
    done = uddm("inspect", tmp_path / "nothing")
    assert done.exit_code == 2 and "no such file or folder" in done.output


def test_a_distilled_model_gets_no_regime():
    model = load_model(LIGHTNING)
    model = replace(model, info=replace(model.info, family=DISTILLED))
    audit = entropy_audit(model, (), Comparison(), EntropySettings(samples=8, sample_steps=4))
    found = report_entropy(audit, Redaction(ShowText.NONE, b"k")).regime
    assert found.regime is None and "distilled" in found.reason
