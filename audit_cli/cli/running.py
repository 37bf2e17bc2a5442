"""Steps that the measuring commands share, loaded only when one runs."""

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import torch

from audit_cli.candidates import read_candidates
from audit_cli.checkpoints import LoadedModel, load_model
from audit_cli.cli import session
from audit_cli.cli.options import Unit, Weights
from audit_cli.records import AuditReport, Candidate, Skipped
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.files import write_report
from audit_cli.reports.terminal import basins_report, entropy_report

Candidates = Iterator[Candidate | Skipped]


def load(path: Path, weights: Weights | None, device: str) -> LoadedModel:
    """The checkpoint, on a device that exists."""
    try:
        where = torch.device(device)
        torch.empty(1, device=where)
    except (RuntimeError, AssertionError) as error:
        session.fail(f"--device {device}: {str(error).splitlines()[0]}", session.USAGE)
    # float32 products at full precision: rounded ones would change which tokens are drawn.
    torch.backends.cuda.matmul.allow_tf32 = False
    return load_model(path, None if weights is None else str(weights), where)


def opened(files: Iterable[Path]) -> Candidates:
    """The texts of the files, which must exist; an empty set of texts is an error here, before a model is loaded."""
    texts = read_candidates(list(files))
    first = next(texts, None)
    if first is None:
        names = ", ".join(file.name for file in files)
        session.fail(f"{names}: no candidates: the file holds no text", session.UNAUDITABLE)
    return chain([first], texts)


def candidates(given: Iterable[Candidate | Skipped], limit: int | None) -> Candidates:
    """The first `limit` texts, or all."""
    return islice(given, limit)


def finish(
    report: AuditReport,
    shown: Redaction,
    show_text: ShowText | None,
    outputs: list[Path],
    second: str | None,
    unit: Unit,
    show_all: bool,
    quiet: bool,
) -> None:
    """Write the files first, then the report."""
    bits = unit is Unit.BITS
    console = session.stdout()
    written = [
        file
        for path in outputs
        for file in write_report(path, report, session.file_redaction(show_text, shown), second, bits)
    ]
    render = basins_report if report.run.command == "basins" else entropy_report
    legend = not quiet and console.is_terminal
    for part in render(report, shown, console.width, show_all, legend, bits):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
