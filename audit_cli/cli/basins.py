"""`uddm-audit basins`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage

DEFAULT_LEVELS = "0.05,0.1,0.25,0.5,0.75"


class SamplerName(StrEnum):
    ANCESTRAL = "ancestral"
    ATTRACTOR = "attractor"
    FINISHED = "ancestral+attractor"
    ONE_SHOT = "one-shot"
    POSTERIOR_ARGMAX = "posterior-argmax"
    ENTROPY_BOUND = "entropy-bound"


class RecipeName(StrEnum):
    BASIN_EXCESS = "basin-area+excess-surprise"
    BASIN_AREA = "basin-area"
    EXCESS = "excess-surprise"
    SURPRISE = "surprise"
    CASCADE = "cascade"


class PatternName(StrEnum):
    UNIFORM = "uniform"
    SPAN = "span"
    PREFIX = "prefix"


Levels = Annotated[
    str | None,
    options.option(options.MEASURE, "Shares of the tokens to corrupt.", metavar="LIST", show_default=DEFAULT_LEVELS),
]
PatternOption = Annotated[
    PatternName,
    options.option(
        options.MEASURE, "uniform, or unlike the training noise: span, prefix.", metavar="NAME", show_default=True
    ),
]
Restarts = Annotated[int | None, options.number(options.MEASURE, "Corruptions a level.", high=10_000, show_default="8")]
Steps = Annotated[
    int | None,
    options.number(options.MEASURE, "Reverse steps over all noise.", high=100_000, show_default="8; ancestral 16"),
]
SamplerOption = Annotated[
    SamplerName | None,
    options.option(
        options.MEASURE,
        "ancestral, attractor, one-shot, posterior-argmax.",
        metavar="NAME",
        show_default="ancestral+attractor",
    ),
]
RecipeOption = Annotated[
    RecipeName | None,
    options.option(
        options.COMPARE,
        "Decides: basin-area, excess-surprise, surprise, cascade.",
        "--recipe",
        metavar="NAME",
    ),
]
ProtocolOption = Annotated[
    options.Protocol,
    options.option(options.MEASURE, "paper: as arXiv 2604.26841 measures.", metavar="NAME"),
]


def _levels(text: str) -> tuple[float, ...]:
    try:
        levels = tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a list of numbers such as .05,.25,.5") from None
    if not all(0 < level <= 1 for level in levels):
        raise typer.BadParameter("levels are shares of the tokens, above 0 and at most 1")
    return levels


def checked_levels(
    paper: bool, levels: str | None, restarts: int | None, steps: int | None, pattern: PatternName
) -> tuple[float, ...]:
    """The levels, if these options go together."""
    if paper and (levels, restarts, steps) != (None, None, None):
        session.fail("--protocol paper has its own levels, restarts and steps: leave these options out", session.USAGE)
    if paper and pattern is not PatternName.UNIFORM:
        session.fail("--protocol paper corrupts each position independently: leave --pattern out", session.USAGE)
    return _levels(DEFAULT_LEVELS if levels is None else levels)


@session.guarded
def command(
    model: options.Model,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=options.FILES, show_default=False)],
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    heldout: options.Heldout = None,
    calibration: options.CalibrationOption = None,
    reference_model: options.ReferenceModel = None,
    twins: options.Twins = None,
    slot: options.SlotOption = None,
    fdr: options.Fdr = 0.05,
    levels: Levels = None,
    pattern: PatternOption = PatternName.UNIFORM,
    restarts: Restarts = None,
    steps: Steps = None,
    sampler: SamplerOption = None,
    recipe: RecipeOption = None,
    protocol: ProtocolOption = options.Protocol.DEFAULT,
    seed: options.Seed = 0,
    output: options.Output = None,
    per_level: Annotated[
        bool, options.option(options.OUTPUT, "With -o: a second table, a row a level.", "--per-level")
    ] = False,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    restart: options.Restart = False,
    fail_on: options.FailOnOption = None,
    exit_zero: options.ExitZero = False,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """Is [bold]this text[/bold] stored in that model? Corrupt it, run the reverse process, count what comes back.

    uddm-audit basins MODEL leaked.txt --heldout unseen.txt

    uddm-audit basins MODEL secrets.txt --twins 199 -o secrets.csv
    """
    asked = dict(locals())
    usage.check_comparison(heldout, twins, slot, reference_model, fail_on, restart, output, calibration)
    usage.check_recipe(recipe, twins, reference_model)
    usage.check_standard_input(files, heldout)
    if per_level and not output:
        session.fail("--per-level writes a second table beside -o FILE, and no -o was given", session.USAGE)
    paper = protocol is options.Protocol.PAPER
    shares = checked_levels(paper, levels, restarts, steps, pattern)
    second = "per-level" if per_level else None

    with session.loading():
        from audit_cli.cli import inputs

    read = [model, *files, *(heldout or []), *(path for path in (reference_model, calibration) if path)]
    outputs = inputs.outputs(output, second, read)
    inputs.checkpoint(model)
    given = inputs.opened(files, input_format, text_column, limit)
    held = inputs.opened(heldout, input_format, text_column) if heldout else None

    with session.loading():
        from audit_cli.audits import BasinSettings, Slot, basins_audit, report_basins
        from audit_cli.cli.running import ASKED, Request, run

    settings = BasinSettings(
        levels=shares,
        restarts=restarts or BasinSettings.restarts,
        steps=steps,
        sampler=str(sampler or ""),
        recipe=str(recipe or ""),
        protocol=str(protocol),
        seed=seed,
        fdr=fdr,
        argmax=per_level,
        batch_size=batch_size,
        pattern=str(pattern),
    )
    request = Request(
        texts=given,
        heldout=held,
        calibration=inputs.calibration(calibration),
        outputs=outputs,
        second=second,
        twins=twins or 0,
        slot=Slot(slot or "digits"),
        prefer_raw=paper,
        **{name: asked[name] for name in ASKED},
    )
    run(request, settings, basins_audit, report_basins)
