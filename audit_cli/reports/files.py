"""Reports as files: written beside their place and renamed into it, so that a file is whole or as it was before."""

import contextlib
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO

from audit_cli.records import (
    AttractorReport,
    AuditReport,
    Evaluation,
    GateReport,
    Generation,
    Retrieval,
    TrackReport,
    Trajectory,
)
from audit_cli.redaction import Redaction
from audit_cli.reports.attractor_files import AttractorTable, attractors_metadata, write_attractors_table
from audit_cli.reports.evaluation import PER_TEXT, EvaluationTable, evaluation_metadata, write_roc, write_table
from audit_cli.reports.formats import FORMATS
from audit_cli.reports.gate.formats import GATE_FORMATS
from audit_cli.reports.gate.json_report import gate_metadata
from audit_cli.reports.metadata import metadata
from audit_cli.reports.outputs import Output, OutputError, WriteError, check_file, check_outputs, parse_output, reason
from audit_cli.reports.ranked import RankedTable, ranked_metadata, write_ranked_table
from audit_cli.reports.tables import Table
from audit_cli.reports.track_files import TrackTable, track_metadata, write_figure, write_track_table
from audit_cli.reports.trajectory_files import PER_POSITION, TRAJECTORY_FORMATS, TrajectoryTable, trajectory_metadata

__all__ = [
    "Output",
    "OutputError",
    "WriteError",
    "check_file",
    "check_outputs",
    "parse_output",
    "write_attractors",
    "write_evaluation",
    "write_file",
    "write_gate",
    "write_ranked",
    "write_report",
    "write_track",
    "write_trajectory",
]

Fill = Callable[[BinaryIO], object]
BUFFER_BYTES = 1 << 20


def write_report(
    output: Output, report: AuditReport, redaction: Redaction, second: str | None, bits: bool
) -> list[Path]:
    """Write the table, `OUT.meta.json` beside it, and the second table if asked for; returns the files.

    All are written before the first is renamed into its place. Raises OutputError, naming the file and the reason.
    """
    write = FORMATS[output.format].write
    meta = metadata(report).encode("ascii")
    fills: dict[Path, Fill] = {output.path: partial(write, Table(report.run.command, report, redaction, bits))}
    if second is not None:
        fills[output.second(second)] = partial(write, Table(second, report, redaction, bits))
    if not _holds(output.meta, meta):
        fills[output.meta] = lambda file: file.write(meta)
    _write_all(fills)
    return list(dict.fromkeys([output.path, output.meta, *fills]))


def write_gate(outputs: Sequence[Output], report: GateReport, redaction: Redaction) -> list[Path]:
    """Write a gate's report in each of the formats of `GATE_FORMATS`, and `OUT.meta.json` beside its tables; returns
    the files. As `write_report` otherwise."""
    meta = gate_metadata(report).encode("ascii")
    fills: dict[Path, Fill] = {}
    files: list[Path] = []
    for output in outputs:
        kind = GATE_FORMATS[output.format]
        fill = partial(kind.write, report, redaction)
        fills[output.path] = partial(_after, output.path, fill) if output.append else fill
        files.append(output.path)
        if kind.meta:
            files.append(output.meta)
            if not _holds(output.meta, meta):
                fills[output.meta] = lambda file: file.write(meta)
    _write_all(fills)
    return list(dict.fromkeys(files))


def write_evaluation(
    output: Output | None, found: Evaluation, redaction: Redaction, per_text: bool, roc: Path | None
) -> list[Path]:
    """Write the table of scores, `OUT.meta.json` beside it, the scores of every text if asked for, and ROC curves as
    SVG to `roc`; returns the files. As `write_report` otherwise."""
    fills: dict[Path, Fill] = {}
    if output is not None:
        tables = {"evaluate": output.path} | ({PER_TEXT: output.second(PER_TEXT)} if per_text else {})
        for name, path in tables.items():
            fills[path] = partial(write_table, EvaluationTable(name, found, redaction), output.format)
        meta = evaluation_metadata(found).encode("ascii")
        if not _holds(output.meta, meta):
            fills[output.meta] = lambda file: file.write(meta)
    if roc is not None:
        fills[roc] = partial(write_roc, found)
    _write_all(fills)
    return list(fills)


def write_ranked(output: Output, found: Generation | Retrieval, redaction: Redaction, bits: bool) -> list[Path]:
    """Write the table of a run of `generate` or `retrieve` and `OUT.meta.json` beside it; returns the files. As
    `write_report` otherwise."""
    table = RankedTable(found, redaction, bits)
    fills: dict[Path, Fill] = {output.path: partial(write_ranked_table, table, output.format)}
    meta = ranked_metadata(found).encode("ascii")
    if not _holds(output.meta, meta):
        fills[output.meta] = lambda file: file.write(meta)
    _write_all(fills)
    return [output.path, output.meta]


