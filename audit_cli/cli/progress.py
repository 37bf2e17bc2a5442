"""Progress on stderr: a bar a stage, with the share done and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text

from audit_cli.audits import Watch


class ProgressWatch(Watch):
    """A `Watch` on rich's progress bars."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("starting", total=None)

    def stage(self, name: str, evaluations: int) -> None:
        self.progress.remove_task(self.task)
        self.task = self.progress.add_task(name, total=evaluations)

    def advance(self, evaluations: int) -> None:
        self.progress.advance(self.task, evaluations)

    def warn(self, message: str) -> None:
        self.progress.console.print(Text(f"note: {message}", style="yellow"))


@contextmanager
def terminal_progress() -> Iterator[Watch]:
    """Bars on stderr while the context lasts."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, *times, console=Console(stderr=True), transient=True) as progress:
        yield ProgressWatch(progress)


class Notes(Watch):
    """No progress, and warnings as lines on stderr."""

    def warn(self, message: str) -> None:
        typer.echo(f"note: {message}", err=True)


@contextmanager
def silent() -> Iterator[Watch]:
    """No progress."""
    yield Notes()
