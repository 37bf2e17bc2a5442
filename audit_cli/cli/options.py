"""Options that commands share. Standard library and Typer only."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.redaction import ShowText

INPUT, COMPARE, MEASURE = "Input", "Comparison", "Measurement"
OUTPUT, GATE, COMPUTE = "Output", "Gate", "Computation"


class Weights(StrEnum):
    RAW = "raw"
    EMA = "ema"


class Protocol(StrEnum):
    DEFAULT = "default"
    PAPER = "paper"


class Unit(StrEnum):
    NATS = "nats"
    BITS = "bits"


class FailOn(StrEnum):
    MEMORIZED = "memorized"
    FAMILIAR = "familiar"
    RECOVERABLE = "recoverable"


Model = Annotated[Path, typer.Argument(metavar="MODEL", help="Folder of a checkpoint.", show_default=False)]
Heldout = Annotated[
    list[Path] | None,
    typer.Option(
        "--heldout",
        metavar="FILE",
        help="Text that the model cannot have seen, of the same kind. Needed for verdicts. Repeatable.",
        rich_help_panel=COMPARE,
        show_default=False,
    ),
]
Fdr = Annotated[
    float,
    typer.Option(min=0.0001, max=0.5, help="Share of findings that may be false, on average.", rich_help_panel=COMPARE),
]
Seed = Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of the run's random numbers.", rich_help_panel=MEASURE)]
Twins = Annotated[
    int | None,
    typer.Option(
        "--twins",
        metavar="N",
        min=1,
        max=100_000,
        help="For secrets: compare each text with N copies of itself, its digits redrawn. 199 is enough for 10 texts.",
        rich_help_panel=COMPARE,
        show_default=False,
    ),
]
SlotOption = Annotated[
    str | None,
    typer.Option(
        "--slot",
        metavar="WHAT",
        help="What --twins redraws: digits, letters, alphanumeric, or a template such as 'card {} pin {}'.",
        rich_help_panel=COMPARE,
        show_default="digits",
    ),
]
ReferenceModel = Annotated[
    Path | None,
    typer.Option(
        "--reference-model",
        metavar="MODEL",
        help="A model that has not seen the texts: judge by how much less they surprise MODEL than it.",
        rich_help_panel=COMPARE,
        show_default=False,
    ),
]
InputFormat = Annotated[
    str | None,
    typer.Option(
        "--input-format",
        metavar="KIND",
        help="txt, jsonl, csv, tsv or parquet, where a file's name does not tell; standard input (-) is txt.",
        rich_help_panel=INPUT,
        show_default=False,
    ),
]
TextColumn = Annotated[
    str | None,
    typer.Option(
        "--text-column",
        metavar="NAME",
        help="Column of the texts in a table, or field in JSON.",
        rich_help_panel=INPUT,
        show_default="text",
    ),
]
Restart = Annotated[
    bool,
    typer.Option("--restart", help="Begin anew what a stopped run left in OUT.part.", rich_help_panel=OUTPUT),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Say how long it would take, and measure nothing.", rich_help_panel=COMPUTE),
]
Output = Annotated[
    list[str] | None,
    typer.Option(
        "--output",
        "-o",
        metavar="[FORMAT=]PATH",
        help="Write the table: .csv, .jsonl, .parquet or .md; PATH's .meta.json beside it. Repeatable.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
Show = Annotated[
    ShowText | None,
    typer.Option(
        "--show-text",
        help="How much of a text to show: by default a masked excerpt on a terminal, else a fingerprint.",
        rich_help_panel=OUTPUT,
        show_default=False,
    ),
]
ShowAll = Annotated[bool, typer.Option("--all", help="Show every row, not the first 20.", rich_help_panel=OUTPUT)]
UnitOption = Annotated[Unit, typer.Option("--unit", help="Unit of entropy and surprise.", rich_help_panel=OUTPUT)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No legend and no progress.", rich_help_panel=OUTPUT)]
Verbose = Annotated[
    int,
    typer.Option(
        "--verbose", "-v", count=True, metavar="", help="-vv shows the traceback of an error.", rich_help_panel=OUTPUT
    ),
]
FailOnOption = Annotated[
    FailOn | None,
    typer.Option(
        "--fail-on",
        help="Exit 1 on a text at or above this (memorized, familiar, recoverable); needs --heldout or --twins.",
        rich_help_panel=GATE,
        show_default=False,
    ),
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="Exit 0 instead of 1.", rich_help_panel=GATE)]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 3 if any text was skipped.", rich_help_panel=GATE)]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1, max=2**31, help="The first N texts only.", rich_help_panel=INPUT, show_default=False, metavar="N"
    ),
]
WeightsOption = Annotated[
    Weights | None,
    typer.Option(
        "--weights",
        help="Which weights, where there are both; by default EMA.",
        rich_help_panel=COMPUTE,
        show_default=False,
    ),
]
Device = Annotated[str, typer.Option(help="Where to compute: cpu, cuda, cuda:1.", rich_help_panel=COMPUTE)]
BatchSize = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Texts in a forward pass; by default by their length. Never changes which numbers are drawn.",
        rich_help_panel=COMPUTE,
        show_default=False,
    ),
]
