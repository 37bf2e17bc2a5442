"""The files of a native checkpoint, and whether one may be written into a folder: never over what is not ours."""

import os
import tempfile
from pathlib import Path

from audit_cli.checkpoints.config_file import read_json_object
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.native_config import MODEL_TYPE

CONFIG, WEIGHTS, EMA, TOKENIZER = "config.json", "model.safetensors", "ema.safetensors", "tokenizer.json"
# What a stopped training run goes on from.
STATE_FILE = "training.safetensors"
# Everything that is written or removed.
FILES = (CONFIG, TOKENIZER, WEIGHTS, EMA, STATE_FILE)


def is_native(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of our own."""
    try:
        return (folder / CONFIG).is_file() and read_json_object(folder / CONFIG).get("model_type") == MODEL_TYPE
    except CheckpointError:
        return False


def check_files(folder: Path) -> bool:
    """Whether a checkpoint of ours is in a folder. Raises CheckpointError where one cannot be put there. Makes nothing.

    Files of ours must be regular files, or links, and stand beside a configuration of ours; others do not matter.
    """
    if os.path.lexists(folder) and not folder.is_dir():
        raise CheckpointError(f"{folder}: not a folder")
    present = [folder / name for name in FILES if os.path.lexists(folder / name)]
    if not present:
        return False
    if not is_native(folder):
        raise CheckpointError(f"{present[0]}: is there and not of a checkpoint of uddm-audit; move it away")
    unfit = next((file for file in present if not file.is_file() and not file.is_symlink()), None)
    if unfit is not None:
        raise CheckpointError(f"{unfit}: is there and not a file; move it away")
    return True


def make_folder(folder: Path) -> None:
    """Make the folder, and try whether files can be made in it: better than at the end. Raises CheckpointError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise CheckpointError(f"{folder}: {error.strerror}") from None
