"""What `generate` and `retrieve` do, loaded only when one runs."""

from collections.abc import Callable, Iterator
from typing import NoReturn

import typer
from rich.console import RenderableType

from audit_cli.audits import (
    GenerationSettings,
    RetrievalSettings,
    generation,
    generation_plan,
    retrieval,
    retrieval_plan,
)
from audit_cli.candidates import Texts
from audit_cli.cli import session
from audit_cli.cli.options import Unit
from audit_cli.cli.running import Request, model_of
from audit_cli.records import Candidate, Generation, Retrieval
from audit_cli.redaction import Redaction
from audit_cli.reports.files import WriteError, write_ranked
from audit_cli.reports.memory import generation_report, retrieval_report
from audit_cli.reports.plan import generation_plan_lines, retrieval_plan_lines
from audit_cli.reports.ranked import number

# What is taken from the command line as it is.
ASKED = (
    *("model", "weights", "tokenizer", "device", "dtype", "backend"),
    *("show_text", "unit", "show_all", "quiet", "dry_run", "no_cache"),
)


def generate(request: Request, settings: GenerationSettings) -> None:
    """Load, write, compare with `request.texts`, print."""
    model = model_of(request, request.model, request.weights)
    shown = session.redaction(request.show_text)
    try:
        settings = settings.settled(model)
    except ValueError as error:
        session.fail(str(error), session.USAGE)
    if request.dry_run:
        plan = generation_plan(model, settings)
        evaluations = plan.run_evaluations, plan.entropy_evaluations
        length = settings.length or model.denoiser.max_length
        told = (plan.seconds, plan.peak_bytes, str(model.denoiser.device), _names(request))
        _say(generation_plan_lines(settings.samples, length, evaluations, *told))
    with session.show_progress(request.quiet) as watch:
        found = generation(model, settings, request.texts, shown, watch)
    _finish(request, found, shown, lambda *how: generation_report(found, *how))


def retrieve(request: Request, settings: RetrievalSettings, asked: Texts | Candidate) -> None:
    """Load, run the cues, look for what comes back in `request.texts`, print, exit."""
    model = model_of(request, request.model, request.weights)
    shown = session.redaction(request.show_text)
    try:
        settings.probe(model)
    except ValueError as error:
        session.fail(str(error), session.USAGE)
    cues = (asked,) if isinstance(asked, Candidate) else asked
    if request.dry_run:
        plan, reasons = retrieval_plan(model, cues, settings)
        if isinstance(asked, Candidate) and reasons:
            session.fail(reasons[0], session.USAGE)
        evaluations = plan.run_evaluations, plan.entropy_evaluations
        told = (plan.seconds, plan.peak_bytes, str(model.denoiser.device), _names(request))
        _say(retrieval_plan_lines((plan.given, plan.skipped), settings.restarts, evaluations, *told))
    with session.show_progress(request.quiet) as watch:
        found = retrieval(model, cues, settings, request.texts, shown, watch)
    if isinstance(asked, Candidate) and found.cues[0].reason:
        session.fail(found.cues[0].reason, session.USAGE)
    _finish(request, found, shown, lambda *how: retrieval_report(found, *how))
    skipped = sum(bool(result.reason) for result in found.cues)
    if skipped == len(found.cues) or (request.strict and skipped):
        session.note(f"exit 3: {skipped:,} of {number(len(found.cues), 'cue')} could not be run")
        raise typer.Exit(session.UNAUDITABLE)


def _names(request: Request) -> str:
    """The file that is searched, if there is one."""
    return "" if request.texts is None else ", ".join(request.texts.names)


def _say(lines: list[str]) -> NoReturn:
    """Print a plan, and end."""
    typer.echo("\n".join(lines))
    raise typer.Exit


def _finish(
    request: Request,
    found: Generation | Retrieval,
    shown: Redaction,
    report: Callable[[Redaction, int, bool, bool, bool], Iterator[RenderableType]],
) -> None:
    """Write the files first, then the report."""
    bits = request.unit is Unit.BITS
    files = session.file_redaction(request.show_text, shown)
    try:
        written = [file for output in request.outputs for file in write_ranked(output, found, files, bits)]
    except WriteError as error:
        session.fail(str(error), session.UNAUDITABLE)
    console = session.stdout()
    legend = not request.quiet and console.is_terminal
    for part in report(shown, console.width, request.show_all, legend, bits):
        console.print(part)
    for file in dict.fromkeys(written):
        session.note(f"wrote {file}")
