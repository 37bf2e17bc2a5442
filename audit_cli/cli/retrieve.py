"""`uddm-audit retrieve`."""

from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage
from audit_cli.cli.basins import SamplerName


@session.guarded
def command(
    model: options.Model,
    cue: Annotated[
        str,
        typer.Argument(metavar="CUE", help="Text, _ for each unknown position; - is stdin.", show_default=False),
    ],
    corpus: Annotated[
        Path | None,
        options.option(options.INPUT, "Texts to look for what comes back in.", "--corpus", metavar="FILE"),
    ] = None,
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    freeze: Annotated[
        bool, options.option(options.MEASURE, "Keep the known positions as they are.", "--freeze")
    ] = False,
    level: Annotated[
        float | None,
        options.number(
            options.MEASURE,
            "Corrupt the cue up to this share.",
            low=0.0001,
            high=0.9999,
            metavar="SHARE",
            show_default="of unknown",
        ),
    ] = None,
    restarts: Annotated[int, options.number(options.MEASURE, "Runs of a cue.", high=100_000, show_default=True)] = 64,
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
    output: options.Output = None,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    dry_run: options.DryRun = False,
    strict: Annotated[bool, options.option(options.GATE, "Exit 3 if any cue was skipped.", "--strict")] = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """What does a cue bring back? The texts that the model falls into from it, the most frequent first.

    uddm-audit retrieve MODEL 'in the beginn__g god cr_ated' --corpus train.txt
    """
    asked = dict(locals())
    if freeze and level is not None:
        session.fail("--level corrupts known positions, and --freeze keeps them: leave one of both out", session.USAGE)
    if not cue.strip():
        session.fail("the cue is empty", session.USAGE)
    usage.check_standard_input([Path(cue)] if cue == "-" else [], [] if corpus is None else [corpus])

    with session.loading():
        from audit_cli.cli import inputs

    outputs = inputs.outputs(output, None, [model, *([] if corpus is None else [corpus])])
    inputs.checkpoint(model)
    searched = None if corpus is None else inputs.opened([corpus], input_format, text_column)
    cues = inputs.opened([Path("-")], "txt", None) if cue == "-" else None

    with session.loading():
        from audit_cli.audits import RetrievalSettings
        from audit_cli.cli.remembering import ASKED, retrieve
        from audit_cli.cli.running import Request
        from audit_cli.records import Candidate

    settings = RetrievalSettings(restarts, steps, str(sampler or ""), freeze, level, seed, batch_size)
    request = Request(texts=searched, outputs=outputs, strict=strict, **{name: asked[name] for name in ASKED})
    retrieve(request, settings, cues or Candidate("cue", 1, "cue:1", cue))
