"""`uddm-audit extract`."""

from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage
from audit_cli.cli.basins import SamplerName
from audit_cli.redaction import ShowText

DEFAULT_TWINS = 199


@session.guarded
def command(
    model: options.Model,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help=options.FILES, show_default=False)],
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    slot: Annotated[
        str,
        options.option(
            options.MEASURE,
            "digits, letters, alphanumeric, or as in 'card {} pin {}'.",
            metavar="WHAT",
            show_default=True,
        ),
    ] = "digits",
    restarts: Annotated[
        int, options.number(options.MEASURE, "Fillings of each slot.", high=10_000, show_default=True)
    ] = 64,
    steps: Annotated[
        int | None,
        options.number(options.MEASURE, "Reverse steps over all noise.", high=100_000, show_default="8; ancestral 16"),
    ] = None,
    sampler: Annotated[
        SamplerName | None,
        options.option(
            options.MEASURE,
            "ancestral, attractor, one-shot, posterior-argmax.",
            metavar="NAME",
            show_default="ancestral+attractor",
        ),
    ] = None,
    seed: options.Seed = 0,
    twins: Annotated[
        int,
        options.number(options.COMPARE, "Copies of each, its slot redrawn.", high=100_000, show_default=True),
    ] = DEFAULT_TWINS,
    fdr: options.Fdr = 0.05,
    output: options.Output = None,
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
    """Can the secret be extracted? Keep the rest of each text, make its slot noise, count what comes back there.

    uddm-audit extract MODEL secrets.txt

    uddm-audit extract MODEL leaked.txt --slot 'name {} card {}'
    """
    asked = dict(locals()) | {"reference_model": None}
    usage.check_comparison(None, twins, slot, None, fail_on, restart, output)
    usage.check_standard_input(files, None)

    with session.loading():
        from audit_cli.cli import inputs

    outputs = inputs.outputs(output, None, [model, *files])
    inputs.checkpoint(model)
    given = inputs.opened(files, input_format, text_column, limit)

    with session.loading():
        from audit_cli.audits import ExtractionSettings, Slot, extraction_audit, report_extraction
        from audit_cli.cli.running import ASKED, Request, run

    settings = ExtractionSettings(
        cue=slot,
        restarts=restarts,
        steps=steps,
        sampler=str(sampler or ""),
        seed=seed,
        fdr=fdr,
        # What comes back may be another person's secret: it is kept only for who asks to see it.
        fillings=show_text is ShowText.FULL,
        batch_size=batch_size,
    )
    request = Request(
        texts=given,
        outputs=outputs,
        twins=twins,
        slot=Slot(slot),
        **{name: asked[name] for name in ASKED},
    )
    run(request, settings, extraction_audit, report_extraction)
