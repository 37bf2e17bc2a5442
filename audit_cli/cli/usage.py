"""Options that do not go together, said before anything is loaded."""

import sys
from collections.abc import Sequence
from pathlib import Path

from audit_cli.cli import session


def check_comparison(
    heldout: Sequence[Path] | None,
    twins: int | None,
    slot: str | None,
    reference_model: Path | None,
    fail_on: str | None,
    restart: bool,
    output: Sequence[str] | None,
    calibration: Path | None = None,
) -> None:
    """End with a message on a comparison that is none, or that is two."""
    if fail_on and not (heldout or twins or calibration):
        session.fail("--fail-on needs --heldout or --twins: without them there are no verdicts", session.USAGE)
    if calibration and (heldout or twins or reference_model):
        others = "--heldout, --twins and --reference-model"
        session.fail(f"--calibration is a comparison of its own: leave {others} out", session.USAGE)
    if twins and (heldout or reference_model):
        session.fail("--twins is a comparison of its own: leave --heldout and --reference-model out", session.USAGE)
    if reference_model and not heldout:
        session.fail("--reference-model needs --heldout: they show which difference is ordinary", session.USAGE)
    if slot is not None and not twins:
        session.fail("--slot says what --twins N redraws, and no --twins was given", session.USAGE)
    if slot is not None and slot not in ("digits", "letters", "alphanumeric") and "{}" not in slot:
        session.fail(f"--slot {slot}: neither digits, letters, alphanumeric nor a template with {{}}", session.USAGE)
    if restart and not output:
        session.fail("--restart begins anew what a stopped run left beside its -o, and no -o was given", session.USAGE)


def check_recipe(recipe: str | None, twins: int | None, reference_model: Path | None) -> None:
    """End with a message on a deciding score where the comparison brings its own."""
    if recipe and (twins or reference_model):
        other = "--twins" if twins else "--reference-model"
        session.fail(f"--recipe: {other} compares by a score of its own: leave one of both out", session.USAGE)


def check_standard_input(files: Sequence[Path], heldout: Sequence[Path] | None) -> None:
    """End with a message if standard input is asked for twice; say so if a person has to type it."""
    asked = [str(path) for path in (*files, *(heldout or []))].count("-")
    if asked > 1:
        session.fail("-: standard input can be read only once: give the other texts as a file", session.USAGE)
    if asked and sys.stdin is not None and sys.stdin.isatty():
        session.note("reading texts from the terminal, a line each; Ctrl-D ends them")
