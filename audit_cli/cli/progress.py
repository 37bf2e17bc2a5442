"""Progress on stderr: a bar a stage, with counts and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from audit_cli.audits import Watch


class ProgressWatch(Watch):
    """A `Watch` on rich's progress bars."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("starting", total=None)

    def stage(self, name: str, total: int) -> None:
        self.progress.remove_task(self.task)
        self.task = self.progress.add_task(name, total=total)

    def advance(self, units: int = 1) -> None:
        self.progress.advance(self.task, units)


@contextmanager
def terminal_progress() -> Iterator[Watch]:
    """Bars on stderr while the context lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True), transient=True) as progress:
        yield ProgressWatch(progress)


@contextmanager
def silent() -> Iterator[Watch]:
    """No progress."""
    yield Watch()
