"""The Typer application and its commands."""

from typing import Annotated

import typer

from audit_cli import __version__
from audit_cli.cli import (
    attractors,
    baseline,
    basins,
    calibrate,
    check,
    convert,
    entropy,
    evaluate,
    extract,
    generate,
    inspect,
    retrieve,
    sweep,
    track,
    train,
)

app = typer.Typer(
    help="Audit uniform-state diffusion language models for memorization.",
    epilog="Exit codes: 0 done, 1 a finding at or above --fail-on, 2 usage or no checkpoint, 3 not auditable, "
    "4 inconclusive, 130 and 143 stopped.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"uddm-audit {__version__}")
        raise typer.Exit()


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


app.command("entropy")(entropy.command)
app.command("basins")(basins.command)
app.command("check")(check.command)
app.add_typer(baseline.app, name="baseline")
app.command("calibrate")(calibrate.command)
app.command("extract")(extract.command)
app.command("generate")(generate.command)
app.command("retrieve")(retrieve.command)
app.command("attractors")(attractors.command)
app.command("evaluate")(evaluate.command)
app.command("inspect")(inspect.command)
app.command("convert")(convert.command)
app.command("sweep")(sweep.command)
app.command("track")(track.command)
app.command("train")(train.command)
