"""`uddm-audit basins`."""

from enum import StrEnum
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session

DEFAULT_LEVELS = "0.05,0.1,0.25,0.5,0.75"


class SamplerName(StrEnum):
    ANCESTRAL = "ancestral"
    ATTRACTOR = "attractor"
    ONE_SHOT = "one-shot"
    POSTERIOR_ARGMAX = "posterior-argmax"


def _levels(text: str) -> tuple[float, ...]:
    try:
        levels = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as .05,.25,.5") from None
    if not all(0 < level <= 1 for level in levels):
        raise typer.BadParameter("levels are shares of the tokens, above 0 and at most 1")
    return levels


@session.guarded
def command(
    model: options.Model,
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Texts to audit: .txt, a line each, or .jsonl.")
    ],
    heldout: options.Heldout = None,
    fdr: options.Fdr = 0.05,
    levels: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Shares of the tokens to corrupt.",
            show_default=DEFAULT_LEVELS,
            rich_help_panel=options.MEASURE,
        ),
    ] = None,
    restarts: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="Corruptions a level.", show_default="8", rich_help_panel=options.MEASURE),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            min=1, max=100_000, help="Reverse steps over all noise.", show_default="16", rich_help_panel=options.MEASURE
        ),
    ] = None,
    sampler: Annotated[
        SamplerName,
        typer.Option(
            help="ancestral: the published sampler; attractor: argmax to a fixed point; one-shot: one argmax; "
            "posterior-argmax: the paper's deterministic option.",
            rich_help_panel=options.MEASURE,
        ),
    ] = SamplerName.ANCESTRAL,
    protocol: Annotated[
        options.Protocol,
        typer.Option(
            help="paper: as arXiv 2604.26841 measures, 1 restart, 1000 steps.", rich_help_panel=options.MEASURE
        ),
    ] = options.Protocol.DEFAULT,
    seed: options.Seed = 0,
    output: options.Output = None,
    per_level: Annotated[
        bool,
        typer.Option("--per-level", help="With -o: a second table, a row a level.", rich_help_panel=options.OUTPUT),
    ] = False,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    fail_on: options.FailOnOption = None,
    exit_zero: options.ExitZero = False,
    strict: options.Strict = False,
    limit: options.Limit = None,
    weights: options.WeightsOption = None,
    device: options.Device = "cpu",
    batch_size: options.BatchSize = None,
) -> None:
    """Is [bold]this text[/bold] stored in that model? Corrupt it, run the reverse process, count what comes back.

    Example: uddm-audit basins examples/memorizing examples/candidates.txt --heldout examples/heldout.txt
    """
    if fail_on and not heldout:
        session.fail("--fail-on needs --heldout: without it there are no verdicts", session.USAGE)
    if per_level and not output:
        session.fail("--per-level writes a second table beside -o FILE, and no -o was given", session.USAGE)
    paper = protocol is options.Protocol.PAPER
    if paper and (levels, restarts, steps) != (None, None, None):
        session.fail("--protocol paper has its own levels, restarts and steps: leave these options out", session.USAGE)
    shares = _levels(DEFAULT_LEVELS if levels is None else levels)

    from audit_cli.cli.inputs import checkpoint, opened
    from audit_cli.reports.files import check_outputs

    checkpoint(model)
    check_outputs(output or [], "per-level" if per_level else None, [*(files), *(heldout or [])])
    given, held = opened(files), opened(heldout) if heldout else None

    from audit_cli.audits import BasinSettings, audit_basins
    from audit_cli.cli.running import finish, load

    settings = BasinSettings(
        levels=shares,
        restarts=restarts or BasinSettings.restarts,
        steps=steps or BasinSettings.steps,
        sampler=str(sampler),
        protocol=str(protocol),
        seed=seed,
        fdr=fdr,
        argmax=per_level,
        batch_size=batch_size,
    )
    loaded = load(model, weights or (options.Weights.RAW if paper else None), device)
    try:
        settings.probe(loaded)
    except ValueError as error:
        session.fail(str(error), session.USAGE)
    shown = session.redaction(show_text)
    with session.show_progress(quiet) as watch:
        report = audit_basins(loaded, islice(given, limit), held, settings, shown, watch)
    finish(report, shown, show_text, output or [], "per-level" if per_level else None, unit, show_all, quiet)
    raise typer.Exit(session.verdict_exit(report, fail_on, strict, exit_zero))
