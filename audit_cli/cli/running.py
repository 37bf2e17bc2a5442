"""Steps that the measuring commands share, loaded only when one runs."""

from pathlib import Path

import torch

from audit_cli.checkpoints import LoadedModel, load_model
from audit_cli.cli import session
from audit_cli.cli.options import Unit, Weights
from audit_cli.records import AuditReport
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.files import write_report
from audit_cli.reports.terminal import basins_report, entropy_report


def usable_device(name: str) -> torch.device:
    """The device of that name, if there is one to compute on."""
    try:
        device = torch.device(name)
        if not bool(torch.ones(1, device=device) == 1):
            raise RuntimeError("it does not compute")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        session.fail(f"--device {name}: {str(error).splitlines()[0][:200]}", session.USAGE)
    return device


def load(path: Path, weights: Weights | None, device: str) -> LoadedModel:
    """The checkpoint, on a device that exists."""
    where = usable_device(device)
    # float32 products at full precision: rounded ones would change which tokens are drawn.
    torch.backends.cuda.matmul.allow_tf32 = False
    return load_model(path, None if weights is None else str(weights), where)


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
    files = session.file_redaction(show_text, shown)
    written = dict.fromkeys(file for path in outputs for file in write_report(path, report, files, second, bits))
    render = basins_report if report.run.command == "basins" else entropy_report
    legend = not quiet and console.is_terminal
    for part in render(report, shown, console.width, show_all, legend, bits):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
