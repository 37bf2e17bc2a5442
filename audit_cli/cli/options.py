"""Options that commands share. Standard library and Typer only. Every help is a line on a terminal of 100 cells."""

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from audit_cli.redaction import ShowText

INPUT, COMPARE, MEASURE = "Input", "Comparison", "Measurement"
OUTPUT, GATE, COMPUTE = "Output", "Gate", "Computation"


class Weights(StrEnum):
    RAW = "raw"
    EMA = "ema"


class Dtype(StrEnum):
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


class Backend(StrEnum):
    AUTO = "auto"
    FUSED = "fused"
    CHUNKED = "chunked"


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


def between(low: float, high: float) -> Callable[[Any], Any]:
    """A callback that refuses numbers outside the range, which need not stand in the help of every option."""

    def check(value: float | None) -> float | None:
        if value is not None and not low <= value <= high:
            whole = f"{low:,.0f} and {high:,.0f}" if high >= 1000 else f"{low:g} and {high:g}"
            raise typer.BadParameter(f"{value} is not between {whole}")
        return value

    return check


def option(panel: str, text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    """An option in a panel, without a default in its help unless `show_default` is among `more`."""
    return typer.Option(*names, help=text, rich_help_panel=panel, metavar=metavar, **{"show_default": False} | more)


def number(panel: str, text: str, *names: str, low: float = 1, high: float = 1_000_000, **more: Any) -> Any:
    """A numeric option within a range."""
    return option(panel, text, *names, callback=between(low, high), **{"metavar": "N"} | more)


Model = Annotated[
    Path, typer.Argument(metavar="MODEL", help="Folder, .ckpt file, or hub name of a checkpoint.", show_default=False)
]
FILES = "Texts: .txt, a line each, .jsonl, .csv, .parquet; - is stdin."

InputFormat = Annotated[
    str | None,
    option(INPUT, "txt, jsonl, csv, tsv, parquet; by default by suffix.", "--input-format", metavar="KIND"),
]
TextColumn = Annotated[
    str | None,
    option(INPUT, "Column of the texts, or field in JSON.", "--text-column", metavar="NAME", show_default="text"),
]
Limit = Annotated[int | None, number(INPUT, "The first N texts only.", "--limit", high=2**31)]

Heldout = Annotated[
    list[Path] | None,
    option(COMPARE, "Like text that the model cannot have seen. Repeatable.", "--heldout", metavar="FILE"),
]
CalibrationOption = Annotated[
    Path | None,
    option(COMPARE, "What calibrate made of held-out text.", "--calibration", metavar="FILE"),
]
ReferenceModel = Annotated[
    Path | None,
    option(COMPARE, "A model that has not seen the texts.", "--reference-model", metavar="MODEL"),
]
Twins = Annotated[
    int | None, number(COMPARE, "For secrets: N copies of each, its digits redrawn.", "--twins", high=100_000)
]
SlotOption = Annotated[
    str | None,
    option(COMPARE, "digits, letters, alphanumeric, or as in 'card {} pin {}'.", "--slot", metavar="WHAT"),
]
Fdr = Annotated[
    float,
    number(
        COMPARE, "Findings that may be false, on average.", low=0.0001, high=0.5, metavar="SHARE", show_default=True
    ),
]
Seed = Annotated[int, number(MEASURE, "Of the run's random numbers.", low=0, high=2**63 - 1, show_default=True)]
Output = Annotated[
    list[str] | None,
    option(OUTPUT, "A table: .csv, .jsonl, .parquet, .md. Repeatable.", "--output", "-o", metavar="[KIND=]PATH"),
]
Show = Annotated[ShowText | None, option(OUTPUT, "none, fingerprint, excerpt, full.", "--show-text", metavar="HOW")]
ShowAll = Annotated[bool, option(OUTPUT, "Show every row, not the first 20.", "--all")]
UnitOption = Annotated[Unit, option(OUTPUT, "nats or bits.", "--unit", metavar="UNIT", show_default=True)]
Quiet = Annotated[bool, option(OUTPUT, "No legend and no progress.", "--quiet", "-q")]
Verbose = Annotated[int, option(OUTPUT, "-vv: the traceback of an error.", "--verbose", "-v", metavar="", count=True)]
Restart = Annotated[bool, option(OUTPUT, "Begin a stopped run anew, not go on.", "--restart")]
FailOnOption = Annotated[
    FailOn | None,
    option(GATE, "Exit 1 on memorized; or on familiar, recoverable, too.", "--fail-on", metavar="VERDICT"),
]
ExitZero = Annotated[bool, option(GATE, "Exit 0 instead of 1.", "--exit-zero")]
Strict = Annotated[bool, option(GATE, "Exit 3 if any text was skipped.", "--strict")]
DryRun = Annotated[bool, option(COMPUTE, "Say how long it would take, and measure nothing.", "--dry-run")]
WeightsOption = Annotated[
    Weights | None,
    option(COMPUTE, "raw or ema, where there are both.", "--weights", metavar="WHICH"),
]
TokenizerOption = Annotated[
    Path | None,
    option(COMPUTE, "In place of the checkpoint's own.", "--tokenizer", metavar="PATH"),
]
DtypeOption = Annotated[
    Dtype | None,
    option(COMPUTE, "Of its matrices: float32, bfloat16, float16.", "--dtype", metavar="TYPE", show_default="float32"),
]
Device = Annotated[str, option(COMPUTE, "cpu, cuda, cuda:1, auto.", "--device", metavar="NAME", show_default=True)]
BackendOption = Annotated[
    Backend, option(COMPUTE, "Kernels: fused (on a GPU), chunked.", "--backend", metavar="NAME", show_default=True)
]
NoCache = Annotated[bool, option(COMPUTE, "Use and keep nothing of other runs.", "--no-cache")]
BatchSize = Annotated[
    int | None,
    number(COMPUTE, "Texts at once; decides no result.", "--batch-size", show_default="by length"),
]
