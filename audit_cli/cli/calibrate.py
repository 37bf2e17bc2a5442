"""`uddm-audit calibrate`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from audit_cli.cli import basins, entropy, options, session, usage


class Command(StrEnum):
    BASINS = "basins"
    ENTROPY = "entropy"


def _lengths(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", text.strip())
    if found is None:
        raise typer.BadParameter(f"{text!r} is no range of token counts such as 20-32")
    shortest, longest = int(found[1]), int(found[2] or found[1])
    if not 1 <= shortest <= longest:
        raise typer.BadParameter(f"{text!r}: a text has at least one token, and the shorter length stands first")
    return shortest, longest


@session.guarded
def command(
    model: options.Model,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="Text that the model cannot have seen.", show_default=False),
    ],
    output: Annotated[
        Path, options.option(options.OUTPUT, "The calibration, as JSON.", "--output", "-o", metavar="PATH")
    ],
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    made_for: Annotated[
        Command, options.option(options.COMPARE, "basins or entropy.", "--for", metavar="COMMAND", show_default=True)
    ] = Command.BASINS,
    lengths: Annotated[
        str | None,
        options.option(
            options.COMPARE, "Tokens of the texts to come, as 20-32.", metavar="A-B", show_default="as held-out"
        ),
    ] = None,
    recipe: basins.RecipeOption = None,
    levels: basins.Levels = None,
    pattern: basins.PatternOption = basins.PatternName.UNIFORM,
    restarts: basins.Restarts = None,
    steps: basins.Steps = None,
    sampler: basins.SamplerOption = None,
    time: entropy.Time = entropy.SMALLEST_TIME,
    draws: entropy.Draws = 0,
    context: entropy.ContextOption = entropy.Context.ALL,
    protocol: basins.ProtocolOption = options.Protocol.DEFAULT,
    seed: options.Seed = 0,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    restart: options.Restart = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """Measures held-out text once, for many audits of one model.

    uddm-audit calibrate MODEL heldout.txt -o heldout.calibration.json

    uddm-audit basins MODEL leaked.txt --calibration heldout.calibration.json
    """
    usage.check_standard_input([], files)
    of_basins = made_for is Command.BASINS
    if not of_basins and (levels, pattern, restarts, steps, sampler) != (None, basins.PatternName.UNIFORM, *[None] * 3):
        session.fail("--levels, --pattern, --restarts, --steps and --sampler are of --for basins", session.USAGE)
    if of_basins and (time, draws, context) != (entropy.SMALLEST_TIME, 0, entropy.Context.ALL):
        session.fail("--time, --draws and --context are of --for entropy", session.USAGE)
    if not of_basins and recipe and recipe not in list(entropy.RecipeName):
        session.fail(f"--recipe {recipe}: entropy has {', '.join(entropy.RecipeName)}", session.USAGE)
    paper = protocol is options.Protocol.PAPER
    shares = basins.checked_levels(paper, levels, restarts, steps, pattern)
    wanted = None if lengths is None else _lengths(lengths)

    with session.loading():
        from audit_cli.cli import inputs

    if kind := re.match(r"(csv|jsonl|parquet|md|markdown|json)=", str(output), re.IGNORECASE):
        session.fail(f"-o {kind[0]}: a calibration is JSON, of any name: give the path alone", session.USAGE)
    inputs.calibration_output(output, [model, *files])
    inputs.checkpoint(model)
    held = inputs.opened(files, input_format, text_column, limit)

    with session.loading():
        from audit_cli.audits import BasinSettings, EntropySettings, basins_audit, entropy_audit
        from audit_cli.cli.running import Request, calibrate
        from audit_cli.reports.files import Output

    request = Request(
        model,
        None,
        held,
        [Output("calibration", output)],
        weights=weights,
        prefer_raw=paper,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        backend=backend,
        quiet=quiet,
        restart=restart,
        no_cache=no_cache,
    )
    asked: dict[str, Any] = {"recipe": str(recipe or ""), "protocol": str(protocol), "seed": seed}
    asked["batch_size"] = batch_size
    if of_basins:
        settings = BasinSettings(
            levels=shares,
            restarts=restarts or BasinSettings.restarts,
            steps=steps,
            sampler=str(sampler or ""),
            pattern=str(pattern),
            **asked,
        )
        calibrate(request, settings, basins_audit, wanted)
    else:
        looked = draws or int(paper or time > entropy.SMALLEST_TIME)
        calibrate(request, EntropySettings(t=time, draws=looked, context=str(context), **asked), entropy_audit, wanted)
