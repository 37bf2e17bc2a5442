"""Calibrations as a program uses them."""

from pathlib import Path

import pytest

import audit_cli
from tests.cli.test_commands import MEMORIZING, uddm

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
HELDOUT = (EXAMPLES / "heldout.txt").read_text().splitlines()[:60]
LEAKED = (EXAMPLES / "train.txt").read_text().splitlines()[:2]
KEY = b"a key for tests"
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def model():
    return audit_cli.load(MEMORIZING)


@pytest.fixture(scope="module")
def calibration(model):
    return audit_cli.calibrate(model, HELDOUT, "entropy", key=KEY)


def test_a_calibration_stands_for_heldout_text_as_itself_and_as_its_file(model, calibration, tmp_path):
    path = tmp_path / "c.json"
    path.write_bytes(calibration.encoded())
    given = [list(audit_cli.entropy(model, LEAKED, calibration=one, key=KEY)) for one in (calibration, path, str(path))]
    assert given[0] == given[1] == given[2]
    assert {r.judgement.verdict for r in given[0]} == {audit_cli.Verdict.FAMILIAR}


def test_the_command_line_writes_the_same_file(calibration, tmp_path, monkeypatch):
    monkeypatch.setenv("UDDM_AUDIT_KEY", KEY.decode())
    (tmp_path / "h.txt").write_text("\n".join(HELDOUT))
    path = tmp_path / "c.json"
    assert uddm("calibrate", MEMORIZING, tmp_path / "h.txt", "-o", path, "--for", "entropy").exit_code == 0
    assert path.read_bytes() == calibration.encoded()


def test_what_does_not_go_together_is_refused_at_once(model, calibration):
    for other in ({"heldout": HELDOUT}, {"twins": 9}, {"reference_model": model}):
        with pytest.raises(ValueError, match="comparison of its own"):
            audit_cli.entropy(model, LEAKED, calibration=calibration, **other)
    with pytest.raises(audit_cli.CalibrationError, match="No such file"):
        audit_cli.entropy(model, LEAKED, calibration="none.json")
    for wrong in (
        {"lengths": (30, 20)},
        {"lengths": (0, 20)},
        {"command": "extract"},
        {"command": "entropy", "levels": (0.1,)},
        {"command": "basins", "t": 0.1},
        {"command": "entropy", "recipe": "basin-area"},
    ):
        with pytest.raises(ValueError, match=r"lengths|command|settings of|recipe"):
            audit_cli.calibrate(model, HELDOUT, **wrong)
    with pytest.raises(TypeError):
        audit_cli.calibrate(model, "one text")


def test_a_calibration_of_something_else_is_refused_before_anything_is_measured(model, calibration):
    with pytest.raises(audit_cli.CalibrationError, match="seed"):
        next(audit_cli.entropy(model, LEAKED, calibration=calibration, seed=1))


def test_another_key_is_told_as_a_warning(model, calibration):
    with pytest.warns(UserWarning, match="another fingerprint key"):
        list(audit_cli.entropy(model, LEAKED, calibration=calibration))
