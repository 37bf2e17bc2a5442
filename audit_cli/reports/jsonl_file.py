"""Tables as JSON Lines."""

import json
from typing import BinaryIO

from audit_cli.reports.tables import Rows


def write_jsonl(table: Rows, file: BinaryIO) -> None:
    """A JSON object a line, ASCII only: escapes keep every string exactly, lone surrogates too.

    One string cannot be told from another in JSON: a high surrogate before a low one is read as the character that
    the two encode. What was not measured is null.
    """
    for row in table:
        file.write(json.dumps(row, ensure_ascii=True, allow_nan=False).encode("ascii") + b"\n")
