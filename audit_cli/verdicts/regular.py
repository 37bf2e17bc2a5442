"""Reading a file that may have been put there by anybody."""

import os
import stat
from pathlib import Path


def content_of(path: Path, most: int) -> bytes:
    """The first `most` bytes of a regular file, and one more where there are more.

    Raises OSError or ValueError, with the reason, on anything else: a pipe would wait for somebody to write, and a
    device may have no end.
    """
    file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    with os.fdopen(file, "rb") as opened:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("not a regular file")
        return opened.read(most + 1)


def why(error: Exception) -> str:
    """The reason that such an error tells."""
    return getattr(error, "strerror", None) or str(error)
