"""What was found out about a model's weights before: small facts, kept under a hash of all that decides them."""

import contextlib
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from audit_cli import __version__
from audit_cli.checkpoints.whole_files import replace_file

Fact = TypeVar("Fact")
FACT_BYTES = 1 << 16


class Memory:
    """Facts in a folder, or, without one, in this process alone. A folder that cannot be used is as good as none."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, bytes] = {}

    def recall(self, kind: type[Fact], decided_by: Sequence[object], find_out: Callable[[], Fact]) -> Fact:
        """The fact, a record of plain values, from where it is kept, else found out and kept.

        `decided_by` are plain values; the program's version is always among them.
        """
        key = hashlib.sha256(json.dumps([kind.__name__, __version__, *decided_by]).encode()).hexdigest()
        kept = self._read(key)
        with contextlib.suppress(msgspec.DecodeError):
            if kept is not None:
                return msgspec.json.decode(kept, type=kind)
        fact = find_out()
        self._write(key, msgspec.json.encode(fact))
        return fact

    def _read(self, key: str) -> bytes | None:
        if key not in self._known and self._folder is not None:
            with contextlib.suppress(OSError), (self._folder / f"{key}.json").open("rb") as file:
                self._known[key] = file.read(FACT_BYTES)
        return self._known.get(key)

    def _write(self, key: str, data: bytes) -> None:
        self._known[key] = data
        if self._folder is not None:
            with contextlib.suppress(OSError):
                self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                replace_file(self._folder / f"{key}.json", lambda file: file.write_bytes(data))