def write_attractors(output: Output, found: AttractorReport, redaction: Redaction, bits: bool) -> list[Path]:
    """Write the table of a run of `attractors` and `OUT.meta.json` beside it; returns the files. As `write_report`
    otherwise."""
    table = AttractorTable(found, redaction, bits)
    fills: dict[Path, Fill] = {output.path: partial(write_attractors_table, table, output.format)}
    meta = attractors_metadata(found).encode("ascii")
    if not _holds(output.meta, meta):
        fills[output.meta] = lambda file: file.write(meta)
    _write_all(fills)
    return [output.path, output.meta]


def write_trajectory(outputs: Sequence[Output], found: Trajectory, per_token: bool, bits: bool) -> list[Path]:
    """Write a trajectory in each of the formats of `TRAJECTORY_FORMATS`, a second table beside those that have one if
    asked for, and `OUT.meta.json`; returns the files. As `write_report` otherwise."""
    meta = trajectory_metadata(found).encode("ascii")
    fills: dict[Path, Fill] = {}
    for output in outputs:
        kind = TRAJECTORY_FORMATS[output.format]
        fills[output.path] = partial(kind.write, found, bits)
        if per_token and kind.rows is not None:
            fills[output.second(PER_POSITION)] = partial(kind.rows, TrajectoryTable(found, PER_POSITION, bits))
        fills[output.meta] = lambda file: file.write(meta)
    _write_all(fills)
    return list(fills)


def write_track(outputs: Sequence[Output], figure: Path | None, found: TrackReport, bits: bool) -> list[Path]:
    """Write the table of a track in each of the formats, `OUT.meta.json` beside it, and a picture to `figure`; returns
    the files. As `write_report` otherwise."""
    meta = track_metadata(found).encode("ascii")
    fills: dict[Path, Fill] = {}
    for output in outputs:
        fills[output.path] = partial(write_track_table, TrackTable(found, bits), output.format)
        fills[output.meta] = lambda file: file.write(meta)
    if figure is not None:
        fills[figure] = partial(write_figure, found, figure.suffix.lower().removeprefix("."))
    _write_all(fills)
    return list(fills)


def write_file(path: Path, content: bytes) -> None:
    """Write a file that stands alone. Raises WriteError, naming it and the reason."""
    _write_all({path: lambda file: file.write(content)})


def _write_all(fills: dict[Path, Fill]) -> None:
    """Fill all files, then rename them into their places."""
    with contextlib.ExitStack() as cleanup:
        written: dict[Path, Path] = {}
        for target, fill in fills.items():
            with _told_of(target):
                written[target] = _written(target.parent, fill, cleanup)
        for target, file in written.items():
            with _told_of(target):
                file.replace(target)


def _written(folder: Path, fill: Fill, cleanup: contextlib.ExitStack) -> Path:
    """A new file in the folder, filled and on the disk; `cleanup` removes it if it is still there."""
    # A file of our own, readable by its owner only: reports may hold text.
    handle, name = tempfile.mkstemp(prefix=".uddm-audit.", suffix=".tmp", dir=folder)
    cleanup.callback(_discard, Path(name))
    with os.fdopen(handle, "wb", buffering=BUFFER_BYTES) as file:
        fill(file)
        file.flush()
        os.fsync(file.fileno())
    return Path(name)


def _after(path: Path, fill: Fill, file: BinaryIO) -> None:
    """Fill the file with what stands at `path`, if anything does, and with what is new after an empty line.

    It keeps its owner and its mode, so that who reads the file by now can read it still.
    """
    # A link that appeared while the run went on is not followed.
    no_link = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)
    with contextlib.suppress(FileNotFoundError), os.fdopen(os.open(path, no_link), "rb") as old:
        shutil.copyfileobj(old, file)
        if old.tell():
            old.seek(-1, os.SEEK_END)
            file.write(b"\n" if old.read(1) == b"\n" else b"\n\n")
        there = os.fstat(old.fileno())
        if hasattr(os, "fchown"):
            with contextlib.suppress(OSError):
                os.fchown(file.fileno(), there.st_uid, there.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(there.st_mode))
    fill(file)


@contextlib.contextmanager
def _told_of(target: Path) -> Iterator[None]:
    """Errors of the system as OutputErrors that name the file."""
    try:
        yield
    except OSError as error:
        raise WriteError(f"{target}: {reason(error)}; it was not written") from None


def _discard(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _holds(path: Path, content: bytes) -> bool:
    """Whether the file is there with just this content: another output of the run has written it."""
    try:
        return path.stat().st_size == len(content) and path.read_bytes() == content
    except OSError:
        return False
