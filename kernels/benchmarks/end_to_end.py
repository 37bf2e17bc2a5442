"""An audit as a person runs it, `uddm-audit basins` with its defaults, beside the forward passes that it asks for."""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar
from unittest.mock import patch

import torch
import typer

from audit_cli.audits import BasinSettings, audit_basins
from audit_cli.candidates import open_texts
from audit_cli.checkpoints import load_model
from audit_cli.checkpoints.native import save_native
from audit_cli.checkpoints.native_config import NativeConfig
from audit_cli.cli import app
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.redaction import Redaction, ShowText
from benchmarks.replay import recording, replays
from benchmarks.sweeps import random_network
from benchmarks.timing import Timing, Variant

REPEATS = 3
# The forward passes alone are timed in parts: all of them take about as long as the audit.
PARTS = 4
KEY = b"benchmark"


@dataclass(frozen=True)
class EndToEnd:
    """`candidates` rows of `length` random tokens under a diffusion transformer with random weights."""

    device: str
    width: int
    layers: int
    heads: int
    vocab: int
    length: int
    candidates: int

    kind: ClassVar[str] = "end-to-end"
    rivals: ClassVar[tuple[str, ...]] = ("forward passes alone",)

    @property
    def title(self) -> str:
        """The command and the sizes."""
        network = f"a DiT {self.width} wide with {self.layers} blocks, V = {self.vocab:,}"
        return f"`uddm-audit basins` on {self.candidates:,} candidates of {self.length} tokens, {network}"

    def variants(self) -> list[Variant]:
        """The command in this process, from loading the model to the written table; its forward passes again."""
        files = _Files(self)
        model = load_model(files.model, device=torch.device(self.device))
        with recording(model.denoiser) as asked:
            watched = replace(model, denoiser=asked)
            texts = open_texts([files.texts])
            audit_basins(watched, texts, None, BasinSettings(), Redaction(ShowText.FINGERPRINT, KEY))
        ways = {
            "uddm-audit basins": (files.audit, 1),
            "floor": (replays(model.denoiser, asked.calls, PARTS), PARTS),
            "forward passes alone": (replays(model.denoiser, asked.calls, PARTS, head=False), PARTS),
        }
        return [
            Variant(
                name,
                call,
                "floor",
                head_rows=0 if name == "forward passes alone" else asked.head_rows,
                forwards=asked.forwards,
                repeats=REPEATS,
                parts=parts,
                warm=True,
            )
            for name, (call, parts) in ways.items()
        ]

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """What is in the floor."""
        return ["The floor is the forward passes with the head's matrix products."]


class _Files:
    """A checkpoint, candidates and an output in a folder that goes when this does."""

    def __init__(self, task: EndToEnd) -> None:
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.model, self.texts, self.output = folder / "model", folder / "candidates.jsonl", folder / "basins.csv"
        self._home = {"UDDM_AUDIT_KEY": KEY.decode(), "XDG_CACHE_HOME": str(folder / "cache")}
        self._options = ["--device", task.device, "--quiet"]
        network = random_network(task.width, task.layers, task.heads, task.vocab, task.length)
        config = NativeConfig("dit", network.config, LogLinear(), tokenizer=False)
        save_native(self.model, config, None, network.state_dict())
        tokens = torch.randint(task.vocab, (task.candidates, task.length), generator=torch.Generator().manual_seed(0))
        self.texts.write_text("".join(_line(row) for row in tokens.tolist()))

    def audit(self) -> None:
        """Run the command. Raises RuntimeError with what it said if it fails."""
        said = io.StringIO()
        command = ["basins", str(self.model), str(self.texts), "-o", str(self.output), *self._options]
        with (
            patch.dict(os.environ, self._home),
            contextlib.redirect_stdout(said),
            contextlib.redirect_stderr(said),
        ):
            code = _run(command)
        if code:
            raise RuntimeError(f"exit code {code}: {said.getvalue()}")


def _run(command: Sequence[str]) -> int:
    """The exit code of the command line."""
    try:
        return app(list(command), prog_name="uddm-audit", standalone_mode=False) or 0
    except typer.Exit as done:
        return done.exit_code


def _line(tokens: list[int]) -> str:
    return json.dumps({"input_ids": tokens}) + "\n"
