"""A short real training of a small network, with a copy of its checkpoint every so many steps."""

import shutil
from pathlib import Path

import torch

from audit_cli.checkpoints.native import NativeConfig
from audit_cli.checkpoints.tokenizer import train_tokenizer
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.additive import AdditiveConfig
from audit_cli.training import TrainingSettings, make_rows, train

EXAMPLES = Path(__file__).parent.parent / "examples"
VERSES = (EXAMPLES / "train.txt").read_text().splitlines()
HELDOUT = (EXAMPLES / "heldout.txt").read_text().splitlines()
LEARNED = VERSES[:8]
TOKENIZER = train_tokenizer("char", VERSES, "cut", "letters")
CONFIG = NativeConfig("additive", AdditiveConfig(TOKENIZER.size, 32, 32, 1, 2), LogLinear())
STEPS, EVERY = 120, 30
# So that nothing takes long.
QUICK = ("--samples", 8, "--texts", 60, "--restarts", 1)


def steps_of(folder, steps=STEPS, every=EVERY):
    """Train on a few verses, and yield after each step; the checkpoint is kept in the folder."""
    rows = make_rows(LEARNED, TOKENIZER, 32, "cut")
    settings = TrainingSettings(steps=steps, batch_size=8, warmup=5, learning_rate=2e-2, save_every=every)
    yield from train(CONFIG, rows, TOKENIZER, settings, folder, torch.device("cpu"))


def copied(folder, to):
    """A copy of a checkpoint, without the state that training goes on from."""
    return Path(shutil.copytree(folder, to, ignore=shutil.ignore_patterns("training*")))


def checkpoints(home, steps=STEPS, every=EVERY):
    """The checkpoints of a run, one folder each."""
    (home / "run").mkdir()
    out = []
    for done in steps_of(home / "run", steps, every):
        if done.step % every == 0 and done.step < steps:
            out.append(copied(home / "run", home / f"step-{done.step}"))
    return [*out, copied(home / "run", home / f"step-{steps}")]


def spoiled(folder, to, value=float("nan")):
    """A copy of a checkpoint whose weights are no numbers; or such that what it computes is none."""
    from safetensors.torch import load_file, save_file

    out = copied(folder, to)
    tensors = load_file(out / "model.safetensors")
    save_file({name: torch.full_like(tensor, value) for name, tensor in tensors.items()},
              out / "model.safetensors")  # fmt: skip
    return out


def cut_off(folder, to):
    """A copy of a checkpoint of which the second half of the weights is missing."""
    out = copied(folder, to)
    data = (out / "model.safetensors").read_bytes()
    (out / "model.safetensors").write_bytes(data[: len(data) // 2])
    return out


def lines(path, texts):
    """A file with a text a line."""
    path.write_text("".join(f"{text}\n" for text in texts))
    return path
