"""What `uddm-audit track` does, loaded only when it runs."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import typer

from audit_cli.audits.arrivals import Arrivals, natural
from audit_cli.audits.track import Track, TrackSettings, check_same
from audit_cli.audits.track_texts import TrackError
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints import CheckpointError, LoadedModel
from audit_cli.cli import session
from audit_cli.cli.options import Unit
from audit_cli.cli.running import Request, load, reference_of
from audit_cli.records import ModelInfo, TrackReport
from audit_cli.reports.files import WriteError, write_track
from audit_cli.reports.track import told, track_report
from audit_cli.training import saved_step
from audit_cli.verdicts.gate import FAILED

# What is taken from the command line as it is.
ASKED = (
    *("reference_model", "weights", "tokenizer", "device", "dtype", "backend"),
    *("unit", "quiet", "fail_on", "no_cache"),
)


@dataclass(frozen=True)
class TrackOrder:
    """The checkpoints that were given, or the folder that is watched, and when that ends; `idle` in minutes."""

    request: Request
    checkpoints: Sequence[Path]
    watched: Path | None = None
    every: float = 2.0
    until: int | None = None
    idle: float | None = None
    figure: Path | None = None


@dataclass
class _Run:
    """A run under way: the checkpoints that cannot be loaded, by their names, with the reasons."""

    order: TrackOrder
    track: Track
    watch: Watch
    refused: dict[str, str] = field(default_factory=dict)
    written: list[Path] = field(default_factory=list)

    def look(self, model: LoadedModel, name: str) -> None:
        """Look at it, write what there is by now, and say so."""
        try:
            row = self.track.look(model, name)
        except MemoryError as error:
            self.missed(name, str(error) or "out of memory")
            return
        # What cannot be written now is tried again at the end, and the looks go on.
        with suppress(WriteError):
            self.write(None)
        if not self.order.request.quiet:
            session.note(told(row))

    def missed(self, name: str, reason: str) -> None:
        """Note that there is nothing of it."""
        row = self.track.missed(name, reason)
        if not self.order.request.quiet:
            session.note(told(row))

    def write(self, figure: Path | None) -> None:
        """Write all outputs with the rows so far."""
        request = self.order.request
        if request.outputs or figure is not None:
            found = self.track.report()
            self.written = write_track(request.outputs, figure, found, request.unit is Unit.BITS)


def run(order: TrackOrder, settings: TrackSettings) -> None:
    """Look at the checkpoints, report, and exit with the code of what was found."""
    request = order.request
    stopped = None
    with session.show_progress(request.quiet) as watch:
        reference = None if request.reference_model is None else (lambda model: reference_of(request, model))
        track = Track(request.texts or (), request.heldout or (), settings, reference, watch)
        running = _Run(order, track, watch)
        try:
            _given(running) if order.watched is None else _watched(running, order.watched)
        except TrackError as error:
            session.fail(str(error), session.UNAUDITABLE)
        except KeyboardInterrupt as asked:
            stopped = asked
        for name, reason in running.refused.items():
            track.missed(name, reason)
    code = 0 if stopped is None else session.stop_code(stopped)
    _finish(running, code)


def _given(running: _Run) -> None:
    """The checkpoints of a list. All are loaded once before the first is looked at: what does not belong together is
    found before the time is spent."""
    order = running.order
    names = [str(path) for path in order.checkpoints]
    _check_names(order.checkpoints)
    first: tuple[ModelInfo, str] | None = None
    failed: CheckpointError | None = None
    weights: dict[str, str] = {}
    running.watch.stage("checkpoints", len(names))
    for name in names:
        try:
            info = _loaded(order.request, Path(name), told=True).info
        except CheckpointError as error:
            running.refused[name] = str(error)
            failed = failed or error
        else:
            first = first or (info, name)
            if (before := weights.setdefault(info.weights_sha256, name)) != name:
                session.fail(f"{before} and {name} have the same weights: leave one of them out", session.USAGE)
            try:
                check_same(*first, info, name)
            except TrackError as error:
                session.fail(str(error), session.USAGE)
        running.watch.advance(1)
    if first is None and failed is not None:
        raise failed
    for name in names:
        if reason := running.refused.pop(name, ""):
            running.missed(name, reason)
            continue
        try:
            model = _loaded(order.request, Path(name))
        except CheckpointError as error:
            running.missed(name, str(error))
        else:
            running.look(model, name)
            # The next one needs its memory.
            del model


def _watched(running: _Run, folder: Path) -> None:
    """The checkpoints of a folder, as they appear. One that cannot be loaded is tried again when it has changed."""
    order = running.order
    if not order.request.quiet:
        there = "" if folder.exists() else ", which is not there yet"
        session.note(f"watching {folder}{there}: Ctrl-C ends it, and reports")
    arrivals = Arrivals(folder, order.every)
    times: dict[Path, int] = {}
    last = time.monotonic()
    while True:
        for path in arrivals.poll():
            number, step = times.get(path, 0) + 1, saved_step(path)
            # A training of our own saves into one folder again and again.
            more = f" (step {step})" if step is not None else f" ({number})" if number > 1 else ""
            name = f"{path}{more}"
            if _arrived(running, arrivals, path, name):
                times[path], last = number, time.monotonic()
            if order.until is not None and running.track.looks >= order.until:
                return
        running.watch.stage("waiting", 0)
        if order.idle is not None and time.monotonic() - last >= 60 * order.idle:
            return
        time.sleep(order.every)


def _arrived(running: _Run, arrivals: Arrivals, path: Path, name: str) -> bool:
    """Whether what has come is a new checkpoint; then there is a row of it."""
    track, quiet = running.track, running.order.request.quiet
    try:
        model = _loaded(running.order.request, path)
    except CheckpointError as error:
        # Of one that was being replaced while it was read the next poll tells.
        if arrivals.unchanged(path):
            running.refused[name] = str(error)
            if not quiet:
                session.note(f"{name}: {error}; tried again when it changes")
        return False
    if not arrivals.unchanged(path):
        return False
    running.refused.pop(name, None)
    if same := track.seen(model):
        if not quiet:
            session.note(f"{name}: the weights of {same.name}: no new look")
        return False
    try:
        track.check(model, name)
    except TrackError as error:
        running.missed(name, str(error))
    else:
        running.look(model, name)
    return True


def _loaded(request: Request, path: Path, told: bool = False) -> LoadedModel:
    own = (request.weights, request.device, request.tokenizer, request.dtype, False, request.backend, request.no_cache)
    return load(path, *own, told=told)


def _check_names(paths: Sequence[Path]) -> None:
    """End with a message on a checkpoint that is given twice; say so where numbers stand in another order."""
    twice = next((path for i, path in enumerate(paths) if path in paths[:i]), None)
    if twice is not None:
        session.fail(f"{twice}: is given twice", session.USAGE)
    names = [path.name for path in paths]
    alike = len({re.sub(r"\d+", "#", name) for name in names}) == 1
    if alike and sorted(names, key=natural) != names:
        session.note("note: taken in the order given, which is not that of the numbers in their names")


def _finish(running: _Run, code: int) -> None:
    """Write the files first, then the report; exit."""
    request, figure = running.order.request, running.order.figure
    try:
        found = running.track.report()
    except TrackError as error:
        rest = next(iter(running.refused.values()), "")
        session.fail(f"{error}{': ' if rest else ''}{rest}", code or session.UNAUDITABLE)
    try:
        running.write(figure)
    except WriteError as error:
        session.note(f"uddm-audit: {error}")
        code = code or session.UNAUDITABLE
    console = session.stdout()
    legend = not request.quiet and console.is_terminal
    for part in track_report(found, console.width, legend, request.unit is Unit.BITS):
        console.print(part)
    for file in running.written:
        session.note(f"wrote {file}")
    for message, of in _codes(request, found):
        code = code or of
        session.note(message)
        break
    raise typer.Exit(code)


def _codes(request: Request, found: TrackReport) -> Iterator[tuple[str, int]]:
    """Why a run ends otherwise than with 0, the first that applies first."""
    if request.fail_on and found.first is not None:
        yield "exit 1: the text is better known than held-out text (--fail-on)", FAILED
    if skipped := len(found.rows) - len(found.measured):
        yield f"exit 3: {skipped:,} of {len(found.rows):,} checkpoints could not be measured", session.UNAUDITABLE
    if any(row.untested for row in found.measured):
        yield "exit 4: a checkpoint could not be tested", session.INCONCLUSIVE
