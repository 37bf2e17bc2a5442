"""`uddm-audit convert`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session
from audit_cli.safetext import for_terminal


@session.guarded
def command(
    model: options.Model,
    output: Annotated[
        Path,
        typer.Option("--output", "-o", metavar="DIR", help="Folder of the new checkpoint.", show_default=False),
    ],
    weights: Annotated[
        options.Weights | None,
        options.option(options.INPUT, "raw or ema alone, not both.", "--weights", metavar="WHICH"),
    ] = None,
    tokenizer: Annotated[
        Path | None,
        options.option(options.INPUT, "In place of the checkpoint's own.", "--tokenizer", metavar="PATH"),
    ] = None,
    overwrite: Annotated[bool, options.option(options.OUTPUT, "Replace a checkpoint in DIR.", "--overwrite")] = False,
    quiet: Annotated[bool, options.option(options.OUTPUT, "Say nothing but errors.", "--quiet", "-q")] = False,
    verbose: options.Verbose = 0,
) -> None:
    """Write a checkpoint of any family but DiffusionGemma as a folder of config.json, safetensors and tokenizer.json.

    Nothing in it can run code, and an audit of it measures the same.
    Example: uddm-audit convert last.ckpt -o my-model
    """
    with session.loading():
        from audit_cli.cli.inputs import checkpoint

    checkpoint(model)

    with session.loading():
        from audit_cli.checkpoints.convert import NotWritten, convert

    try:
        done = convert(model, output, tokenizer, None if weights is None else str(weights), overwrite)
    except NotWritten as error:
        session.fail(str(error), session.UNAUDITABLE)
    if quiet:
        return
    for note in done.notes:
        session.note(f"{model}: {note}")
    typer.echo(for_terminal(f"wrote {output}, {done.info.family} with the {done.info.backbone} backbone"))
    for file in sorted(output.iterdir()):
        typer.echo(f"  {for_terminal(file.name):18} {file.stat().st_size:>16,} bytes")
    typer.echo(f"parameters  {done.info.parameters:,}")
    default = f" and {done.sets[1]}; by default {done.info.weights}" if len(done.sets) > 1 else ""
    typer.echo(f"weights     {done.sets[0]}{default}, sha256 {done.info.weights_sha256}")
    if done.info.tokenizer_sha256 is None:
        session.note("no tokenizer: audits take input_ids; with --tokenizer here the folder would have one for texts")
    session.note(f"next: uddm-audit inspect {shlex.quote(str(output))}")
