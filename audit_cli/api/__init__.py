"""The audit for programs: a model, the probes, the gate; no files, console or environment."""

from audit_cli.api.along import trajectory
from audit_cli.api.gate import check
from audit_cli.api.measures import basins, calibrate, entropy, evaluate, extract, load
from audit_cli.api.memory import attractors, generate, retrieve
from audit_cli.api.track import Tracker

__all__ = [
    "Tracker",
    "attractors",
    "basins",
    "calibrate",
    "check",
    "entropy",
    "evaluate",
    "extract",
    "generate",
    "load",
    "retrieve",
    "trajectory",
]
