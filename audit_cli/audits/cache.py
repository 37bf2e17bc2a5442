"""Held-out scores between runs: one model, measured alike, measures a held-out text once.

A file an identity, in the folder that the command line names; each is a `Journal`, which holds no text and is sealed
under the person's key. Whatever is wrong with a file or with the folder costs time and nothing else: then everything is
measured, as without one.
"""

import contextlib
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import torch
import uddm_kernels

import audit_cli
from audit_cli.audits.journal import InUse, Journal, JournalError
from audit_cli.audits.measuring import Filed, Measured
from audit_cli.audits.provenance import identity
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Row

FOLDER, SUFFIX = "heldout", ".journal"
# When the program was read from its files.
LOADED = time.time()
# Those used last are kept, in all so many and so large.
MOST_FILES, MOST_BYTES = 64, 256 << 20
# Settings that decide nothing of a held-out text: what the model writes by itself, what is shown of candidates.
APART = ("samples", "sample_steps", "per_token", "argmax")


def measure_references(
    filed: Filed[Measured],
    model: LoadedModel,
    rows: Iterable[Row],
    settings: Any,
    more: dict[str, object],
    watch: Watch,
    expected: int,
) -> int:
    """Measure the held-out rows that are not filed yet, `expected` evaluations in all; how many were measured by an
    earlier run. `settings` and `more` are what decides the numbers, as in `provenance.identity`."""
    wanted = list(rows)
    kept = _Kept(filed, model, settings, more)
    keys = dict.fromkeys(filed.journal.row_key("reference", row) for row in wanted)
    recalled = kept.recall([key for key in keys if not filed.journal.has(key)])
    missing = [key for key in keys if not filed.journal.has(key)]
    try:
        filed.measure(model, wanted, "reference", watch, expected, "held-out texts")
    finally:
        # Of a run that is stopped, too.
        kept.add(missing)
    return recalled


class _Kept:
    """The file of one identity."""

    def __init__(self, filed: Filed[Measured], model: LoadedModel, settings: Any, more: dict[str, object]) -> None:
        self._filed, self._journal = filed, filed.journal
        decided = identity(filed.task.command, settings, model, more)
        self._identity = {name: value for name, value in decided.items() if name not in APART} | {
            "code": _code(),
            "torch": torch.__version__,
            "processor": _processor(model),
        }
        name = json.dumps(self._identity, sort_keys=True).encode() + self._journal.derived("cache")
        folder = None if _code() is None else model.memory.folder
        self._path = None if folder is None else folder / FOLDER / (hashlib.sha256(name).hexdigest() + SUFFIX)

    def recall(self, keys: list[bytes]) -> int:
        """Take what is known of these into the run's journal; how many."""
        found: list[tuple[bytes, str, bytes | None]] = []

        def take(kept: Journal, path: Path) -> None:
            for key in keys:
                entry = kept.get(key)
                if entry is not None and self._usable(*entry):
                    found.append((key, *entry))
            # Files are removed in the order of their last use.
            os.utime(path)

        if keys:
            self._with(take)
        self._journal.put(found)
        return len(found)

    def add(self, keys: list[bytes]) -> None:
        """File what the run has measured of these; what failed may not fail again."""
        # A run that ends for its own reason is not to end for this one.
        with contextlib.suppress(JournalError):
            measured = ((key, self._journal.get(key)) for key in keys)
            new = [(key, *entry) for key, entry in measured if entry is not None and not entry[0]]
            if new and self._path is not None:
                self._with(lambda kept, _: kept.put(new))
                _tidy(self._path.parent)

    def _with(self, do: Callable[[Journal, Path], None]) -> None:
        """Do it with the file, if that can be used: one that another run has is left alone, any other removed."""
        path = self._path
        if path is None:
            return
        with contextlib.suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            try:
                with contextlib.closing(self._journal.another(path)) as kept:
                    kept.bind(self._identity)
                    do(kept, path)
            except InUse:
                pass
            except JournalError:
                _discard(path)

    def _usable(self, reason: str, data: bytes) -> bool:
        if reason:
            return False
        try:
            self._filed.decode(data)
        except (msgspec.DecodeError, RecursionError):
            return False
        return True


def _tidy(folder: Path) -> None:
    """Remove what was not used for longest, beyond what may be kept."""
    with contextlib.suppress(OSError):
        files = [(file.stat().st_mtime_ns, file.stat().st_size, file) for file in folder.glob(f"*{SUFFIX}")]
        size = 0
        for number, (_, taken, file) in enumerate(sorted(files, reverse=True)):
            size += taken
            if number >= MOST_FILES or size > MOST_BYTES:
                _discard(file)


def _discard(path: Path) -> None:
    for file in (path, path.with_name(f"{path.name}-journal")):
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


@cache
def _code() -> str | None:
    """A hash of the program itself: what other code has measured is measured anew, whatever its version says. None
    where the files may no longer be what runs."""
    digest = hashlib.sha256()
    with contextlib.suppress(OSError):
        for package in (audit_cli, uddm_kernels):
            folder = Path(package.__path__[0])
            for file in sorted(folder.rglob("*.py")):
                if file.stat().st_mtime >= LOADED:
                    return None
                digest.update(file.relative_to(folder).as_posix().encode() + b"\0" + file.read_bytes())
        return digest.hexdigest()
    return None


def _processor(model: LoadedModel) -> str:
    device = model.denoiser.device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(torch.backends.cpu.get_cpu_capability())
