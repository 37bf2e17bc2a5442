"""Progress on stderr: a bar a stage, with the share done and the time left."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from audit_cli.audits import Watch
from audit_cli.cli import session
from audit_cli.safetext import for_terminal


class ProgressWatch(Watch):
    """A `Watch` on rich's progress bars."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.task = progress.add_task("starting", total=None)
        self.long: TaskID | None = None

    def whole(self, name: str, parts: int) -> None:
        self.progress.remove_task(self.task)
        self.long = self.progress.add_task(name, total=parts)
        self.task = self.progress.add_task("starting", total=None)

    def part_done(self) -> None:
        if self.long is not None:
            self.progress.advance(self.long)

    def stage(self, name: str, evaluations: int) -> None:
        self.progress.remove_task(self.task)
        self.task = self.progress.add_task(name, total=evaluations)

    def advance(self, evaluations: int) -> None:
        self.progress.advance(self.task, evaluations)

    def warn(self, message: str) -> None:
        self.progress.console.print(Text(f"note: {for_terminal(message)}", style="yellow"))


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
        session.note(f"note: {message}")


@contextmanager
def silent() -> Iterator[Watch]:
    """No progress."""
    yield Notes()
