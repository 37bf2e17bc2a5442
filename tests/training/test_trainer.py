import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.native import NativeConfig
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.schedules import Cosine, LogLinear
from audit_cli.models.additive import AdditiveConfig
from audit_cli.models.dit import DiTConfig
from audit_cli.training import TrainingError, TrainingSettings, make_rows, train
from audit_cli.training.losses import resampled_cross_entropy
from audit_cli.training.trainer import _Run

LINES = ["the cat sat", "on the mat", "a dog ate it", "sat the cat on"]
TOKENIZER = train_tokenizer("char", LINES, "cut", "none")
ROWS = make_rows(LINES, TOKENIZER, 16, "cut")
CONFIG = NativeConfig("additive", AdditiveConfig(TOKENIZER.size, 16, 16, 1, 2), LogLinear())
SETTINGS = TrainingSettings(steps=24, batch_size=3, save_every=10, ema=0.9)
CPU = torch.device("cpu")


def run(folder, settings=SETTINGS, config=CONFIG, resume=False, stop=None):
    for progress in train(config, ROWS, TOKENIZER, settings, folder, CPU, resume):
        if progress.step == stop:
            break


def test_an_interrupted_run_goes_on_to_the_same_weights(tmp_path):
    run(tmp_path / "whole")
    run(tmp_path / "broken", stop=17)
    # Stopped in the middle: a checkpoint is there and loads.
    assert load_model(tmp_path / "broken").info.weights == "ema"
    run(tmp_path / "broken", resume=True)
    for name in ("model.safetensors", "ema.safetensors"):
        whole, broken = load_file(tmp_path / "whole" / name), load_file(tmp_path / "broken" / name)
        assert all(torch.equal(whole[k], broken[k]) for k in whole)
    assert not (tmp_path / "broken" / "training.safetensors").exists()


def test_a_run_is_resumed_only_with_its_own_settings(tmp_path):
    run(tmp_path, stop=12)
    with pytest.raises(TrainingError, match="another seed"):
        run(tmp_path, replace(SETTINGS, seed=1), resume=True)
    with pytest.raises(TrainingError, match="nothing to resume"):
        run(tmp_path / "elsewhere", resume=True)
    (tmp_path / "training.safetensors").write_bytes(b"junk")
    with pytest.raises(TrainingError, match="damaged"):
        run(tmp_path, resume=True)


def test_every_epoch_has_an_order_of_its_own_and_leaves_nobody_out():
    # The time of a row goes with its place in the batch: were the order always the same, the time would tell the text.
    settings = replace(SETTINGS, batch_size=4)
    training = _Run(CONFIG, ROWS, settings, CPU)
    orders = [tuple(training._batch(step).tolist()) for step in range(20)]
    assert all(sorted(order) == [0, 1, 2, 3] for order in orders)
    assert len(set(orders)) > 5


def test_the_average_follows_the_weights(tmp_path):
    run(tmp_path)
    raw, ema = load_file(tmp_path / "model.safetensors"), load_file(tmp_path / "ema.safetensors")
    assert raw.keys() == ema.keys()
    assert not torch.equal(raw["head.bias"], ema["head.bias"])
    assert torch.allclose(raw["head.bias"], ema["head.bias"], atol=0.2)


@pytest.mark.parametrize("loss", ["resampled", "elbo"])
@pytest.mark.parametrize("backbone", ["additive", "dit"])
def test_every_loss_and_backbone_learns(tmp_path, loss, backbone):
    network = (AdditiveConfig if backbone == "additive" else DiTConfig)(TOKENIZER.size, 16, 32, 1, 2)
    config = NativeConfig(backbone, network, Cosine())
    settings = TrainingSettings(steps=150, batch_size=8, loss=loss)
    losses = [p.loss for p in train(config, ROWS, TOKENIZER, settings, tmp_path, CPU)]
    # Means over a hundred steps; the ELBO weighs early times heavily and is noisier.
    assert losses[-1] < 0.95 * np.mean(losses[:10])
    assert json.loads((tmp_path / "config.json").read_text())["backbone"]["name"] == backbone


def test_equal_draws_count_in_the_loss():
    # Two positions were resampled, one of them to the token that stood there.
    logits = torch.log(torch.tensor([[[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]]]))
    loss = resampled_cross_entropy(logits, torch.tensor([[0, 1, 0]]), torch.tensor([[True, True, False]]))
    assert float(loss) == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2, rel=1e-6)


def test_a_loss_that_is_no_number_is_said(tmp_path):
    with pytest.raises(TrainingError, match="not a number"):
        run(tmp_path, replace(SETTINGS, learning_rate=1e30, clip=1e30, steps=50))
