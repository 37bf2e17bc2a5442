"""The held-out text of a run in two lines: an ordinary text, and one in a hundred."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from audit_cli.audits.measuring import Filed, Measured
from audit_cli.audits.texts import References
from audit_cli.records import FairnessCheck, HeldoutQuantile, HeldoutSummary
from audit_cli.statistics.conformal import references_needed

if TYPE_CHECKING:
    from audit_cli.audits.calibrated import Calibrated


@dataclass(frozen=True)
class Reference:
    """What is kept of a measured held-out text: `text` is its number among them."""

    score: float
    entropy: float
    surprise: float
    vanishing_share: float
    returned: tuple[int, ...] = ()
    basin: float | None = None
    evaluations: int = 0
    text: int = 0


def references(filed: Filed[Measured], texts: References) -> list[list[Reference]]:
    """What was measured of the held-out texts, by group, without those of which nothing could be."""
    return [
        [
            made
            for row, number in zip(rows, numbers, strict=True)
            if (made := _reference(filed, filed.journal.get(filed.journal.row_key("reference", row)), number))
        ]
        for rows, numbers in zip(texts.rows, texts.numbers, strict=True)
    ]


def _reference(filed: Filed[Measured], entry: tuple[str, bytes] | None, number: int) -> Reference | None:
    if entry is None or entry[0]:
        return None
    measured, other = filed.decode(entry[1])
    fields, entropy = filed.task.described(measured), filed.task.entropy(measured)
    basin, levels = fields.get("basin"), fields.get("basin_measurement")
    return Reference(
        filed.score(measured, other),
        entropy.entropy_mean,
        entropy.surprise_mean,
        entropy.vanishing_share,
        () if levels is None else tuple(level.returned for level in levels.levels),
        None if basin is None else basin.size,
        measured.evaluations,
        number,
    )


def too_few(fewest: int, candidates: int, fdr: float, what: str) -> tuple[str, ...]:
    """What cannot be found with so few references, "held-out texts" or "twins", said before anything is measured."""
    if not candidates or fewest >= references_needed(candidates, 1, fdr):
        return ()
    smallest = f"with {fewest} {what} the smallest possible p is {1 / (fewest + 1):.2g}"
    if fewest < references_needed(1, 1, fdr):
        needed = references_needed(candidates, 1, fdr)
        return (f"{smallest}, so nothing can be found at --fdr {fdr:g}; {needed:,} are needed for a lone finding",)
    together = math.ceil(candidates / (fdr * (fewest + 1)) - 1e-9)
    return (
        f"{smallest}: of {candidates} candidates at least {together} must stand out together to be found; "
        f"a lone finding needs {references_needed(candidates, 1, fdr):,}",
    )


def summary(
    texts: "References | Calibrated",
    measured: Sequence[Sequence[Reference]],
    failed: int,
    fairness: FairnessCheck,
    known: int,
) -> HeldoutSummary:
    """Counts and quantiles over all bands; `failed` texts could not be measured, `known` score as if seen."""
    everyone = [r for band in measured for r in band]
    return HeldoutSummary(
        given=texts.given,
        measured=len(everyone),
        skipped=texts.skipped + failed,
        duplicates=texts.duplicates,
        near_duplicates=texts.near_duplicates,
        too_short=texts.too_short,
        used=texts.used,
        references=min((len(band) for band in measured), default=0),
        median=_quantile(everyone, 0.5) if everyone else None,
        best_hundredth=_quantile(everyone, 0.99) if everyone else None,
        fairness=fairness,
        known=known,
    )


def _quantile(held: Sequence[Reference], share: float) -> HeldoutQuantile:
    """Column by column, the value that a share of the texts does not exceed in strength."""

    def of(values: Sequence[float], strong: float = 1.0) -> float:
        # An observed value, no interpolation; low entropy and surprise are the strong side.
        return strong * float(np.quantile(strong * np.asarray(values, dtype=np.float64), share, method="higher"))

    basins = [r.basin for r in held if r.basin is not None]
    return HeldoutQuantile(
        returned=tuple(of(column) for column in zip(*(r.returned for r in held), strict=True)),
        basin=of(basins) if basins else None,
        entropy=of([r.entropy for r in held], -1.0),
        surprise=of([r.surprise for r in held], -1.0),
        vanishing_share=of([r.vanishing_share for r in held]),
        score=of([r.score for r in held]),
    )
