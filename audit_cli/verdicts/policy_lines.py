"""A policy as lines of text: where its keys stand, and whether reading it is safe at all. What it says is tomllib's."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# A reader of TOML takes time and memory for the square of a key's parts: a megabyte of dots takes all there is.
MOST_DOTS = 128
# In strings and comments nothing is a key.
_BLOCK = r'"""(?:\\.|[^\\])*?(?:"""|\Z)|' + r"'''.*?(?:'''|\Z)"
_INLINE = r'"(?:\\[^\n]|[^"\\\n])*"?|' + r"'[^'\n]*'?"
_ASIDE = re.compile(f"(?P<block>{_BLOCK})|(?P<inline>{_INLINE})|#[^\n]*", re.DOTALL)
_KEY = re.compile(r"""[ \t]*((?:"(?:\\.|[^"\\])*"|'[^']*'|[\w. \t-])+)=""", re.ASCII)


def too_deep(content: str) -> bool:
    """Whether a key may have more parts than a policy needs."""
    plain = _ASIDE.sub(lambda found: "\n" * found[0].count("\n"), content)
    return max(line.count(".") for line in plain.split("\n")) > MOST_DOTS


@dataclass(frozen=True)
class Source:
    """A policy's file and what stands in it; its table is at `root`."""

    path: Path
    content: str = ""
    root: tuple[str, ...] = ()

    def at(self, *keys: str) -> str:
        """The file and the line of a key of the table, as `audit.toml:12`; of one that stands in an inline table, or
        that is not there, the line of the table around it. Without a line where there is none to name."""
        wanted = (*self.root, *keys)
        if not wanted:
            return str(self.path)
        line = most = 0
        for number, path in _statements(self.content, wanted[-1]):
            # A header or key of a part of it gives it, too.
            if path[: len(wanted)] == wanted:
                return f"{self.path}:{number}"
            if len(path) > most and path == wanted[: len(path)]:
                line, most = number, len(path)
        return f"{self.path}:{line}" if line else str(self.path)


def set_lines(content: str, root: tuple[str, ...]) -> dict[str, int]:
    """The line at which each set of the table at `root` begins; under an empty name that of an inline table of all."""
    sets = (*root, "sets")
    found: dict[str, int] = {}
    for number, path in _statements(content, "sets"):
        if path[: len(sets)] == sets:
            found.setdefault("".join(path[len(sets) : len(sets) + 1]), number)
    return found


def _statements(content: str, name: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Lines with a header or key, and what it stands for; of keys those that may have to do with `name`."""
    plain = _ASIDE.sub(lambda found: found["inline"] or "\n" * found[0].count("\n"), content)
    table: tuple[str, ...] = ()
    within = 0
    for number, line in enumerate(plain.split("\n"), start=1):
        begins, within = not within, max(0, within + _opened(line))
        # What begins within a list that goes over lines is no header.
        if begins and line.lstrip().startswith("["):
            table = _path(line)
            yield number, table
        elif begins and (name in line or name in table or "{" in line) and (key := _KEY.match(line)):
            yield number, (*table, *_path(f"{key[1]} = 0"))


def _opened(line: str) -> int:
    """Brackets that a line leaves open, less those that it closes."""
    bare = re.sub(_INLINE, "", line)
    return sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")


def _path(line: str) -> tuple[str, ...]:
    """The names of a header, or of a key of 0; none where it is neither."""
    out: list[str] = []
    try:
        value: Any = tomllib.loads(line.rstrip("\r"))
    except (ValueError, RecursionError):
        return ()
    while isinstance(value, dict) and value:
        name, value = next(iter(value.items()))
        out.append(name)
    return tuple(out)
