"""What a pickle that is read as data is made of, beside plain containers and scalars.

Nothing here compares, hashes or shows its contents: these can be nested as deep as a file is long.
"""

from dataclasses import dataclass, field
from typing import Any

from audit_cli.checkpoints.errors import CheckpointError


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Storage:
    """A reference to a storage: its key in the archive, and how many numbers of which type it holds.

    `dtype` is empty for a type that has no place among a network's weights (quantised, complex).
    """

    key: str
    dtype: str
    numel: int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class TensorRef:
    """A tensor that has not been read: numbers of a storage from `offset` on, in units of its type."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Global:
    """The name `module.name` of something that a pickle refers to. It is never looked up, nor changed."""

    name: str


@dataclass(slots=True, eq=False, repr=False)
class Inert:
    """Something that a pickle wanted to be called or built, as a record of the request.

    `made_by` is the global or the inert thing to be called, `state` what `__setstate__` would have been given,
    `items` what would have been appended and `pairs` what would have been set by key.
    """

    made_by: object
    args: object
    kwargs: object = None
    state: object = None
    items: list[Any] = field(default_factory=list)
    pairs: list[tuple[Any, Any]] = field(default_factory=list)

    @property
    def name(self) -> str:
        """`module.name` of what was to be called, empty where that is itself the result of a call."""
        return self.made_by.name if isinstance(self.made_by, Global) else ""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class OpaqueKey:
    """A key of a dictionary or member of a set that is no scalar: hashing it could recurse, or never end."""

    value: object


class DamagedPickle(CheckpointError):
    """A pickle that breaks the rules of its format or asks for too much. The message is the end of a sentence."""


def plain(value: object, nodes: int = 100_000, depth: int = 64) -> Any:
    """A configuration as plain dicts, lists and scalars; what is neither, and no omegaconf node, becomes None.

    Interpolations (`${model.length}`) stay strings. Raises DamagedPickle for more than `nodes` values, for which a
    few containers that hold each other are enough, or deeper than `depth`.
    """
    left = nodes

    def spend(count: int, depth: int) -> None:
        nonlocal left
        left -= count
        if left < 0 or depth < 0:
            raise DamagedPickle("its configuration is nested too deep, or too large")

    def walk(value: object, depth: int) -> Any:
        if isinstance(value, str):
            # The same long text can stand in many places, and be shown.
            spend(len(value) // 64, depth)
        if value is None or isinstance(value, bool | int | float | str):
            return value
        if isinstance(value, list | tuple | set):
            spend(len(value) + 1, depth)
            return [walk(v, depth - 1) for v in value]
        if isinstance(value, dict):
            spend(len(value) + 1 + sum(len(k) // 64 for k in value if isinstance(k, str)), depth)
            return {str(k): walk(v, depth - 1) for k, v in value.items() if isinstance(k, str | int)}
        if isinstance(value, Inert):
            spend(len(value.pairs) + len(value.items) + 1, depth)
            return walk(_content(value), depth - 1)
        return None

    return walk(value, depth)


def _content(inert: Inert) -> object:
    """What a container of omegaconf, a namespace or a subclass of dict or list holds, else None."""
    state = inert.state
    if isinstance(state, dict):
        for name in ("_content", "_val"):
            if name in state:
                return state[name]
        if inert.name.endswith("Namespace"):
            return state
    if inert.pairs:
        return {k: v for k, v in inert.pairs if isinstance(k, str)}
    return list(inert.items) or None
