"""`uddm-audit attractors`."""

from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage


@session.guarded
def command(
    model: options.Model,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=options.FILES, show_default=False)],
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    heldout: Annotated[
        list[Path] | None,
        options.option(options.COMPARE, "Measured beside them. Repeatable.", "--heldout", metavar="FILE"),
    ] = None,
    restarts: Annotated[
        int, options.number(options.MEASURE, "Draws of so many flips.", high=1_000, show_default=True)
    ] = 16,
    seed: options.Seed = 0,
    output: options.Output = None,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    restart: options.Restart = False,
    strict: options.Strict = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """Is each text an attractor of the model, and how deep does it lie? Energy, margins, flips survived.

    uddm-audit attractors MODEL texts.txt --heldout unseen.txt
    """
    asked = dict(locals())
    usage.check_standard_input(files, heldout)
    if restart and not output:
        session.fail("--restart begins anew what a stopped run left beside its -o, and no -o was given", session.USAGE)

    with session.loading():
        from audit_cli.cli import inputs

    outputs = inputs.outputs(output, None, [model, *files, *(heldout or [])])
    inputs.checkpoint(model)
    given = inputs.opened(files, input_format, text_column, limit)
    held = inputs.opened(heldout, input_format, text_column) if heldout else None

    with session.loading():
        from audit_cli.audits import AttractorSettings
        from audit_cli.cli.attracting import ASKED, attract
        from audit_cli.cli.running import Request

    settings = AttractorSettings(restarts, seed, batch_size)
    request = Request(texts=given, heldout=held, outputs=outputs, **{name: asked[name] for name in ASKED})
    attract(request, settings)
