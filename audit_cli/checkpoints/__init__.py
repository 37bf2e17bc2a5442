"""A path in; a denoiser with tokenizer, layout and provenance out. One file a family."""

from pathlib import Path

import torch

from audit_cli.checkpoints import native
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel, Untokenizable
from audit_cli.checkpoints.loaded import Layout, LoadedModel

__all__ = ["CheckpointError", "Layout", "LoadedModel", "UnauditableModel", "Untokenizable", "load_model"]


def load_model(path: str | Path, weights: str | None = None, device: str | torch.device = "cpu") -> LoadedModel:
    """Load the checkpoint at `path`. Raises CheckpointError, which says what was found and what is known."""
    folder = Path(path)
    if not folder.exists():
        raise CheckpointError(f"{folder}: no such file or folder")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: not a checkpoint folder; one holds config.json and model.safetensors")
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{folder}: no config.json, so no checkpoint")
    return native.load_native(folder, weights, torch.device(device))
