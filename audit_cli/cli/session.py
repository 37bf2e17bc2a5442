"""What every command shares: consoles, the fingerprint key, errors as messages and exit codes."""

import contextlib
import datetime
import functools
import os
import secrets
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from audit_cli.redaction import Redaction, ShowText
from audit_cli.safetext import for_terminal

if TYPE_CHECKING:
    from rich.console import Console

    from audit_cli.records import AuditReport

USAGE, UNAUDITABLE, INCONCLUSIVE, INTERRUPTED, TERMINATED = 2, 3, 4, 130, 143
PIPE_WIDTH = 124


class Terminated(KeyboardInterrupt):
    """SIGTERM: ends a run as Ctrl-C does."""


def stop_code(stopped: KeyboardInterrupt) -> int:
    """The exit code of a run that was stopped."""
    return TERMINATED if isinstance(stopped, Terminated) else INTERRUPTED


def _terminate(_number: int, _frame: object) -> None:
    raise Terminated


@contextlib.contextmanager
def loading() -> Iterator[None]:
    """While libraries are loaded inside, a stop ends the program at once: what they have in C++ aborts on an exception
    that it does not expect."""

    def stop(number: int, _frame: object) -> None:
        note("uddm-audit: stopped before anything was measured; give the same command again")
        os._exit(TERMINATED if number == signal.SIGTERM else INTERRUPTED)

    before = {}
    # Only a program's main thread may.
    with contextlib.suppress(ValueError):
        # What a shell has its background jobs ignore stays ignored.
        heard = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is not signal.SIG_IGN]
        before = {number: signal.signal(number, stop) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose errors become one message and an exit code; the traceback shows with -vv."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        try:
            # Only a program's main thread may; a test, or a service, may call from another.
            with contextlib.suppress(ValueError):
                signal.signal(signal.SIGTERM, _terminate)
            command(*args, **options)
        except (typer.Exit, typer.Abort, typer.BadParameter):
            raise
        except KeyboardInterrupt as stopped:
            fail("stopped before anything was measured; give the same command again", stop_code(stopped))
        except BaseException as error:  # a panic in Rust is no Exception
            if isinstance(error, SystemExit | GeneratorExit):
                raise
            if options.get("verbose", 0) >= 2:
                for line in _traceback(error, options.get("show_text") is ShowText.FULL):
                    note(line)
            message, code = _explained(error)
            fail(message, code)

    return run


def _traceback(error: BaseException | None, with_messages: bool) -> Iterator[str]:
    """Where an error and those behind it came from; their messages may quote a text, and show only if asked for."""
    while error is not None:
        said = f": {error}" if with_messages else " (--show-text full shows what it says)"
        for entry in traceback.format_tb(error.__traceback__):
            yield from entry.splitlines()
        yield f"{type(error).__name__}{said}"
        error = error.__cause__ or error.__context__


def _explained(error: BaseException) -> tuple[str, int]:
    """Message and exit code of an error: a person's mistake is told as such, anything else is unforeseen."""
    with loading():
        from audit_cli.audits.corpus import CorpusError
        from audit_cli.audits.journal import DiskFull, JournalError
        from audit_cli.candidates import CandidateError
        from audit_cli.checkpoints import CheckpointError, UnauditableModel
        from audit_cli.reports.files import OutputError
        from audit_cli.training import TrainingError
        from audit_cli.verdicts.baseline import BaselineError
        from audit_cli.verdicts.calibration import CalibrationError
        from audit_cli.verdicts.policy import PolicyError

    if isinstance(error, UnauditableModel | DiskFull | CorpusError):
        return str(error), UNAUDITABLE
    texts = CandidateError | JournalError | OutputError | CalibrationError
    if isinstance(error, texts | CheckpointError | TrainingError | PolicyError | BaselineError):
        return str(error), USAGE
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}", USAGE
    if isinstance(error, OSError) and error.strerror:
        return f"the report could not be written: {error.strerror}", UNAUDITABLE
    if isinstance(error, FloatingPointError):
        return f"the model cannot be audited: {error}", UNAUDITABLE
    if isinstance(error, MemoryError):
        return f"out of memory: {error}" if str(error) else "out of memory", UNAUDITABLE
    return f"unforeseen {type(error).__name__}; the same command with -vv shows more", UNAUDITABLE


