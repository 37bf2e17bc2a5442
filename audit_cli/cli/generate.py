"""`uddm-audit generate`."""

from pathlib import Path
from typing import Annotated

from audit_cli.cli import options, session, usage
from audit_cli.cli.basins import SamplerName


@session.guarded
def command(
    model: options.Model,
    samples: Annotated[
        int, options.number(options.MEASURE, "Texts to generate.", "--samples", "-n", high=100_000, show_default=True)
    ] = 20,
    nearest: Annotated[
        Path | None,
        options.option(options.INPUT, "Texts to look for copies of.", "--nearest", metavar="FILE"),
    ] = None,
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    steps: Annotated[
        int | None, options.number(options.MEASURE, "Reverse steps over all noise.", high=100_000, show_default="32")
    ] = None,
    sampler: Annotated[
        SamplerName | None,
        options.option(
            options.MEASURE,
            "ancestral, ancestral+attractor, attractor, …",
            metavar="NAME",
            show_default="the family's",
        ),
    ] = None,
    length: Annotated[
        int | None, options.number(options.MEASURE, "Tokens of a row.", high=2**31, show_default="the longest")
    ] = None,
    seed: options.Seed = 0,
    output: options.Output = None,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    dry_run: options.DryRun = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """What does the model write by itself? How often each text came, and whether it is a copy of a text of a file.

    uddm-audit generate MODEL -n 256 --nearest train.txt
    """
    asked = dict(locals())
    usage.check_standard_input([] if nearest is None else [nearest], None)

    with session.loading():
        from audit_cli.cli import inputs

    outputs = inputs.outputs(output, None, [model, *([] if nearest is None else [nearest])])
    inputs.checkpoint(model)
    corpus = None if nearest is None else inputs.opened([nearest], input_format, text_column)

    with session.loading():
        from audit_cli.audits import GenerationSettings
        from audit_cli.cli.remembering import ASKED, generate
        from audit_cli.cli.running import Request

    settings = GenerationSettings(samples, steps, str(sampler or ""), length, seed, batch_size)
    generate(Request(texts=corpus, outputs=outputs, **{name: asked[name] for name in ASKED}), settings)
