"""What the cells of a sweep say together: means with intervals, and where the model stops to memorize."""

import math
from collections.abc import Callable, Sequence

import numpy as np
from scipy import special

from audit_cli.audits.sweep import Corpus
from audit_cli.records import (
    Interval,
    RunInfo,
    SplitMeasures,
    SweepCell,
    SweepReport,
    SweepRow,
    TransitionPoint,
)
from audit_cli.statistics.intervals import bootstrap_mean, wilson
from audit_cli.statistics.transition import LEAST_SEEDS, Gaps, crossing

# Below this the two recoveries count as one.
MEETING = 0.05
# By so much less a training text may surprise the model than held-out text to be no better known, nats a token.
AS_WELL_KNOWN = 0.05


def sweep_report(
    cells: Sequence[SweepCell], deciding: int, run: RunInfo, seed: int, warnings: tuple[str, ...] = ()
) -> SweepReport:
    """The report of all cells, of which there is at least one. `deciding` is the index of the level at which gaps are
    read."""
    by_size: dict[int, list[SweepCell]] = {}
    for cell in cells:
        by_size.setdefault(cell.size, []).append(cell)
    rows = tuple(_row(group, seed) for _, group in sorted(by_size.items()))
    peak = max(rows, key=lambda row: row.perplexity.value).size
    points = tuple(_points(by_size, deciding, seed)) if len(by_size) > 1 else ()
    heldout = len(cells[0].heldout.entropy)
    return SweepReport(run, cells[0].levels, deciding, rows, points, peak, heldout, cells[0].parameters, warnings)


def remarks(corpus: Corpus, cells: Sequence[SweepCell]) -> tuple[str, ...]:
    """What a reader should know of the text."""
    told = []
    if corpus.left_out:
        told.append(f"{corpus.left_out:,} lines have no tokens, or a character outside the vocabulary: left out")
    twice = max(cell.duplicates for cell in cells)
    if twice:
        told.append(f"up to {twice:,} lines of a training set occur in it before: kept, as the corpus has them")
    few = min(len(cell.train.entropy) for cell in cells)
    if few < len(cells[0].heldout.entropy):
        told.append(f"the smallest training set has {few:,} texts to measure: those that occur once")
    return tuple(told)


def _points(by_size: dict[int, list[SweepCell]], deciding: int, seed: int) -> list[TransitionPoint]:
    recovery = [
        Gaps(
            size,
            tuple(np.array(cell.train.recovery[deciding]) for cell in cells),
            tuple(np.array(cell.heldout.recovery[deciding]) for cell in cells),
        )
        for size, cells in by_size.items()
    ]
    # How much better known: surprise falls where a text is known.
    surprise = [
        Gaps(
            size,
            tuple(-np.array(cell.train.surprise) for cell in cells),
            tuple(-np.array(cell.heldout.surprise) for cell in cells),
        )
        for size, cells in by_size.items()
    ]
    asked = (
        ("half", "the gap in recovery has halved", recovery, None),
        ("meet", f"the gap in recovery is below {MEETING:g}", recovery, MEETING),
        (
            "known",
            f"training text is known better by less than {AS_WELL_KNOWN:g} nats a token",
            surprise,
            AS_WELL_KNOWN,
        ),
    )
    tokens = {size: cells[0].tokens / size for size, cells in by_size.items()}
    return [_point(name, told, gaps, bound, tokens, seed) for name, told, gaps, bound in asked]


def _point(
    name: str, told: str, gaps: list[Gaps], bound: float | None, tokens: dict[int, float], seed: int
) -> TransitionPoint:
    found = crossing(gaps, bound, seed)
    sequences = Interval(found.size, found.low, found.high)
    sizes = sorted(tokens)
    # Tokens a line hardly change from size to size; between sizes they are interpolated as the sizes are.
    at = np.array([found.size, found.low, found.high])
    per_line = np.interp(np.log(at), np.log(sizes), [tokens[size] for size in sizes])
    return TransitionPoint(name, told, sequences, Interval(*(at * per_line).tolist()), found.censored)


def _row(cells: list[SweepCell], seed: int) -> SweepRow:
    first = cells[0]

    def mean(of: Callable[[SweepCell], Sequence[float]], most: float = math.inf) -> Interval:
        """Over texts; over seeds where there are enough of them. Nothing is above `most`, or negative."""
        values = [np.array(of(cell), dtype=np.float64) for cell in cells]
        if len(values) >= LEAST_SEEDS:
            return _over_seeds([float(v.mean()) for v in values], most)
        return bootstrap_mean(np.concatenate(values), seed)

    def levels(of: Callable[[SplitMeasures], tuple[tuple[float, ...], ...]], split: str) -> tuple[Interval, ...]:
        return tuple(mean(lambda cell, k=k: of(getattr(cell, split))[k], 1) for k in range(len(first.levels)))  # type: ignore[misc]

    log_perplexity = mean(lambda cell: cell.nelbo)
    copies = [sum(cell.samples.copy) for cell in cells], [len(cell.samples.copy) for cell in cells]
    return SweepRow(
        size=first.size,
        tokens=first.tokens,
        seeds=len(cells),
        duplicates=first.duplicates,
        recovery_train=levels(lambda split: split.recovery, "train"),
        recovery_heldout=levels(lambda split: split.recovery, "heldout"),
        unstable_train=levels(lambda split: split.unstable, "train"),
        unstable_heldout=levels(lambda split: split.unstable, "heldout"),
        returned_train=levels(lambda split: split.returned, "train"),
        returned_heldout=levels(lambda split: split.returned, "heldout"),
        exact_train=levels(lambda split: split.exact, "train"),
        exact_heldout=levels(lambda split: split.exact, "heldout"),
        entropy_train=mean(lambda cell: cell.train.entropy),
        entropy_heldout=mean(lambda cell: cell.heldout.entropy),
        entropy_samples=mean(lambda cell: cell.samples.entropy),
        surprise_train=mean(lambda cell: cell.train.surprise),
        surprise_heldout=mean(lambda cell: cell.heldout.surprise),
        copies=wilson(sum(copies[0]), sum(copies[1]))
        if len(cells) < LEAST_SEEDS
        else mean(lambda c: c.samples.copy, 1),
        perplexity=Interval(*(math.exp(x) for x in (log_perplexity.value, log_perplexity.low, log_perplexity.high))),
    )


def _over_seeds(means: list[float], most: float) -> Interval:
    """A t interval over seeds, which other runs would differ by, from 0 to `most`."""
    mean, n = float(np.mean(means)), len(means)
    half = float(special.stdtrit(n - 1, 0.975)) * float(np.std(means, ddof=1)) / math.sqrt(n)
    return Interval(mean, max(0.0, mean - half), min(most, mean + half))
