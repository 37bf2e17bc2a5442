"""`uddm-audit train`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session

NETWORK, DATA, TRAINING = "Network", "Text", "Training"


class Rows(StrEnum):
    CUT = "cut"
    PAD = "pad"
    PACK = "pack"


class Normalize(StrEnum):
    NONE = "none"
    LOWER = "lower"
    LETTERS = "letters"


class Backbone(StrEnum):
    ADDITIVE = "additive"
    TIMELESS = "timeless"
    DIT = "dit"


class ScheduleName(StrEnum):
    LOG_LINEAR = "log-linear"
    LINEAR = "linear"
    COSINE = "cosine"
    GEOMETRIC = "geometric"


class Loss(StrEnum):
    RESAMPLED = "resampled"
    ELBO = "elbo"


@session.guarded
def command(
    text: Annotated[Path, typer.Argument(metavar="TEXT", help="Training text: .txt, a line each, or .jsonl.")],
    output: Annotated[
        Path,
        typer.Option(
            "--output",
            "-o",
            metavar="DIR",
            help="Folder of the checkpoint. Beside it DIR.manifest.jsonl tells which texts it was trained on, as keyed "
            "fingerprints: those that audits give.",
            show_default=False,
        ),
    ],
    tokenizer: Annotated[
        str, typer.Option(help="char, bpe:N, or the path of a tokenizer.json.", rich_help_panel=DATA)
    ] = "char",
    normalize: Annotated[
        Normalize,
        typer.Option(help="letters: lower case, no accents, punctuation as spaces.", rich_help_panel=DATA),
    ] = Normalize.NONE,
    length: Annotated[int, typer.Option(min=1, max=1 << 17, help="Tokens in a row.", rich_help_panel=DATA)] = 32,
    rows: Annotated[
        Rows,
        typer.Option(
            help="cut: a line a row, its end lost; pad: the same, filled up; pack: lines joined.", rich_help_panel=DATA
        ),
    ] = Rows.CUT,
    skip: Annotated[int, typer.Option(min=0, help="Leave out the first N lines.", rich_help_panel=DATA)] = 0,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Train on N lines only.", rich_help_panel=DATA, show_default=False),
    ] = None,
    backbone: Annotated[
        Backbone, typer.Option(help="additive learns fastest when tiny; dit is DUO's.", rich_help_panel=NETWORK)
    ] = Backbone.ADDITIVE,
    width: Annotated[int, typer.Option(min=4, max=1 << 16, help="Of the hidden states.", rich_help_panel=NETWORK)] = 96,
    layers: Annotated[int, typer.Option(min=1, max=1024, help="Transformer blocks.", rich_help_panel=NETWORK)] = 2,
    heads: Annotated[int, typer.Option(min=1, max=1024, help="Of attention.", rich_help_panel=NETWORK)] = 4,
    schedule: Annotated[ScheduleName, typer.Option(rich_help_panel=NETWORK)] = ScheduleName.LOG_LINEAR,
    steps: Annotated[int, typer.Option(min=1, help="Updates of the weights.", rich_help_panel=TRAINING)] = 3500,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows in a step.", rich_help_panel=TRAINING)] = 16,
    learning_rate: Annotated[float, typer.Option(min=0.0, rich_help_panel=TRAINING)] = 5e-3,
    clip: Annotated[float, typer.Option(min=0.0, help="Largest gradient norm.", rich_help_panel=TRAINING)] = 1.0,
    loss: Annotated[
        Loss,
        typer.Option(help="Cross-entropy at the resampled positions, or the ELBO.", rich_help_panel=TRAINING),
    ] = Loss.RESAMPLED,
    ema: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=0.999999,
            help="Keep a moving average of the weights.",
            rich_help_panel=TRAINING,
            show_default=False,
            metavar="DECAY",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, rich_help_panel=TRAINING)] = 0,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between saved states.", rich_help_panel=TRAINING)] = 500,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where a run ended.", rich_help_panel=TRAINING)
    ] = False,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a checkpoint in DIR.", rich_help_panel=TRAINING)
    ] = False,
    no_manifest: Annotated[
        bool, typer.Option("--no-manifest", help="Write no DIR.manifest.jsonl.", rich_help_panel=DATA)
    ] = False,
    device: options.Device = "cpu",
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
) -> None:
    """Train a uniform-state diffusion language model on text.

    Example: uddm-audit train examples/train.txt -o my-model --normalize letters --limit 16
    """
    with session.loading():
        from audit_cli.cli.training import TrainingOrder, run

    order = TrainingOrder(
        text=text,
        folder=output,
        tokenizer=tokenizer,
        normalize=str(normalize),
        length=length,
        rows=str(rows),
        skip=skip,
        limit=limit,
        backbone=str(backbone),
        width=width,
        layers=layers,
        heads=heads,
        schedule=str(schedule),
        steps=steps,
        batch_size=batch_size,
        learning_rate=learning_rate,
        clip=clip,
        loss=str(loss),
        ema=ema,
        seed=seed,
        save_every=save_every,
        resume=resume,
        overwrite=overwrite,
        manifest=not no_manifest,
        device=device,
        quiet=quiet,
    )
    run(order)
