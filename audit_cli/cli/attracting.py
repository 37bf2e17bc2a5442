"""What `attractors` does, loaded only when it runs."""

import typer

from audit_cli.audits import AttractorSettings, Journal, measure_attractors
from audit_cli.audits.provenance import identity
from audit_cli.cli import session
from audit_cli.cli.options import Unit
from audit_cli.cli.running import Request, journal_of, model_of, written_from
from audit_cli.records import AttractorReport
from audit_cli.redaction import Redaction
from audit_cli.reports.attractors import attractors_report
from audit_cli.reports.files import write_attractors

# What is taken from the command line as it is.
ASKED = (
    *("model", "weights", "tokenizer", "device", "dtype", "backend"),
    *("show_text", "unit", "show_all", "quiet", "restart", "strict", "no_cache"),
)


def attract(request: Request, settings: AttractorSettings) -> None:
    """Load, measure, write, print, exit."""
    model = model_of(request, request.model, request.weights)
    settings.probe(model)
    shown = session.redaction(request.show_text)
    with journal_of(request, shown) as journal:
        with session.show_progress(request.quiet) as watch:
            journal.bind(identity("attractors", settings, model, {}))
            if kept := journal.count():
                watch.warn(f"going on: {kept:,} measurements of a stopped run are kept in {journal.path}")
            found = measure_attractors(model, request.texts or (), request.heldout, settings, shown, watch, journal)
        _finish(request, found, shown, journal)
    counts = found.given
    if counts.skipped == counts.given or (request.strict and counts.skipped):
        session.note(f"exit 3: {counts.skipped:,} of {counts.given:,} texts could not be measured")
        raise typer.Exit(session.UNAUDITABLE)
    if found.heldout is not None and not found.heldout.measured:
        session.note(f"exit 3: none of {found.heldout.given:,} held-out texts could be measured")
        raise typer.Exit(session.UNAUDITABLE)


def _finish(request: Request, found: AttractorReport, shown: Redaction, journal: Journal) -> None:
    """Write the files first, then the report."""
    bits = request.unit is Unit.BITS
    files = session.file_redaction(request.show_text, shown)
    with written_from(journal):
        written = dict.fromkeys(
            file for output in request.outputs for file in write_attractors(output, found, files, bits)
        )
    console = session.stdout()
    legend = not request.quiet and console.is_terminal
    for part in attractors_report(found, shown, console.width, request.show_all, legend, bits):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
