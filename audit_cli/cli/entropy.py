"""`uddm-audit entropy`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session, usage

DEFAULT_SAMPLES = 256
SMALLEST_TIME = 1e-5


class Context(StrEnum):
    ALL = "all"
    PREFIX = "prefix"


class RecipeName(StrEnum):
    EXCESS = "excess-surprise"
    SURPRISE = "surprise"


Time = Annotated[
    float,
    options.number(
        options.MEASURE,
        "Diffusion time at which to look.",
        low=SMALLEST_TIME,
        high=1,
        metavar="T",
        show_default=True,
    ),
]
Draws = Annotated[
    int, options.number(options.MEASURE, "Corruptions to average; 0: the clean text.", low=0, high=10_000)
]
ContextOption = Annotated[
    Context,
    options.option(options.MEASURE, "Given all other tokens, or the prefix.", metavar="WHAT", show_default=True),
]


Trajectory = Annotated[
    bool, options.option(options.MEASURE, "Look at every step of the reverse process.", "--trajectory")
]
Steps = Annotated[
    int | None,
    options.number(options.MEASURE, "Of --trajectory, over all noise.", "--steps", high=100_000, show_default="16"),
]


@session.guarded
def command(
    model: options.Model,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE...]", help=options.FILES, show_default=False),
    ] = None,
    input_format: options.InputFormat = None,
    text_column: options.TextColumn = None,
    limit: options.Limit = None,
    heldout: options.Heldout = None,
    calibration: options.CalibrationOption = None,
    reference_model: options.ReferenceModel = None,
    twins: options.Twins = None,
    slot: options.SlotOption = None,
    fdr: options.Fdr = 0.05,
    samples: Annotated[
        int | None,
        options.number(options.MEASURE, f"Texts of its own; {DEFAULT_SAMPLES} without FILE.", low=2),
    ] = None,
    time: Time = SMALLEST_TIME,
    draws: Draws = 0,
    context: ContextOption = Context.ALL,
    trajectory: Trajectory = False,
    steps: Steps = None,
    recipe: Annotated[
        RecipeName | None,
        options.option(
            options.COMPARE,
            "The deciding score: excess-surprise, surprise.",
            "--recipe",
            metavar="NAME",
            show_default="excess-surprise",
        ),
    ] = None,
    protocol: Annotated[
        options.Protocol,
        options.option(options.MEASURE, "paper: as arXiv 2604.26841 measures.", metavar="NAME"),
    ] = options.Protocol.DEFAULT,
    seed: options.Seed = 0,
    output: options.Output = None,
    per_token: Annotated[
        bool, options.option(options.OUTPUT, "With -o: a second table, a row a token.", "--per-token")
    ] = False,
    show_text: options.Show = None,
    show_all: options.ShowAll = False,
    unit: options.UnitOption = options.Unit.NATS,
    quiet: options.Quiet = False,
    verbose: options.Verbose = 0,
    restart: options.Restart = False,
    fail_on: options.FailOnOption = None,
    exit_zero: options.ExitZero = False,
    strict: options.Strict = False,
    dry_run: options.DryRun = False,
    weights: options.WeightsOption = None,
    tokenizer: options.TokenizerOption = None,
    device: options.Device = "cpu",
    dtype: options.DtypeOption = None,
    backend: options.BackendOption = options.Backend.AUTO,
    batch_size: options.BatchSize = None,
    no_cache: options.NoCache = False,
) -> None:
    """Does the model memorize or generalize? And which texts does it know too well?

    uddm-audit entropy MODEL                                    (the model, by texts of its own)

    uddm-audit entropy MODEL leaked.txt --heldout unseen.txt    (texts)

    uddm-audit entropy MODEL --trajectory -o along.csv          (the model, while it writes)
    """
    asked = dict(locals())
    if trajectory:
        with session.loading():
            from audit_cli.cli import trajectory as along

        along.run(asked)
        return
    if steps is not None:
        session.fail("--steps are those of --trajectory, which was not given", session.USAGE)
    if not files and (heldout or calibration or twins or reference_model or fail_on):
        about = "--heldout, --calibration, --twins, --reference-model and --fail-on"
        session.fail(f"{about} are about texts: give a FILE", session.USAGE)
    usage.check_comparison(heldout, twins, slot, reference_model, fail_on, restart, output, calibration)
    usage.check_recipe(recipe, twins, reference_model)
    usage.check_standard_input(files or [], heldout)
    if per_token and not output:
        session.fail("--per-token writes a second table beside -o FILE, and no -o was given", session.USAGE)
    if fail_on in (options.FailOn.MEMORIZED, options.FailOn.RECOVERABLE):
        session.fail("entropy can only tell what is familiar: --fail-on familiar, or use basins", session.USAGE)
    paper = protocol is options.Protocol.PAPER
    second = "per-token" if per_token else None

    with session.loading():
        from audit_cli.cli import inputs

    read = [model, *(files or []), *(heldout or []), *(path for path in (reference_model, calibration) if path)]
    outputs = inputs.outputs(output, second, read)
    inputs.checkpoint(model)
    given = inputs.opened(files, input_format, text_column, limit) if files else None
    held = inputs.opened(heldout, input_format, text_column) if heldout else None

    with session.loading():
        from audit_cli.audits import EntropySettings, Slot, entropy_audit, report_entropy
        from audit_cli.cli.running import ASKED, Request, run

    settings = EntropySettings(
        t=time,
        # A corruption at a later time is no clean text: look at one unless told how many.
        draws=draws or int(paper or time > SMALLEST_TIME),
        context=str(context),
        samples=samples or (0 if files else DEFAULT_SAMPLES),
        sample_steps=1000 if paper else EntropySettings.sample_steps,
        recipe=str(recipe or ""),
        protocol=str(protocol),
        seed=seed,
        fdr=fdr,
        per_token=per_token,
        batch_size=batch_size,
    )
    request = Request(
        texts=given,
        heldout=held,
        calibration=inputs.calibration(calibration),
        outputs=outputs,
        second=second,
        twins=twins or 0,
        slot=Slot(slot or "digits"),
        prefer_raw=paper,
        **{name: asked[name] for name in ASKED},
    )
    run(request, settings, entropy_audit, report_entropy)