def fail(message: str, code: int) -> NoReturn:
    """Print a message to stderr and exit."""
    note(f"uddm-audit: {message}")
    raise typer.Exit(code)


def note(message: str) -> None:
    """A message on stderr; where nobody can be told, the exit code still tells."""
    with contextlib.suppress(OSError):
        typer.echo(for_terminal(message), err=True)


def cache_folder() -> Path | None:
    """Where facts about weights are kept between runs; None where nobody has a home."""
    given = Path(os.environ.get("XDG_CACHE_HOME") or ".")
    try:
        # A relative one is invalid, and not followed.
        return (given if given.is_absolute() else Path.home() / ".cache") / "uddm-audit"
    except RuntimeError:
        return None


def stdout() -> "Console":
    """A console on stdout that takes strings as they are; wide enough for a table where nobody looks."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return Console(markup=False, highlight=False, emoji=False, soft_wrap=False, width=width)


def redaction(show: ShowText | None) -> Redaction:
    """What may be shown: unless asked otherwise an excerpt on a terminal, a fingerprint elsewhere."""
    default = ShowText.EXCERPT if sys.stdout.isatty() else ShowText.FINGERPRINT
    return Redaction(show or default, fingerprint_key())


def file_redaction(show: ShowText | None, shared: Redaction) -> Redaction:
    """The same for files, in which nothing of a text stands unless it is asked for."""
    return Redaction(show or ShowText.FINGERPRINT, shared.key)


def fingerprint_key() -> bytes:
    """The key of the fingerprints: UDDM_AUDIT_KEY, or a file of the user's that is made when first needed."""
    given = os.environ.get("UDDM_AUDIT_KEY")
    if given:
        return os.fsencode(given)
    folder = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config") / "uddm-audit"
    file = folder / "fingerprint.key"
    try:
        if not os.path.lexists(file):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(secrets.token_hex(32))
        if file.is_file() and (key := file.read_bytes().strip()):
            return key
        reason = "empty, or not a file"
    except OSError as error:
        reason = str(error.strerror)
    note(f"uddm-audit: {file}: {reason}; this run's fingerprints cannot be compared with another's")
    return secrets.token_bytes(32)


def today() -> datetime.date:
    """The day, in UTC: that of a build server is the same everywhere."""
    return datetime.datetime.now(datetime.UTC).date()


def show_progress(quiet: bool) -> Any:
    """A context manager that gives a `Watch`: bars with time left on stderr if that is a terminal."""
    from audit_cli.cli.progress import silent, terminal_progress

    return silent() if quiet or not sys.stderr.isatty() else terminal_progress()


def verdict_exit(report: "AuditReport", fail_on: str | None, strict: bool, exit_zero: bool) -> int:
    """The exit code of a finished audit: the first that applies of 1, 3, 4, 0."""
    from audit_cli.records import Verdict
    from audit_cli.verdicts.gate import FAILED, FAILING

    given, skipped = report.counts.given, report.counts.skipped
    verdicts = {verdict for verdict, count in report.counts.verdicts if count}
    if fail_on and verdicts & FAILING[fail_on] and not exit_zero:
        note(f"exit 1: a text is {fail_on} or above (--fail-on)")
        return FAILED
    if (given and skipped == given) or (strict and skipped):
        note(f"exit 3: {skipped:,} of {given:,} texts could not be measured")
        return UNAUDITABLE
    if fail_on and Verdict.INCONCLUSIVE in verdicts:
        note("exit 4: a text cannot be judged")
        return INCONCLUSIVE
    return 0
