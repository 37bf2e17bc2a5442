"""Checkpoints that appear in a folder while a training goes on."""

import re
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path

CONFIG, LIGHTNING = "config.json", ".ckpt"
# Where others write what is not yet a checkpoint.
UNFINISHED = (".", "tmp-", "tmp_")

# Name, size and time of the files of a checkpoint.
State = tuple[tuple[str, int, int], ...]


@dataclass
class Arrivals:
    """The checkpoints of a folder: its folders with a `config.json`, its `.ckpt` files, and the folder itself where it
    is one, each time that it has been written anew.

    Nobody says when a checkpoint is whole. It is taken for whole when its files are the same at two polls, or at the
    first poll older than `settled` seconds; what cannot be loaded even so is given again when its files have changed.
    """

    folder: Path
    settled: float = 2.0
    _polls: int = 0
    _before: dict[Path, State] = field(default_factory=dict)
    _given: dict[Path, State] = field(default_factory=dict)

    def poll(self) -> list[Path]:
        """The checkpoints that are whole and were not given in this state, by the numbers in their names."""
        first, self._polls = self._polls == 0, self._polls + 1
        now = {path: state for path in self._places() if (state := _state(path))}
        whole = []
        for path, state in now.items():
            old = first and time.time() - max(changed for *_, changed in state) / 1e9 > self.settled
            if state != self._given.get(path) and (old or state == self._before.get(path)):
                self._given[path] = state
                whole.append(path)
        self._before = now
        return sorted(whole, key=lambda path: natural(path.name))

    def unchanged(self, path: Path) -> bool:
        """Whether a checkpoint is still as it was given; if not, it will be given again."""
        return _state(path) == self._given.get(path)

    def _places(self) -> list[Path]:
        try:
            found = [path for path in self.folder.iterdir() if not path.name.startswith(UNFINISHED)]
        except OSError:
            return []
        return [path for path in (self.folder, *found) if _is_checkpoint(path)]


def natural(name: str) -> list[tuple[int, int | str]]:
    """A key by which numbers in names are sorted as numbers: step-2000 before step-10000."""
    parts = re.split(r"(\d+)", name)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part]


def _is_checkpoint(path: Path) -> bool:
    try:
        return (path / CONFIG).is_file() or (path.suffix == LIGHTNING and path.is_file())
    except OSError:
        return False


def _state(path: Path) -> State:
    """Name, size and time of its files; nothing while they come and go."""
    try:
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        found = [(file.name, file.stat()) for file in files]
    except OSError:
        return ()
    # What else lies in the folder, its own checkpoints say, is no part of it.
    return tuple((name, of.st_size, of.st_mtime_ns) for name, of in found if stat.S_ISREG(of.st_mode))
