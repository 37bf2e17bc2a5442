"""`uddm-audit evaluate`."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from audit_cli.cli import options, session, usage


@session.guarded
def command(
    model: options.Model,
    members: Annotated[
        list[Path],
        options.option(options.INPUT, "Texts that the model was trained on. Repeatable.", "--members", metavar="FILE"),
    ],
    heldout: Annotated[
        list[Path],
        options.option(options.INPUT, "Like texts that it has not seen. Repeatable.", "--heldout", metavar="FILE"),
    ],
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: Annotated[
        int | None, options.number(options.INPUT, "The first N of each only.", "--limit", high=2**31)
    ] = None,
    reference_model: options.ReferenceModel = None,
    restarts: Annotated[
        int, options.number(options.MEASURE, "Corruptions a level.", high=10_000, show_default=True)
    ] = 8,
    steps: Annotated[
        int | None, options.number(options.MEASURE, "Reverse steps over all noise.", high=100_000, show_default="8")
    ] = None,
    seed: options.Seed = 0,
    output: Annotated[
        list[str] | None,
        options.option(
            options.OUTPUT, "A table: .csv, .jsonl, .parquet, .md.", "--output", "-o", metavar="[KIND=]PATH"
        ),
    ] = None,
    per_text: Annotated[
        bool, options.option(options.OUTPUT, "With -o: a second table, every score of every text.", "--per-text")
    ] = False,
    roc: Annotated[
        Path | None, options.option(options.OUTPUT, "ROC curves, log-log, as SVG.", "--roc", metavar="FILE.svg")
    ] = None,
    show_text: options.Show = None,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    restart: options.Restart = False,
    dry_run: options.DryRun = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """What can an audit of this model detect? On texts it was and was not trained on: every score side by side.

    uddm-audit evaluate MODEL --members trained-on.txt --heldout unseen.txt --roc roc.svg
    """
    usage.check_standard_input(members, heldout)
    if per_text and not output:
        session.fail("--per-text writes a second table beside -o FILE, and no -o was given", session.USAGE)
    if restart and not output:
        session.fail("--restart begins anew what a stopped run left beside its -o, and no -o was given", session.USAGE)
    if len(output or ()) > 1:
        session.fail("-o: evaluate writes one table; its suffix says of which kind", session.USAGE)
    if roc is not None and find_spec("matplotlib") is None:
        session.fail("--roc needs matplotlib: pip install 'uddm-audit[report]'", session.USAGE)

    with session.loading():
        from audit_cli.cli import inputs

    read = [model, *members, *heldout, *([reference_model] if reference_model else [])]
    outputs = inputs.outputs(output, "per-text" if per_text else None, read)
    if per_text and outputs[0].format == "markdown":
        session.fail(
            "--per-text: every score of every text is no summary for people: -o .csv, .jsonl or .parquet", session.USAGE
        )
    if roc is not None:
        from audit_cli.reports.evaluation import check_picture

        check_picture(roc, read, outputs)
    inputs.checkpoint(model)
    given = inputs.opened(members, input_format, text_column, limit)
    held = inputs.opened(heldout, input_format, text_column, limit)

    with session.loading():
        from audit_cli.audits.evaluate import EvaluateSettings
        from audit_cli.cli.running import Request, evaluate

    request = Request(
        model,
        given,
        held,
        outputs,
        "per-text" if per_text else None,
        reference_model,
        weights=weights,
        tokenizer=tokenizer,
        device=device,
        dtype=dtype,
        backend=backend,
        show_text=show_text,
        quiet=quiet,
        restart=restart,
        dry_run=dry_run,
        no_cache=no_cache,
    )
    evaluate(request, EvaluateSettings(restarts=restarts, steps=steps, seed=seed, batch_size=batch_size), roc)
