"""What `train` must not do to files that are not its own, and what it says when it is ended."""

import json
import os
import signal
import stat

import pytest
from typer.testing import CliRunner

from audit_cli.checkpoints import load_model, whole_files
from audit_cli.checkpoints.native_folder import FILES
from audit_cli.cli import app, training

SMALL = ["--width", "16", "--layers", "1", "--heads", "2", "--steps", "4", "--length", "16", "--save-every", "2"]
WRITTEN = [*FILES]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text("the cat sat\non the mat\na dog ate it\n")
    return path


@pytest.fixture
def model(tmp_path):
    return tmp_path / "m"


def uddm(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, " ".join(done.output.split())


def train(text, model, *options):
    return uddm("train", text, "-o", model, *SMALL, *options)


def stopped_at(step, number, monkeypatch):
    """Have a signal come at the end of a step."""
    real = training._log_line

    def log_line(order):
        advance = real(order)
        return lambda now, loss: signal.raise_signal(number) if now == step else advance(now, loss)

    monkeypatch.setattr(training, "_log_line", log_line)


@pytest.mark.parametrize("name", [f"{name}{suffix}" for name in WRITTEN for suffix in ("", ".part")])
def test_links_in_the_folder_are_replaced_and_never_followed(text, model, name, tmp_path, monkeypatch):
    assert train(text, model, "--ema", ".9")[0] == 0
    victim = tmp_path / "victim"
    is_config = name == "config.json"
    content = (model / name).read_bytes() if is_config else b"precious"
    victim.write_bytes(content)
    (model / name).unlink(missing_ok=True)
    (model / name).symlink_to("../victim")
    stopped_at(3, signal.SIGINT, monkeypatch)
    assert train(text, model, "--overwrite", "--ema", ".9", "--seed", "1")[0] == 130
    monkeypatch.undo()
    assert train(text, model, "--resume", "--ema", ".9", "--seed", "1")[0] == 0
    assert victim.read_bytes() == content
    assert name.endswith(".part") or not (model / name).is_symlink()
    assert load_model(model).info.weights == "ema"


def test_files_have_the_mode_of_any_file_and_nothing_else_is_left(text, model):
    before = os.umask(0o027)
    try:
        assert train(text, model)[0] == 0
    finally:
        os.umask(before)
    assert {file.name for file in model.iterdir()} == {"config.json", "tokenizer.json", "model.safetensors"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in model.iterdir()} == {0o640}


def test_a_file_that_cannot_be_filled_leaves_the_old_one(tmp_path):
    (tmp_path / "f").write_text("old")

    def full(_):
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        whole_files.replace_file(tmp_path / "f", full)
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("f", "old")]


@pytest.mark.parametrize("options", [(), ("--overwrite",), ("--resume",)])
@pytest.mark.parametrize("name", [name for name in WRITTEN if name != "config.json"])
def test_files_without_a_configuration_of_ours_are_nobodys_to_take(text, model, name, options):
    model.mkdir()
    (model / name).write_bytes(b"precious")
    code, said = train(text, model, *options)
    assert (code, name in said, "move it away" in said) == (2, True, True)
    assert {file.name: file.read_bytes() for file in model.iterdir()} == {name: b"precious"}


@pytest.mark.parametrize("config", ['{"model_type": "bert"}', "{", "[]", "x" * 100, '"uddm-audit"'])
def test_a_model_of_another_kind_is_never_overwritten(text, model, config):
    model.mkdir()
    (model / "config.json").write_text(config)
    (model / "model.safetensors").write_bytes(b"precious")
    for options in ((), ("--overwrite",), ("--resume",)):
        code, said = train(text, model, *options)
        assert (code, "config.json: is there" in said) == (2, True)
    assert (model / "model.safetensors").read_bytes() == b"precious"
    assert len(list(model.iterdir())) == 2


def test_a_folder_with_other_files_may_take_a_checkpoint_and_one_of_ours_when_asked(text, model):
    model.mkdir()
    (model / "README.md").write_text("precious")
    assert train(text, model)[0] == 0
    assert train(text, model) == (2, train(text, model)[1])
    assert "--resume or --overwrite" in train(text, model)[1]
    assert train(text, model, "--overwrite")[0] == 0
    assert (model / "README.md").read_text() == "precious"
    (model / "ema.safetensors").mkdir()
    assert train(text, model, "--overwrite")[0] == 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_ended_saves_and_tells_how_to_go_on(text, model, number, code, monkeypatch):
    stopped_at(3, number, monkeypatch)
    handlers = signal.getsignal(signal.SIGINT)
    ended, said = train(text, model)
    assert (ended, "saved at step 3" in said, "--resume" in said) == (code, True, True)
    assert "nothing was written" not in said
    header = json.loads(model.with_name("m.manifest.jsonl").read_text().splitlines()[0])
    assert header["steps_done"] == 3
    assert signal.getsignal(signal.SIGINT) is handlers
    monkeypatch.undo()
    assert train(text, model, "--resume")[0] == 0


@pytest.mark.parametrize(
    "options",
    [
        ("--skip", "100"),
        ("--resume",),
        ("--heads", "3"),
        ("--tokenizer", "word"),
        ("--tokenizer", "no/such/file"),
    ],
)
@pytest.mark.parametrize("manifest", [(), ("--no-manifest",)])
def test_an_order_that_cannot_be_carried_out_makes_no_folder(text, tmp_path, options, manifest):
    before = set(tmp_path.iterdir())
    assert uddm("train", text, "-o", tmp_path / "new" / "m", *SMALL, *options, *manifest)[0] == 2
    assert set(tmp_path.iterdir()) - before <= {tmp_path / "config"}


def test_a_folder_that_cannot_be_made_is_told_before_the_training(text, tmp_path):
    (tmp_path / "file").write_text("")
    code, said = train(text, tmp_path / "file" / "m", "--no-manifest")
    assert (code, "step" in said) == (2, False)


@pytest.mark.parametrize("identity", ["[]", "[" * 100_000, '{"settings": 1}', "x" * 100_000])
def test_a_damaged_state_is_refused_in_few_words(text, model, identity, monkeypatch):
    import torch
    from safetensors.torch import save_file

    stopped_at(3, signal.SIGINT, monkeypatch)
    train(text, model)
    save_file({"x": torch.zeros(1)}, model / "training.safetensors", metadata={"identity": identity, "step": "1"})
    code, said = train(text, model, "--resume")
    assert (code, "damaged" in said) == (2, True)
    assert len(said) < len(str(model)) + 500
