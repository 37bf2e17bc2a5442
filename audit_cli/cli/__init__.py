"""The command line: parse, call, exit code. Importing it loads the standard library and Typer only."""

import os
import signal
import sys

try:
    from audit_cli.cli.app import app
except KeyboardInterrupt:
    # Nothing has begun: no traceback, and the code of a run that was stopped.
    sys.exit(130)

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of `uddm-audit`."""
    if hasattr(signal, "SIGPIPE"):
        # `| head` ends the program the way it ends any other; it must not look like a finding.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    # Waiting threads sleep: on a shared machine spinning ones made an audit of a small model ten times slower, and on
    # an idle one they gain nothing. Read by OpenMP when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # torch and oneDNN keep the code of a thousand shapes of matrix products each, some 0.3 MB a shape: a stream of
    # texts of all lengths would grow by hundreds of megabytes.
    for cache in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(cache, "16")
    # Tokenizers written in Rust panic on a broken file. That is told in one line, and a backtrace would add a hundred.
    os.environ.pop("RUST_BACKTRACE", None)
    _fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        # An ASCII terminal has no bars or dashes: better a report with question marks than none.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="uddm-audit")
    except KeyboardInterrupt:
        # Before a command begins, or after it has ended.
        sys.exit(130)
    except OSError:
        # Typer itself could not write: a full disk behind stdout or stderr is no finding.
        os._exit(3)


def _fill_closed_streams() -> None:
    """Where the shell closed a stream, nothing: else the next file that is opened would stand in its place."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)
    if sys.stdout is None:
        sys.stdout = os.fdopen(1, "w", closefd=False)
    if sys.stderr is None:
        sys.stderr = os.fdopen(2, "w", closefd=False)
