"""Who looks on while an audit runs. The default looks away; the command line shows progress."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Watch:
    """Told of the stages of an audit and of their progress."""

    def stage(self, name: str, total: int) -> None:
        """A stage of `total` units begins."""

    def advance(self, units: int = 1) -> None:
        """Units of the present stage are done."""


def watched(watch: Watch, name: str, total: int, items: Iterable[T]) -> Iterator[T]:
    """The items, each reported as a unit of a stage when it comes."""
    watch.stage(name, total)
    for item in items:
        watch.advance()
        yield item
