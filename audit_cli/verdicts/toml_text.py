"""Plain values as TOML, in which no character can act on a terminal."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from audit_cli.safetext import INVISIBLE


def toml_of(table: Mapping[str, Any]) -> str:
    """A document of TOML: tables of numbers, words, lists of these, and tables."""
    return "\n".join(_lines(table)) + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[str]:
    """A table as lines of TOML, its own tables last."""
    plain = {key: value for key, value in table.items() if not isinstance(value, Mapping)}
    if path and (plain or len(plain) == len(table)):
        yield ""
        yield f"[{'.'.join(key if _bare(key) else value_of(key) for key in path)}]"
    for key, value in plain.items():
        yield f"{key} = {value_of(value)}"
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _lines(value, (*path, key))


def _bare(key: str) -> bool:
    return key.isascii() and bool(key) and all(c.isalnum() or c in "-_" for c in key)


def value_of(value: Any) -> str:
    """A number, a word or a list of these as TOML."""
    if isinstance(value, list):
        return f"[{', '.join(map(value_of, value))}]"
    # JSON's strings are TOML's. What a terminal could act on, or does not show, is escaped.
    return "".join(map(_character, json.dumps(value, ensure_ascii=False)))


def _character(c: str) -> str:
    if c.isprintable() and c not in INVISIBLE:
        return c
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
