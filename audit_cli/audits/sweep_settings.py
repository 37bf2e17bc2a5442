"""What a sweep varies, and how its models are trained and measured."""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from audit_cli.checkpoints.native_config import TRAINED
from audit_cli.diffusion.schedules import SCHEDULES
from audit_cli.training import LOSSES, TrainingSettings
from audit_cli.verdicts.returns import DECIDING_LEVEL

# Of all lines of the pool.
ALL = 0


def _of(names: Collection[str]) -> Callable[[str], str]:
    """Takes a value that is one of these."""

    def taken(value: str) -> str:
        if value not in names:
            raise ValueError(value)
        return value

    return taken


def _whole(low: int, high: int) -> Callable[[str], int]:
    """Takes a whole number from `low` to `high`."""

    def taken(value: str) -> int:
        if not low <= int(value) <= high:
            raise ValueError(value)
        return int(value)

    return taken


def _rate(value: str) -> float:
    if not 0 <= float(value) < math.inf:
        raise ValueError(value)
    return float(value)


# What a variant of a sweep may change, and how it is read: within the bounds of the command's options.
TRAINING = ("loss", "steps", "batch_size", "learning_rate")
VARIED: dict[str, Callable[[str], Any]] = {
    "backbone": _of(TRAINED),
    "width": _whole(4, 1 << 16),
    "layers": _whole(1, 1024),
    "heads": _whole(1, 1024),
    "schedule": _of(SCHEDULES),
    "loss": _of(LOSSES),
    "steps": _whole(1, 1 << 40),
    "batch_size": _whole(1, 1 << 30),
    "learning_rate": _rate,
}


class SweepError(ValueError):
    """A sweep that cannot be made; the message says why."""


@dataclass(frozen=True)
class SweepSettings:
    """What is varied, and how it is trained and measured. A size of ALL is the whole pool.

    `texts` of every kind are measured (the smaller sets have fewer), and `samples` of each model's own.
    """

    sizes: tuple[int, ...] = (16, 32, 64, 128, 256, 512, ALL)
    seeds: int = 1
    texts: int = 512
    samples: int = 256
    levels: tuple[float, ...] = (0.05, 0.1, 0.25, 0.5)
    restarts: int = 2
    sampling_steps: int = 16
    length: int = 32
    backbone: str = "additive"
    width: int = 96
    layers: int = 2
    heads: int = 4
    schedule: str = "log-linear"
    training: TrainingSettings = field(default_factory=lambda: TrainingSettings(learning_rate=8e-3))
    seed: int = 0

    @property
    def deciding(self) -> int:
        """The index of the level at which gaps are read."""
        return min(range(len(self.levels)), key=lambda k: abs(self.levels[k] - DECIDING_LEVEL))

    def varied(self, changes: Mapping[str, Any]) -> "SweepSettings":
        """These settings with the changes that `changes_of` gave."""
        training = {name: value for name, value in changes.items() if name in TRAINING}
        network = {name: value for name, value in changes.items() if name not in TRAINING}
        return replace(self, **network, training=replace(self.training, **training))


def changes_of(text: str) -> dict[str, Any]:
    """The changes in a text such as "schedule=cosine" or "backbone=dit,learning-rate=0.003". Raises SweepError."""
    out: dict[str, Any] = {}
    for part in text.split(","):
        key, _, value = part.partition("=")
        name = key.strip().replace("-", "_")
        kind = VARIED.get(name)
        if kind is None:
            known = ", ".join(sorted(VARIED)).replace("_", "-")
            raise SweepError(f"{part!r} is no change; NAME=VALUE with a NAME of {known}")
        if name in out:
            raise SweepError(f"{text!r} changes {key.strip()} twice")
        try:
            out[name] = kind(value.strip())
        except ValueError:
            raise SweepError(f"{part!r}: {value!r} is none of its values") from None
    return out
