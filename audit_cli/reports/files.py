"""Tables as files, by suffix: written beside their place and renamed into it, so that a file is whole or absent."""

import csv
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

from audit_cli.records import AuditReport
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import Cells, level_rows, main_rows, metadata, token_rows
from audit_cli.safetext import encodable, for_csv, for_terminal


class OutputError(Exception):
    """An output that cannot be written; the message says which and why."""


def write_csv(rows: Iterable[Cells], file: TextIO) -> None:
    """CSV with a header; text cells made safe for spreadsheets, floats with the digits that restore them."""
    writer = None
    for row in rows:
        if writer is None:
            writer = csv.DictWriter(file, list(row), lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
            writer.writeheader()
        writer.writerow({name: _csv_cell(name, value) for name, value in row.items()})


def _csv_cell(name: str, value: Any) -> Any:
    if value is None:
        return ""
    if not isinstance(value, str):
        return value
    # The text keeps its characters, as far as a CSV file can; everything else is for reading.
    return for_csv(value if name == "text" else for_terminal(value))


def write_jsonl(rows: Iterable[Cells], file: TextIO) -> None:
    """A JSON object a line, ASCII only; what was not measured is null."""
    for row in rows:
        plain = {name: (encodable(v) or None) if isinstance(v, str) else v for name, v in row.items()}
        file.write(json.dumps(plain, ensure_ascii=True, allow_nan=False) + "\n")


WRITERS: dict[str, Callable[[Iterable[Cells], TextIO], None]] = {".csv": write_csv, ".jsonl": write_jsonl}


def check_outputs(paths: Sequence[Path], second: str | None, inputs: Iterable[Path]) -> None:
    """Raise OutputError on a path that cannot become an output, before any time is spent."""
    taken = list(inputs)
    targets = list(dict.fromkeys(target for path in paths for target in _targets(path, second)))
    if len(set(paths)) < len(paths):
        raise OutputError(f"{max(paths, key=list(paths).count)}: given twice")
    for path in targets:
        if path in paths and path.suffix not in WRITERS:
            raise OutputError(f"{path}: unknown kind of output {path.suffix!r}; known: {', '.join(WRITERS)}")
        if not path.parent.is_dir():
            raise OutputError(f"{path}: the folder {path.parent} does not exist")
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise OutputError(f"{path}: is there and is no regular file")
        if not os.access(path.parent, os.W_OK):
            raise OutputError(f"{path}: the folder {path.parent} is not writable")
        if any(path.exists() and other.exists() and path.samefile(other) for other in taken):
            raise OutputError(f"{path}: is one of the inputs")


def _targets(path: Path, second: str | None) -> list[Path]:
    """The files that one -o stands for: the table, its metadata, the second table."""
    beside = [] if second is None else [path.with_suffix(f".{second}{path.suffix}")]
    return [path, path.with_suffix(".meta.json"), *beside]


def write_report(path: Path, report: AuditReport, redaction: Redaction, second: str | None, bits: bool) -> list[Path]:
    """Write the table, `OUT.meta.json`, and the second table if asked for; returns the files. Raises OutputError."""
    write = WRITERS[path.suffix]
    fills: list[Callable[[TextIO], None]] = [
        lambda file: write(main_rows(report, redaction, bits), file),
        lambda file: _write_text(file, metadata(report)),
    ]
    if second is not None:
        rows = {"per-level": level_rows, "per-token": token_rows}[second]
        fills.append(lambda file: write(rows(report, redaction, bits), file))
    targets = _targets(path, second)
    partials: list[Path] = []
    try:
        for target, fill in zip(targets, fills, strict=True):
            # A new file of our own, readable by its owner only: reports may hold text.
            handle, name = tempfile.mkstemp(prefix=f".{target.name[:100]}.", suffix=".part", dir=target.parent)
            partials.append(Path(name))
            with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
                fill(file)
        for partial, target in zip(partials, targets, strict=True):
            partial.replace(target)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise OutputError(f"{path}: {reason}; the output is not complete") from None
    finally:
        for partial in partials:
            partial.unlink(missing_ok=True)
    return targets


def _write_text(file: TextIO, text: str) -> None:
    file.write(text)
