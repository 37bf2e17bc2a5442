"""The command line: parse, call, exit code. Importing it loads the standard library and Typer only."""

import signal

from audit_cli.cli.app import app

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of `uddm-audit`."""
    if hasattr(signal, "SIGPIPE"):
        # `| head` ends the program the way it ends any other; it must not look like a finding.
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    app(prog_name="uddm-audit")
