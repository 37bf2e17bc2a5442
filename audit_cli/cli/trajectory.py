"""What `uddm-audit entropy --trajectory` does, loaded only when it runs."""

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any

import typer

from audit_cli.cli import inputs, session, usage
from audit_cli.cli.entropy import DEFAULT_SAMPLES, SMALLEST_TIME, Context
from audit_cli.cli.options import Protocol, Unit
from audit_cli.reports.trajectory_files import PER_POSITION, PICTURES, TRAJECTORY_FORMATS

# What is about verdicts, the texts themselves, or a run that can go on where it was stopped.
NOT_ALONG = (
    *("heldout", "calibration", "reference_model", "twins", "slot", "recipe", "fail_on", "exit_zero"),
    *("draws", "restart", "dry_run"),
)
ASKED = ("model", "weights", "tokenizer", "device", "dtype", "backend", "unit", "show_all", "quiet", "strict",
         "no_cache")  # fmt: skip


def run(asked: Mapping[str, Any]) -> None:
    """Check what was asked for, load, measure, write, print, exit."""
    files, paper = asked["files"] or [], asked["protocol"] is Protocol.PAPER
    start = _checked(asked, paper)
    usage.check_standard_input(files, None)
    second = PER_POSITION if asked["per_token"] else None
    outputs = inputs.outputs(asked["output"], second, [asked["model"], *files], TRAJECTORY_FORMATS)
    if any(output.format in PICTURES for output in outputs) and find_spec("matplotlib") is None:
        session.fail("-o: a picture needs matplotlib: pip install 'uddm-audit[report]'", session.USAGE)
    if second and not any(TRAJECTORY_FORMATS[output.format].rows for output in outputs):
        session.fail("--per-token writes a second table beside -o .csv, .jsonl or .parquet", session.USAGE)
    inputs.checkpoint(asked["model"])
    texts = inputs.opened(files, asked["input_format"], asked["text_column"], asked["limit"]) if files else None

    with session.loading():
        from audit_cli.audits.trajectory import TrajectorySettings, trajectory
        from audit_cli.cli.running import Request, model_of
        from audit_cli.reports.files import WriteError, write_trajectory
        from audit_cli.reports.trajectory import trajectory_report

    settings = TrajectorySettings(
        samples=0 if files else asked["samples"] or DEFAULT_SAMPLES,
        time=start,
        steps=asked["steps"],
        protocol=str(asked["protocol"]),
        seed=asked["seed"],
        batch_size=asked["batch_size"],
    )
    request = Request(texts=texts, outputs=outputs, prefer_raw=paper, **{name: asked[name] for name in ASKED})
    model = model_of(request, request.model, request.weights, paper)
    try:
        settings.probe(model)
    except ValueError as error:
        session.fail(str(error), session.USAGE)
    with session.show_progress(request.quiet) as watch:
        found = trajectory(model, texts, settings, watch)
    bits = request.unit is Unit.BITS
    try:
        written = write_trajectory(outputs, found, second is not None, bits)
    except WriteError as error:
        session.fail(str(error), session.UNAUDITABLE)
    console = session.stdout()
    legend = not request.quiet and console.is_terminal
    for part in trajectory_report(found, console.width, request.show_all, legend, bits):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
    if request.strict and found.skipped:
        session.note(f"exit 3: {found.skipped:,} of {found.given:,} texts could not be measured")
        raise typer.Exit(session.UNAUDITABLE)


def _checked(asked: Mapping[str, Any], paper: bool) -> float:
    """The time at which the process starts, if these options go together."""
    given = [f"--{name.replace('_', '-')}" for name in NOT_ALONG if asked[name]]
    if asked["context"] is not Context.ALL:
        given.append("--context")
    if given:
        session.fail(f"--trajectory takes no {given[0]}: leave one of both out", session.USAGE)
    if paper and asked["steps"] is not None:
        session.fail("--protocol paper has its own 1000 steps: leave --steps out", session.USAGE)
    if asked["per_token"] and not asked["output"]:
        session.fail("--per-token writes a second table beside -o FILE, and no -o was given", session.USAGE)
    time: float = asked["time"]
    if not asked["files"]:
        for name in ("input_format", "text_column", "limit", "strict"):
            if asked[name]:
                session.fail(f"--{name.replace('_', '-')} is about texts: give a FILE", session.USAGE)
        if time not in (SMALLEST_TIME, 1.0):
            told = "without FILE the process starts from pure noise, t = 1: leave --time out, or give a FILE"
            session.fail(told, session.USAGE)
        return 1.0
    if asked["samples"]:
        session.fail("--samples are texts of the model's own: leave it out, or leave FILE out", session.USAGE)
    if time == SMALLEST_TIME:
        told = "--trajectory FILE corrupts each text and goes back from there: say with --time from where, as --time .5"
        session.fail(told, session.USAGE)
    return time
