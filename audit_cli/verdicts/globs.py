"""Globs that stay where they are: `*`, `?`, `[...]` and `**` over the files under a folder."""

import fnmatch
import glob
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path, PurePath

ANY_DEPTH = "**"


class TooMany(Exception):
    """A glob for which too much would have to be looked at."""


class Globs:
    """Globs under one folder, which may look at `most` entries of folders together."""

    def __init__(self, folder: Path, may_enter: Callable[[Path], bool], most: int) -> None:
        """`may_enter` says of a folder behind a link, or one above, whether it may be looked into."""
        self._folder, self._may_enter, self._left = folder, may_enter, most

    def matches(self, pattern: str) -> list[Path]:
        """The files that a relative pattern stands for, in order. `**` follows no links, as in pathlib.

        Raises TooMany, and OSError on a folder that cannot be read: what was not looked at was not audited.
        """
        parts = PurePath(pattern).parts
        tests = [re.compile(fnmatch.translate(part)).match if glob.has_magic(part) else None for part in parts]
        found: set[Path] = set()
        # A list of what is left to do: a pattern may have more parts than a function may call itself.
        seen: set[tuple[Path, int]] = set()
        todo = [(self._folder, 0)]
        while todo:
            at = todo.pop()
            if at in seen:
                continue
            seen.add(at)
            folder, number = at
            part, test, last = parts[number], tests[number], number == len(parts) - 1
            if part == ANY_DEPTH:
                todo += [] if last else [(folder, number + 1)]
                todo += [(folder / e.name, number) for e in self._entries(folder) if e.is_dir(follow_symlinks=False)]
                continue
            names = [part] if test is None else [e.name for e in self._entries(folder) if test(e.name)]
            for path in (folder / name for name in names):
                if last and os.path.lexists(path) and not path.is_dir():
                    found.add(path)
                elif not last and path.is_dir() and self._may_pass(path):
                    todo.append((path, number + 1))
        return sorted(found)

    def _entries(self, folder: Path) -> Iterator[os.DirEntry[str]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                self._left -= 1
                if self._left < 0:
                    raise TooMany
                yield entry

    def _may_pass(self, path: Path) -> bool:
        return (path.name != ".." and not path.is_symlink()) or self._may_enter(path)
