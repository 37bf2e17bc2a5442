"""Tables as CSV."""

import csv
from typing import Any, BinaryIO

from audit_cli.reports.tables import Rows
from audit_cli.safetext import for_csv, for_terminal


def write_csv(table: Rows, file: BinaryIO) -> None:
    """CSV in UTF-8 with a header; text cells made safe for spreadsheets, floats with the digits that restore them."""
    writer = csv.writer(_Encoded(file), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(table.columns)
    for row in table:
        writer.writerow(_cell(name, value) for name, value in row.items())


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    # The text keeps its characters, as far as a CSV file can; everything else is for reading.
    return for_csv(value if name == "text" else for_terminal(value))


class _Encoded:
    """A binary file that takes strings: a text wrapper would close the file, or flush it when it is too late."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def write(self, text: str) -> None:
        self.file.write(text.encode())
