"""`uddm-audit check`."""

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage

POLICY = "Policy"
PYPROJECT = Path("pyproject.toml")


class Probe(StrEnum):
    BASINS = "basins"
    ENTROPY = "entropy"


def _seconds(text: str | None) -> str | None:
    """A callback that refuses what is no time."""
    if text is not None and not seconds_of(text):
        raise typer.BadParameter(f"{text!r} is no time such as 90s, 10m or 1h30m")
    return text


def seconds_of(text: str) -> int:
    """90s, 10m, 1h30m, or a bare number of seconds; 0 for what is none of these."""
    found = re.fullmatch(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,9})s?)?", text.strip())
    hours, minutes, seconds = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    return 3600 * hours + 60 * minutes + seconds


@session.guarded
def command(
    model: Annotated[
        Path | None,
        typer.Argument(metavar="MODEL", help="Folder, .ckpt file, or hub name of a checkpoint.", show_default=False),
    ] = None,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help=options.FILES, show_default=False)
    ] = None,
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    policy: Annotated[
        Path | None,
        options.option(POLICY, "TOML; or a pyproject with tool.uddm-audit.", "--policy", metavar="FILE"),
    ] = None,
    show_policy: Annotated[bool, options.option(POLICY, "Print what is in force, and end.", "--show-policy")] = False,
    allow_outside: Annotated[
        bool, options.option(POLICY, "Let the policy's paths leave its folder.", "--allow-outside")
    ] = False,
    heldout: options.Heldout = None,
    calibration: options.CalibrationOption = None,
    reference_model: options.ReferenceModel = None,
    twins: options.Twins = None,
    slot: options.SlotOption = None,
    fdr: Annotated[
        float | None,
        options.number(
            options.COMPARE,
            "Findings that may be false, on average.",
            low=0.0001,
            high=0.5,
            metavar="SHARE",
            show_default="0.01",
        ),
    ] = None,
    min_references: Annotated[
        int | None,
        options.number(
            options.COMPARE, "With fewer nothing passes.", "--min-references", low=0, show_default="1/fdr - 1"
        ),
    ] = None,
    probe: Annotated[
        Probe | None,
        options.option(
            options.MEASURE,
            "basins; entropy is quicker, and names none memorized.",
            metavar="NAME",
            show_default="basins",
        ),
    ] = None,
    recipe: Annotated[
        str | None, options.option(options.MEASURE, "The deciding score, as of that command.", metavar="NAME")
    ] = None,
    restarts: Annotated[int | None, options.number(options.MEASURE, "Of each text and level.", high=100_000)] = None,
    steps: Annotated[int | None, options.number(options.MEASURE, "Of the reverse process.", high=1_000_000)] = None,
    seed: Annotated[
        int | None,
        options.number(options.MEASURE, "Of the run's random numbers.", low=0, high=2**63 - 1, show_default="0"),
    ] = None,
    fail_on: Annotated[
        options.FailOn | None,
        options.option(
            options.GATE,
            "Exit 1 on memorized; or on familiar, recoverable, too.",
            "--fail-on",
            metavar="VERDICT",
            show_default="memorized",
        ),
    ] = None,
    max_skipped: Annotated[
        int | None,
        options.number(options.GATE, "Texts that may be skipped.", "--max-skipped", low=0, show_default="0"),
    ] = None,
    strict: options.Strict = False,
    baseline: Annotated[
        Path | None, options.option(options.GATE, "Findings that are accepted.", "--baseline", metavar="FILE")
    ] = None,
    exit_zero: options.ExitZero = False,
    time_limit: Annotated[
        str | None,
        options.option(
            options.GATE,
            "Stop by then, with exit 3: 90s, 10m, 1h30m.",
            "--time-limit",
            metavar="TIME",
            callback=_seconds,
        ),
    ] = None,
    output: Annotated[
        list[str] | None,
        options.option(
            options.OUTPUT,
            ".json .sarif .xml .md .csv .jsonl .parquet. Repeatable.",
            "--output",
            "-o",
            metavar="[KIND=]PATH",
        ),
    ] = None,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
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
    """May this model ship? Judge sets of texts together, and end with a code that a build server understands.

    uddm-audit check MODEL leaked.txt --heldout unseen.txt

    uddm-audit check MODEL --policy audit.toml -o sarif=audit.sarif -o junit=audit.xml
    """
    asked = dict(locals())
    # The sets of a policy have comparisons of their own.
    beside = reference_model if files or policy is None else None
    usage.check_comparison(heldout, twins, slot, beside, None, restart, output, calibration)
    usage.check_recipe(recipe, twins, reference_model)
    usage.check_standard_input(files or [], heldout)
    if policy is None and not files and PYPROJECT.is_file():
        from audit_cli.verdicts.policy import has_policy

        policy = PYPROJECT if has_policy(PYPROJECT) else None
    if model is None and not show_policy:
        session.fail(
            "no MODEL: uddm-audit check MODEL FILE --heldout FILE, or check MODEL --policy FILE", session.USAGE
        )
    if policy is None and not files and not show_policy:
        session.fail("no texts: give FILE, or --policy with sets of candidates", session.USAGE)
    if not files and (heldout or calibration or twins):
        session.fail("--heldout, --calibration and --twins say what FILE is compared with: give FILE", session.USAGE)

    with session.loading():
        from audit_cli.cli import gating

    gating.check(policy, asked)
