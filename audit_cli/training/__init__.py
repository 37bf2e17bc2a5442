"""Trains a uniform-state diffusion language model on text."""

from audit_cli.training.folder import check_folder, make_folder, saved_step
from audit_cli.training.manifest import check_manifest, manifest_path, write_manifest
from audit_cli.training.rows import TrainingRows, make_rows
from audit_cli.training.trainer import LOSSES, Progress, TrainingError, TrainingSettings, train

__all__ = [
    "LOSSES",
    "Progress",
    "TrainingError",
    "TrainingRows",
    "TrainingSettings",
    "check_folder",
    "check_manifest",
    "make_folder",
    "make_rows",
    "manifest_path",
    "saved_step",
    "train",
    "write_manifest",
]
