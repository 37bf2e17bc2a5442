"""Verdicts from scores: conformal p against held-out text, BH over the run, and what cannot be judged.

Rests on two assumptions, said wherever verdicts are explained: a text that is not memorized is exchangeable with
the held-out text, and the recipe was fixed before the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit_cli.records import Judgement, LawCheck, Verdict
from audit_cli.statistics.conformal import conformal_p, q_values, rounded
from audit_cli.verdicts.recipes import Recipe

NO_HELDOUT = "no held-out text was given"
NONE_OF_THIS_LENGTH = "no held-out text is left to compare it with: all are shorter, or like a candidate"
LAW_CONTRADICTED = "the law check contradicts the leave-one-out law that this score needs"
TOO_FEW = "scores above every held-out text, and these are too few to say more"


@dataclass(frozen=True)
class Scored:
    """A text to be judged: its score, whether it returns (None: unclear or not measured), and whom it is compared
    with: `group` names a set of reference scores."""

    score: float
    returns: bool | None
    group: int


def judge(
    scored: Sequence[Scored],
    references: Sequence[Sequence[float]],
    recipe: Recipe,
    fdr: float,
    law: LawCheck | None,
) -> list[Judgement]:
    """One judgement a text; p against the text's own group of references, BH over all texts that have any."""
    p = np.full(len(scored), np.nan)
    upper = np.full(len(scored), np.nan)
    for group, held in enumerate(references):
        members = [i for i, text in enumerate(scored) if text.group == group]
        if members and len(held):
            p[members], upper[members] = conformal_p([scored[i].score for i in members], held)
    compared = np.flatnonzero(~np.isnan(p))
    q = np.full(len(scored), np.nan)
    q[compared] = q_values(p[compared])
    return [
        _judgement(text, references[text.group], p[i], upper[i], q[i], recipe, fdr, law)
        for i, text in enumerate(scored)
    ]


def unjudged(scored: Sequence[Scored], recipe: Recipe) -> list[Judgement]:
    """Scores without a verdict, where no held-out text was given."""
    return [Judgement(recipe.name, text.score, None, NO_HELDOUT) for text in scored]


def _judgement(
    text: Scored,
    held: Sequence[float],
    p: float,
    upper: float,
    q: float,
    recipe: Recipe,
    fdr: float,
    law: LawCheck | None,
) -> Judgement:
    if not len(held):
        return Judgement(recipe.name, text.score, Verdict.INCONCLUSIVE, NONE_OF_THIS_LENGTH, references=0)
    verdict, reason = _verdict(text, q, held, recipe, fdr, law)
    return Judgement(
        recipe=recipe.name,
        score=text.score,
        verdict=verdict,
        reason=reason,
        p_value=float(p),
        p_value_upper95=float(upper),
        q_value=float(q),
        references=len(held),
    )


def _verdict(
    text: Scored, q: float, held: Sequence[float], recipe: Recipe, fdr: float, law: LawCheck | None
) -> tuple[Verdict, str]:
    if recipe.uses_law and law is LawCheck.CONTRADICTED:
        return Verdict.INCONCLUSIVE, LAW_CONTRADICTED
    if q <= fdr:
        return (Verdict.MEMORIZED if text.returns else Verdict.FAMILIAR), ""
    if rounded([text.score])[0] > rounded(held).max():
        return Verdict.INCONCLUSIVE, TOO_FEW
    return (Verdict.RECOVERABLE if text.returns else Verdict.NO_EVIDENCE), ""
