"""Tables as files, by suffix: written beside their place and renamed into it, so that a file is whole or absent."""

import csv
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TextIO

from audit_cli.records import AuditReport
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import Cells, level_rows, main_rows, metadata, token_rows
from audit_cli.safetext import encodable, for_csv


class OutputError(Exception):
    """An output that cannot be written; the message says which and why."""


def write_csv(rows: Iterable[Cells], file: TextIO) -> None:
    """CSV with a header; text cells made safe for spreadsheets, floats with the digits that restore them."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            writer.writeheader()
        writer.writerow({name: _csv_cell(value) for name, value in row.items()})


def _csv_cell(value: Any) -> Any:
    if value is None:
        return ""
    return for_csv(value) if isinstance(value, str) else value


def write_jsonl(rows: Iterable[Cells], file: TextIO) -> None:
    """A JSON object a line, ASCII only; what was not measured is null."""
    for row in rows:
        plain = {name: (encodable(v) or None) if isinstance(v, str) else v for name, v in row.items()}
        file.write(json.dumps(plain, ensure_ascii=True, allow_nan=False) + "\n")


WRITERS: dict[str, Callable[[Iterable[Cells], TextIO], None]] = {".csv": write_csv, ".jsonl": write_jsonl}


def check_outputs(paths: Iterable[Path]) -> None:
    """Raise OutputError on a path that cannot become an output, before any time is spent."""
    for path in paths:
        if path.suffix not in WRITERS:
            raise OutputError(f"{path}: unknown kind of output {path.suffix!r}; known: {', '.join(WRITERS)}")
        if path.is_dir() or path.is_symlink():
            raise OutputError(f"{path}: is a {'folder' if path.is_dir() else 'symbolic link'}")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: the folder {path.parent} is not writable")


def write_report(path: Path, report: AuditReport, redaction: Redaction, second: str | None, bits: bool) -> list[Path]:
    """Write the table, `OUT.meta.json`, and the second table if asked for; returns the files. Raises OutputError."""
    write = WRITERS[path.suffix]
    tables: list[tuple[Path, Callable[[TextIO], None]]] = [
        (path, lambda file: write(main_rows(report, redaction, bits), file)),
        (path.with_suffix(".meta.json"), lambda file: _write_text(file, metadata(report))),
    ]
    if second is not None:
        rows = {"per-level": level_rows, "per-token": token_rows}[second]
        beside = path.with_suffix(f".{second}{path.suffix}")
        tables.append((beside, lambda file: write(rows(report, redaction, bits), file)))
    partial = path
    try:
        for target, fill in tables:
            partial = target.with_name(target.name + ".part")
            with partial.open("w", encoding="utf-8", newline="") as file:
                # Reports may hold text of the person's own: nobody else's to read.
                partial.chmod(0o600)
                fill(file)
        for target, _ in tables:
            target.with_name(target.name + ".part").replace(target)
    except OSError as error:
        raise OutputError(f"{partial}: {error.strerror}; nothing was written") from None
    return [target for target, _ in tables]


def _write_text(file: TextIO, text: str) -> None:
    file.write(text)
