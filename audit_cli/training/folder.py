"""Whether a checkpoint may be trained into a folder: never over a file that is not of a checkpoint of our own."""

from pathlib import Path

from safetensors import SafetensorError, safe_open

from audit_cli.checkpoints import CheckpointError, native_folder
from audit_cli.checkpoints.native_folder import STATE_FILE
from audit_cli.training.trainer import TrainingError


def check_folder(folder: Path, resume: bool, overwrite: bool) -> None:
    """Raise TrainingError unless a checkpoint can be written there; one that is there only if it may be replaced.

    Makes nothing.
    """
    try:
        present = native_folder.check_files(folder)
    except CheckpointError as error:
        raise TrainingError(str(error)) from None
    if present and not (resume or overwrite):
        raise TrainingError(f"{folder}: holds a checkpoint; --resume or --overwrite")
    if resume and not (folder / STATE_FILE).is_file():
        raise TrainingError(f"{folder / STATE_FILE}: nothing to resume from; a finished run leaves no state")


def make_folder(folder: Path) -> None:
    """Make the folder, and try whether files can be made in it: better than at the end. Raises TrainingError."""
    try:
        native_folder.make_folder(folder)
    except CheckpointError as error:
        raise TrainingError(str(error)) from None


def saved_step(folder: Path) -> int | None:
    """After which step the checkpoint of a training under way was saved; None where nothing tells."""
    try:
        with safe_open(folder / STATE_FILE, framework="pt") as opened:
            return int((opened.metadata() or {})["step"])
    except (SafetensorError, OSError, KeyError, ValueError):
        return None
