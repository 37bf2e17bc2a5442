"""`uddm-audit track`."""

from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage

WATCH = "Watching a training"


class FailOnGap(StrEnum):
    SIGNIFICANT = "significant"


@session.guarded
def command(
    checkpoints: Annotated[
        list[Path] | None,
        typer.Argument(metavar="CKPT", help="Checkpoints of one training, in their order.", show_default=False),
    ] = None,
    text: Annotated[
        list[Path] | None,
        options.option(options.INPUT, "Texts that may have been learned. Repeatable.", "--text", metavar="FILE"),
    ] = None,
    heldout: options.Heldout = None,
    reference_model: options.ReferenceModel = None,
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    alpha: Annotated[
        float,
        options.number(
            options.COMPARE,
            "Chance of a false finding, over all looks.",
            low=0.0001,
            high=0.5,
            metavar="SHARE",
            show_default=True,
        ),
    ] = 0.05,
    watch: Annotated[
        Path | None, options.option(WATCH, "Look at checkpoints as they appear in it.", "--watch", metavar="FOLDER")
    ] = None,
    every: Annotated[
        float,
        options.number(
            WATCH, "Seconds between two glances at it.", low=0.1, high=86_400, metavar="SECONDS", show_default="2"
        ),
    ] = 2.0,
    until: Annotated[int | None, options.number(WATCH, "End after N checkpoints.", "--until")] = None,
    idle: Annotated[
        float | None,
        options.number(WATCH, "End where none has come for so long.", low=0.01, high=1e6, metavar="MINUTES"),
    ] = None,
    samples: Annotated[
        int, options.number(options.MEASURE, "Texts of each model's own.", low=8, high=100_000, show_default=True)
    ] = 64,
    texts: Annotated[
        int, options.number(options.MEASURE, "At most so many texts of each kind.", high=100_000, show_default=True)
    ] = 512,
    restarts: Annotated[int, options.number(options.MEASURE, "Of each text.", high=1000, show_default=True)] = 4,
    seed: options.Seed = 0,
    output: options.Output = None,
    figure: Annotated[
        Path | None, options.option(options.OUTPUT, "A picture: .svg or .png.", "--figure", metavar="PATH")
    ] = None,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    fail_on: Annotated[
        FailOnGap | None,
        options.option(options.GATE, "significant: exit 1 where a gap is.", "--fail-on", metavar="WHAT"),
    ] = None,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """When does a training begin to memorize a text? A row a checkpoint, and the first that knows it too well.

    uddm-audit track runs/step-1000 runs/step-2000 --text mine.txt --heldout other.txt
    """
    asked = dict(locals())
    paths = checkpoints or []
    if bool(paths) == (watch is not None):
        session.fail("give checkpoints, or --watch FOLDER in which they appear", session.USAGE)
    if watch is None and (until is not None or idle is not None):
        session.fail("--until and --idle end a --watch, and no --watch was given", session.USAGE)
    if not text or not heldout:
        session.fail("--text and --heldout: texts that may have been learned, and like texts that cannot have been", 2)
    usage.check_standard_input(text, heldout)
    if figure is not None and find_spec("matplotlib") is None:
        session.fail("--figure needs matplotlib: pip install 'uddm-audit[report]'", session.USAGE)

    with session.loading():
        from audit_cli.cli import inputs

    read = [*paths, *text, *heldout, *([reference_model] if reference_model else [])]
    outputs = inputs.outputs(output, None, read)
    if figure is not None:
        from audit_cli.reports.track_files import check_figure

        check_figure(figure, read, outputs)
    for path in (*paths, *([reference_model] if reference_model else [])):
        inputs.checkpoint(path)
    if watch is not None and not (watch.is_dir() or (watch.parent.is_dir() and not watch.exists())):
        session.fail(f"--watch {watch}: no such folder", session.USAGE)
    given = inputs.opened(text, input_format, text_column)
    held = inputs.opened(heldout, input_format, text_column)

    with session.loading():
        from audit_cli.audits.track import TrackSettings
        from audit_cli.cli.running import Request
        from audit_cli.cli.tracking import ASKED, TrackOrder, run

    of = {name: asked[name] for name in ASKED}
    request = Request(paths[0] if watch is None else watch, given, held, outputs, None, **of)
    looks = len(paths) if paths else None
    settings = TrackSettings(samples, texts, restarts, alpha, looks, seed, batch_size)
    run(TrackOrder(request, paths, watch, every, until, idle, figure), settings)
