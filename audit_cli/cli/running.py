"""What the measuring commands do alike, loaded only when one runs."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import typer
from uddm_kernels.backend import check as check_backend

from audit_cli.audits import Comparison, Journal, Slot
from audit_cli.audits.calibrate import Calibrator
from audit_cli.audits.comparison import Texts as AnyTexts
from audit_cli.audits.evaluate import EvaluateSettings, Evaluator
from audit_cli.audits.plan import Plan, plan
from audit_cli.audits.provenance import identity
from audit_cli.audits.run import Audit
from audit_cli.audits.watch import Watch
from audit_cli.candidates import Texts
from audit_cli.checkpoints import AUTO, CheckpointError, LoadedModel, Precision, best_device, load_model
from audit_cli.checkpoints.memory import Memory
from audit_cli.cli import session
from audit_cli.cli.options import Backend, Dtype, Unit, Weights
from audit_cli.records import AuditReport
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.calibration import calibration_lines
from audit_cli.reports.evaluation import evaluation_report
from audit_cli.reports.extraction import extraction_report
from audit_cli.reports.files import Output, WriteError, write_evaluation, write_file, write_report
from audit_cli.reports.plan import plan_lines
from audit_cli.reports.terminal import basins_report, entropy_report
from audit_cli.verdicts.calibration import Calibration


@dataclass(frozen=True)
class Request:
    """What a person asked of a measuring command, besides what is measured."""

    model: Path
    texts: Texts | None
    heldout: Texts | None = None
    outputs: Sequence[Output] = ()
    second: str | None = None
    reference_model: Path | None = None
    calibration: Calibration | None = None
    twins: int = 0
    slot: Slot = field(default_factory=Slot)
    weights: Weights | None = None
    prefer_raw: bool = False
    tokenizer: Path | None = None
    device: str = "cpu"
    dtype: Dtype | None = None
    backend: Backend = Backend.AUTO
    show_text: ShowText | None = None
    unit: Unit = Unit.NATS
    show_all: bool = False
    quiet: bool = False
    restart: bool = False
    dry_run: bool = False
    fail_on: str | None = None
    exit_zero: bool = False
    strict: bool = False
    no_cache: bool = False


# What is taken from the command line as it is.
ASKED = (
    *("model", "reference_model", "weights", "tokenizer", "device", "dtype", "backend"),
    *("show_text", "unit", "show_all", "quiet", "restart", "dry_run", "fail_on", "exit_zero", "strict"),
    "no_cache",
)
RENDER = {"basins": basins_report, "entropy": entropy_report, "extract": extraction_report}
Build = Callable[[LoadedModel, AnyTexts, Comparison, Any, Watch, Journal], Audit[Any]]


def run(request: Request, settings: Any, build: Build, report: Callable[[Audit[Any], Redaction], AuditReport]) -> None:
    """Load, measure, judge, write, print, and exit with the code of what was found."""
    model = model_of(request, request.model, request.weights, request.prefer_raw)
    reference = reference_of(request, model)
    comparison = Comparison(request.heldout, request.twins, request.slot, reference, request.calibration)
    shown = session.redaction(request.show_text)
    texts: AnyTexts = () if request.texts is None else request.texts
    with journal_of(request, shown) as journal:
        with session.show_progress(request.quiet) as watch:
            try:
                audit = build(model, texts, comparison, settings, watch, journal)
            except ValueError as error:
                session.fail(str(error), session.USAGE)
            if request.dry_run:
                lines = planned([plan(audit)], model)
            else:
                journal.bind(identity(audit.task.command, audit.settings, model, comparison.plain()))
                if kept := journal.count():
                    watch.warn(f"going on: {kept:,} measurements of a stopped run are kept in {journal.path}")
                found = report(audit, shown)
        if request.dry_run:
            typer.echo("\n".join(lines))
            raise typer.Exit
        _finish(request, found, shown, journal)
    raise typer.Exit(session.verdict_exit(found, request.fail_on, request.strict, request.exit_zero))


def evaluate(request: Request, settings: EvaluateSettings, roc: Path | None) -> None:
    """Load, measure, hold all scores side by side, write and print."""
    model = model_of(request, request.model, request.weights)
    reference = reference_of(request, model)
    shown = session.redaction(request.show_text)
    output = next(iter(request.outputs), None)
    with journal_of(request, shown) as journal:
        with session.show_progress(request.quiet) as watch:
            try:
                found = Evaluator(
                    model, request.texts or (), request.heldout or (), settings, reference, watch, journal
                )
                if request.dry_run:
                    lines = planned([found.plan()], model)
                else:
                    other = None if reference is None else reference.info.weights_sha256
                    journal.bind(identity("evaluate", settings, model, {"reference_model_sha256": other}))
                    if kept := journal.count():
                        watch.warn(f"going on: {kept:,} measurements of a stopped run are kept in {journal.path}")
                    report = found.report(shown)
            except ValueError as error:
                session.fail(str(error), session.UNAUDITABLE)
        if request.dry_run:
            typer.echo("\n".join(lines))
            raise typer.Exit
        files = session.file_redaction(request.show_text, shown)
        with written_from(journal):
            written = write_evaluation(output, report, files, request.second is not None, roc)
        console = session.stdout()
        console.print(evaluation_report(report, console.width, not request.quiet and console.is_terminal))
        for file in written:
            session.note(f"wrote {file}")


def calibrate(request: Request, settings: Any, build: Build, lengths: tuple[int, int] | None) -> None:
    """Load, measure held-out text, write what later runs compare with, and say what it is."""
    model = model_of(request, request.model, request.weights, request.prefer_raw)
    path = request.outputs[0].path
    with journal_of(request, session.redaction(None)) as journal:
        begun = time.monotonic()
        with session.show_progress(request.quiet) as watch:
            try:
                audit = build(model, (), Comparison(), settings, watch, journal)
            except ValueError as error:
                session.fail(str(error), session.USAGE)
            command = f"calibrate {audit.task.command}"
            journal.bind(identity(command, audit.settings, model, audit.comparison.plain()))
            if kept := journal.count():
                watch.warn(f"going on: {kept:,} measurements of a stopped run are kept in {journal.path}")
            calibrator = Calibrator(audit, request.heldout or (), lengths)
            try:
                made = calibrator.made()
            except ValueError as error:
                session.fail(str(error), session.UNAUDITABLE)
        with written_from(journal):
            write_file(path, made.encoded())
        for line in calibration_lines(made, calibrator.recalled, time.monotonic() - begun):
            typer.echo(line)
        session.note(f"wrote {path}")


def usable_device(name: str) -> torch.device:
    """The device of that name, if there is one to compute on."""
    try:
        device = best_device() if name == AUTO else torch.device(name)
        if not bool(torch.ones(1, device=device) == 1):
            raise RuntimeError("it does not compute")
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        because = str(error).splitlines()[0].split(". ")[0][:80]
        session.fail(f"--device {name}: there is none here; cpu, cuda, cuda:1 or auto ({because})", session.USAGE)
    return device


def load(
    path: Path,
    weights: Weights | None,
    device: str,
    tokenizer: Path | None = None,
    dtype: Dtype | None = None,
    prefer_raw: bool = False,
    backend: Backend = Backend.AUTO,
    no_cache: bool = False,
    told: bool = True,
) -> LoadedModel:
    """The checkpoint, on a device that exists; `prefer_raw` takes raw weights where there are any and none is named.

    What a person should know of it is told, a line each, unless it was told before.
    """
    usable = usable_device(device)
    where: str | torch.device = AUTO if device == AUTO else usable
    kernels = None if backend is Backend.AUTO else str(backend)
    try:
        check_backend(kernels, usable)
    except ValueError as error:
        session.fail(f"--backend {backend}: {error}", session.USAGE)
    # float32 products at full precision: rounded ones would change which tokens are drawn.
    torch.backends.cuda.matmul.allow_tf32 = False
    loaded = None
    kind: Precision = "default" if dtype is None else getattr(torch, str(dtype))
    if weights is None and prefer_raw:
        with contextlib.suppress(CheckpointError):
            loaded = load_model(path, "raw", where, tokenizer, kind, kernels)
    without_raw = loaded is None and weights is None and prefer_raw
    loaded = loaded or load_model(path, None if weights is None else str(weights), where, tokenizer, kind, kernels)
    if without_raw:
        kinds = f"there are no raw weights, which the paper measured; these are {loaded.info.weights}"
        session.note(f"note: {path}: {kinds}")
    for note in loaded.notes if told else ():
        session.note(f"note: {path}: {note}")
    return replace(loaded, memory=Memory(None if no_cache else session.cache_folder()))


def model_of(request: Request, path: Path, weights: Weights | None = None, prefer_raw: bool = False) -> LoadedModel:
    """The model at a path, as the request says."""
    own = (request.tokenizer, request.dtype, prefer_raw, request.backend, request.no_cache)
    return load(path, weights, request.device, *own)


def reference_of(request: Request, model: LoadedModel) -> LoadedModel | None:
    """The reference model, if one was given and can be compared token by token."""
    path = request.reference_model
    if path is None:
        return None
    reference = model_of(request, path)
    if reference.info.tokenizer_sha256 != model.info.tokenizer_sha256:
        session.fail(f"{path}: the reference model has another tokenizer than {request.model}", session.USAGE)
    if reference.info.vocab_size != model.info.vocab_size:
        sizes = f"{reference.info.vocab_size:,} tokens, and {request.model} {model.info.vocab_size:,}"
        session.fail(f"{path}: the reference model has a vocabulary of {sizes}", session.USAGE)
    if reference.info.law != model.info.law:
        session.fail(f"{path}: the reference model predicts another law than {request.model}", session.USAGE)
    if reference.layout.max_length < model.layout.max_length:
        lengths = f"{reference.layout.max_length} tokens, and {request.model} takes {model.layout.max_length}"
        session.fail(f"{path}: the reference model takes {lengths}", session.USAGE)
    return reference


@contextmanager
def journal_of(request: Request, shown: Redaction) -> Iterator[Journal]:
    """The journal beside the first output; stopped runs keep it and say so."""
    lasting = not request.dry_run
    path = next((output.journal for output in request.outputs if lasting and not output.append), None)
    journal = Journal(path, shown.key, request.restart)
    try:
        yield journal
    except KeyboardInterrupt as stopped:
        code = session.stop_code(stopped)
        if path is None:
            session.fail("stopped; nothing was written: with -o FILE a run can go on where it was stopped", code)
        kept = journal.count()
        if journal.finished:
            session.fail("stopped; everything that was asked for is written", code)
        if not kept:
            session.fail("stopped before anything was measured; the same command starts over", code)
        session.fail(f"stopped; {kept:,} measurements are kept in {path}: give the same command again to go on", code)
    finally:
        journal.close()


def planned(plans: Sequence[Plan], model: LoadedModel) -> list[str]:
    """What all of these would take, in words."""

    def total(*names: str) -> Any:
        return tuple(sum(getattr(plan, name) for plan in plans) for name in names)

    held = [plan.heldout for plan in plans if plan.heldout is not None]
    return plan_lines(
        total("given", "distinct", "duplicates", "skipped", "windows"),
        sum(held) if held else None,
        total("text_evaluations", "heldout_evaluations", "twin_evaluations"),
        sum(plan.seconds for plan in plans),
        max(plan.peak_bytes for plan in plans),
        str(model.denoiser.device),
    )


@contextmanager
def written_from(journal: Journal, done: bool = True) -> Iterator[None]:
    """Inside, outputs are written: then the journal has done its work, if all is `done`; if that fails, it is kept and
    told of."""
    try:
        yield
    except WriteError as error:
        again = f"; the measurements are kept in {journal.path}: the same command writes it again"
        session.fail(f"{error}{again if journal.path else ''}", session.UNAUDITABLE)
    # Before anything is printed: a reader who goes away ends the program there.
    if done:
        journal.finish()


def _finish(request: Request, report: AuditReport, shown: Redaction, journal: Journal) -> None:
    """Write the files first, then the report."""
    bits = request.unit is Unit.BITS
    files = session.file_redaction(request.show_text, shown)
    with written_from(journal):
        written = dict.fromkeys(
            file for output in request.outputs for file in write_report(output, report, files, request.second, bits)
        )
    console = session.stdout()
    legend = not request.quiet and console.is_terminal
    for part in RENDER[report.run.command](report, shown, console.width, request.show_all, legend, bits):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
