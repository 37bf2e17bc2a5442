"""The command line: parse, call, exit code. Importing it loads the standard library and Typer only."""

import os
import signal
import sys

from audit_cli.cli.app import app

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
    for stream in (sys.stdout, sys.stderr):
        # An ASCII terminal has no bars or dashes: better a report with question marks than none.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")
    try:
        app(prog_name="uddm-audit")
    except OSError:
        # Typer itself could not write: a full disk behind stdout or stderr is no finding.
        os._exit(3)
