"""`uddm-audit sweep`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session
from audit_cli.cli.train import DATA, NETWORK, TRAINING, Backbone, Loss, Normalize, ScheduleName

SIZES = "16,32,64,128,256,512,all"
SWEEP = "Sweep"
# "all" among the sizes.
ALL = 0


class Preset(StrEnum):
    DEMO = "demo"


def _sizes(text: str) -> tuple[int, ...]:
    try:
        found = tuple(ALL if part.strip() == "all" else int(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no list of sizes such as {SIZES}") from None
    if any(size < 1 for size, part in zip(found, text.split(","), strict=True) if part.strip() != "all"):
        raise typer.BadParameter("a size is a number of lines, at least 1, or all")
    return tuple(sorted(set(found), key=lambda size: (size == ALL, size)))


def _checked(text: str | None) -> str | None:
    if text is not None:
        _sizes(text)
    return text


@session.guarded
def command(
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="The corpus: .txt, a line each, or .jsonl.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the models and tables.")
    ] = Path("runs"),
    sizes: Annotated[
        str | None,
        options.option(
            SWEEP, "Lines to train on, model by model.", metavar="N,N,…", show_default=SIZES, callback=_checked
        ),
    ] = None,
    preset: Annotated[
        Preset | None, options.option(SWEEP, "demo: the defaults on letters, 32 tokens.", metavar="NAME")
    ] = None,
    vary: Annotated[
        list[str] | None,
        options.option(
            SWEEP, "Once more with a change, e.g. schedule=cosine; all in one table.", "--vary", metavar="NAME=VALUE"
        ),
    ] = None,
    seeds: Annotated[int, options.number(SWEEP, "Models of each size.", high=100, show_default=True)] = 1,
    texts: Annotated[
        int,
        options.number(SWEEP, "Held-out lines, and training lines measured.", low=8, high=100_000, show_default=True),
    ] = 512,
    samples: Annotated[
        int, options.number(SWEEP, "Texts of each model's own.", low=8, high=100_000, show_default=True)
    ] = 256,
    restarts: Annotated[int, options.number(SWEEP, "Of each text and level.", high=1000, show_default=True)] = 2,
    tokenizer: Annotated[str, typer.Option(help="char, bpe:N, or a tokenizer.json.", rich_help_panel=DATA)] = "char",
    normalize: Annotated[
        Normalize | None, options.option(DATA, "none, lower, letters.", metavar="HOW", show_default="none")
    ] = None,
    length: Annotated[int, typer.Option(min=2, max=1 << 14, help="Tokens in a row.", rich_help_panel=DATA)] = 32,
    backbone: Annotated[Backbone, typer.Option(rich_help_panel=NETWORK)] = Backbone.ADDITIVE,
    width: Annotated[int, typer.Option(min=4, max=1 << 16, rich_help_panel=NETWORK)] = 96,
    layers: Annotated[int, typer.Option(min=1, max=1024, rich_help_panel=NETWORK)] = 2,
    heads: Annotated[int, typer.Option(min=1, max=1024, rich_help_panel=NETWORK)] = 4,
    schedule: Annotated[ScheduleName, typer.Option(rich_help_panel=NETWORK)] = ScheduleName.LOG_LINEAR,
    steps: Annotated[int, typer.Option(min=1, help="Of every model.", rich_help_panel=TRAINING)] = 3500,
    batch_size: Annotated[int, typer.Option(min=1, rich_help_panel=TRAINING)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0.0, rich_help_panel=TRAINING)] = 8e-3,
    loss: Annotated[Loss, typer.Option(rich_help_panel=TRAINING)] = Loss.RESAMPLED,
    seed: options.Seed = 0,
    device: options.Device = "cpu",
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """How much text does a model need to generalize? Trains one of each size, and measures what each has stored.

    uddm-audit sweep corpus.txt -o runs --preset demo
    """
    asked = dict(locals())
    with session.loading():
        from audit_cli.cli import sweeping

    sweeping.run(asked, _sizes(sizes or SIZES))
