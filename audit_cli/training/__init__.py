"""Trains a uniform-state diffusion language model on text."""

from audit_cli.training.rows import TrainingRows, make_rows
from audit_cli.training.trainer import Progress, TrainingError, TrainingSettings, train

__all__ = ["Progress", "TrainingError", "TrainingRows", "TrainingSettings", "make_rows", "train"]
