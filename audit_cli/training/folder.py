"""Whether a checkpoint may be written into a folder: never over a file that is not of a checkpoint of our own."""

import os
import tempfile
from pathlib import Path

from audit_cli.checkpoints import CheckpointError
from audit_cli.checkpoints.config_file import read_json_object
from audit_cli.checkpoints.native import MODEL_TYPE
from audit_cli.training.trainer import STATE_FILE, TrainingError

# Everything that training writes or removes.
FILES = ("config.json", "tokenizer.json", "model.safetensors", "ema.safetensors", STATE_FILE)


def check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Raise TrainingError unless a checkpoint can be written there; one that is there only if it may be replaced.

    Makes nothing.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise TrainingError(f"{folder}: not a folder")
    present = [folder / name for name in FILES if os.path.lexists(folder / name)]
    if present:
        if not _is_ours(folder / "config.json"):
            raise TrainingError(f"{present[0]}: is there and not of a checkpoint of uddm-audit; move it away")
        if not (resume or overwrite):
            raise TrainingError(f"{folder}: holds a checkpoint; --resume or --overwrite")
        unfit = next((file for file in present if not file.is_file() and not file.is_symlink()), None)
        if unfit is not None:
            raise TrainingError(f"{unfit}: is there and not a file; move it away")
    if resume and not (folder / STATE_FILE).is_file():
        raise TrainingError(f"{folder / STATE_FILE}: nothing to resume from; a finished run leaves no state")


def make_folder(folder: Path) -> None:
    """Make the folder, and try whether files can be made in it: better than at the end. Raises TrainingError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise TrainingError(f"{folder}: {error.strerror}") from None


def _is_ours(config: Path) -> bool:
    try:
        return config.is_file() and read_json_object(config).get("model_type") == MODEL_TYPE
    except CheckpointError:
        return False
