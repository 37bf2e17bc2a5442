"""A policy as lines of text: where its sets begin, and whether reading it is safe at all. What it says is tomllib's."""

import re
import tomllib
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


def set_lines(content: str, root: tuple[str, ...]) -> dict[str, int]:
    """The line at which each set of the table at `root` begins; under an empty name that of an inline table of all."""
    plain = _ASIDE.sub(lambda found: found["inline"] or "\n" * found[0].count("\n"), content)
    sets = (*root, "sets")
    found: dict[str, int] = {}
    table: tuple[str, ...] = ()
    for number, line in enumerate(plain.split("\n"), start=1):
        if line.lstrip().startswith("["):
            path = table = _path(line)
        elif (table == sets or "sets" in line) and (key := _KEY.match(line)):
            path = (*table, *_path(f"{key[1]} = 0"))
        else:
            continue
        if path[: len(sets)] == sets:
            found.setdefault("".join(path[len(sets) : len(sets) + 1]), number)
    return found


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
