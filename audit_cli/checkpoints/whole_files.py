"""Files of a checkpoint folder are whole or as they were: written beside their place and renamed into it."""

import contextlib
import os
import secrets
from collections.abc import Callable
from pathlib import Path


def replace_file(path: Path, fill: Callable[[Path], object]) -> None:
    """Have `fill` write a new file in the folder of `path`, and put it there once it is on the disk.

    A link at `path` is replaced and never followed.
    """
    # No name that others can foresee, and never a file that is there: in a folder that came from somewhere else a link
    # may stand under any other name. The mode is that of any file the user makes.
    written = path.with_name(f".uddm-audit.{secrets.token_hex(8)}.tmp")
    os.close(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o666))
    try:
        mode = written.stat().st_mode & 0o777
        fill(written)
        # Some writers put a file of their own, with a mode of their own, in its place.
        written.chmod(mode)
        with written.open("rb+") as file:
            os.fsync(file.fileno())
        written.replace(path)
    finally:
        with contextlib.suppress(OSError):
            written.unlink(missing_ok=True)
