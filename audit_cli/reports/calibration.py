"""What `calibrate` prints."""

from collections.abc import Iterator

from audit_cli.reports import words
from audit_cli.safetext import for_terminal
from audit_cli.statistics.conformal import references_needed
from audit_cli.verdicts.calibration import Calibration

# With fewer references nothing can be found at --fdr .05, whatever it scores.
FEW = references_needed(1, 1, 0.05)


def calibration_lines(made: Calibration, recalled: int, seconds: float) -> Iterator[str]:
    """The model, the run, and what can be found at which length. `recalled` pieces were measured by an earlier run."""
    facts = made.facts
    held, decided = facts.heldout, facts.made_for
    gone = [
        f"{count:,} {why}"
        for count, why in ((held.skipped, "unusable"), (held.duplicates, "twice"), (held.too_short, "too short"))
        if count
    ]
    left = f" ({', '.join(gone)} left out)" if gone else ""
    known = f", {recalled:,} scores from an earlier run" if recalled else ""
    yield f"Model  {for_terminal(facts.model)}, law check {facts.law.check}"
    yield (
        f"Run    for {decided.command}, by {decided.recipe}: {held.used:,} held-out texts{left}{known}, "
        f"seed {decided.settings.get('seed')}, {words.duration(seconds)}"
    )
    yield ""
    yield "  candidates of   held-out   smallest p"
    few = 0
    for band in facts.bands:
        few += len(band) < FEW
        mark = " *" if len(band) < FEW else ""
        yield f"  {band.said + ' tokens':<16}{len(band):>8,}   {words.probability(1 / (len(band) + 1)):>10}{mark}"
    yield ""
    if few:
        yield f"* fewer than {FEW} texts: nothing of these lengths can be found at --fdr .05"
    yield f"A lone finding among m texts of a length needs {FEW + 1} m - 1 held-out ones."
