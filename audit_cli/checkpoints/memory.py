"""What was found out about a model before: small facts, kept under a hash of all that decides them."""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from audit_cli import __version__

Fact = TypeVar("Fact")
FACT_BYTES = 1 << 12


class Memory:
    """Facts in a folder, or, without one, in this process alone. A folder that cannot be used is as good as none.

    Whoever reads the folder can try out what a fact was found on: facts about texts stay in the process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known: dict[str, bytes] = {}

    @property
    def folder(self) -> Path | None:
        """Where they are kept; None in this process alone."""
        return self._folder

    def recall(
        self, kind: type[Fact], decided_by: Sequence[object], find_out: Callable[[], Fact], lasting: bool = True
    ) -> Fact:
        """The fact, a record of plain values, from where it is kept, else found out and kept.

        `decided_by` are plain values; the program's version is always among them. Only `lasting` facts go into the
        folder.
        """
        key = hashlib.sha256(json.dumps([kind.__name__, __version__, *decided_by]).encode()).hexdigest()
        kept = self._known.get(key) or (self._read(key) if lasting else None)
        with contextlib.suppress(msgspec.DecodeError, RecursionError):
            if kept is not None:
                return msgspec.json.decode(kept, type=kind)
        fact = find_out()
        self._known[key] = msgspec.json.encode(fact)
        if lasting:
            self._write(key)
        return fact

    def _read(self, key: str) -> bytes | None:
        if self._folder is None:
            return None
        with contextlib.suppress(OSError):
            # A pipe in its place would wait for somebody to write.
            file = os.open(self._folder / f"{key}.json", os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
            with os.fdopen(file, "rb") as opened:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    self._known[key] = opened.read(FACT_BYTES)
        return self._known.get(key)

    def _write(self, key: str) -> None:
        if self._folder is None:
            return
        with contextlib.suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            new = self._folder / f".{secrets.token_hex(8)}.tmp"
            with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(self._known[key])
            new.replace(self._folder / f"{key}.json")
