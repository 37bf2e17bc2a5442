"""Verdicts from scores: conformal p against references, BH over the run, and what cannot be judged.

Rests on two assumptions, said wherever verdicts are explained: a text that is not memorized is exchangeable with
what it is compared with, and the recipe was fixed before the run.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from jaxtyping import Bool, Float, Int

from audit_cli.records import Comparability, Judgement, LawCheck, Verdict
from audit_cli.statistics.conformal import conformal_p, count_at_least, q_values, simes
from audit_cli.verdicts.comparability import Grade
from audit_cli.verdicts.recipes import Recipe

NOT_COMPARED = "compared with no other text"
NONE_OF_THIS_LENGTH = "no held-out text is left to compare it with: all are shorter, or like a candidate"
NO_TWINS = "no copy of it could be made: nothing to redraw, or the model cannot represent the copies"
LAW_CONTRADICTED = "this score needs the leave-one-out law, which the network does not have"
CONSTANT = "scores as every other text of this run does, held-out text too: this score tells nothing here"
FEWER = "does not stand out, but is compared with {:,} others only, and {:,} are asked for"
TOO_FEW = "stands out among everything it is compared with, which is too few to rule out chance"
REMEDIES = "try --reference-model, --twins, or --heldout with text of this kind"
UNLIKE = "unlike the held-out text: {}; " + REMEDIES
UNCLEAR = -1


@dataclass(frozen=True)
class Parts:
    """What was measured, an entry a part of a text: the whole text, or a window of a long one.

    `text` numbers the texts and ascends; `returns` is 1, 0 or UNCLEAR (not measured, too); `group` names the set of
    references that a part is compared with.
    """

    text: Int[np.ndarray, " parts"]
    score: Float[np.ndarray, " parts"]
    returns: Int[np.ndarray, " parts"]
    group: Int[np.ndarray, " parts"]

    def starts(self) -> Int[np.ndarray, " texts"]:
        """Where each text's parts begin."""
        return np.flatnonzero(np.diff(self.text, prepend=-1))

    def worst(self) -> Int[np.ndarray, " texts"]:
        """For each text its part with the highest score, the first of equals."""
        order = np.lexsort((np.arange(len(self.score)), -self.score, self.text))
        return order[self.starts()]


@dataclass(frozen=True)
class Kinds:
    """Whether each text is of the kind that it is compared with: `number` is that of its grade among the `grades`.

    Of a `shifted` text nothing can be said, unless the score takes out how hard a text is (`binding` False).
    """

    number: Int[np.ndarray, " texts"]
    grades: Sequence[Grade]
    binding: bool = True

    def __getitem__(self, text: int) -> Grade:
        return self.grades[self.number[text]]

    def out(self) -> Bool[np.ndarray, " texts"]:
        """The texts that cannot be judged."""
        return np.array([self._says_out(of) for of in self.grades], dtype=bool)[self.number]

    def unlike(self, text: int) -> str:
        """Why a text cannot be judged; empty where it can."""
        grade = self[text]
        return UNLIKE.format(grade.differs) if self._says_out(grade) else ""

    def _says_out(self, grade: Grade) -> bool:
        return self.binding and grade.grade is Comparability.SHIFTED


@dataclass(frozen=True)
class Judgements:
    """A judgement a text; `p` is NaN and `references` 0 where there is nothing to compare a text with, and `q` is NaN
    where a text cannot be judged because of its kind. `constant`: all texts and all references score alike. Against
    fewer than `least` others nothing is ruled out."""

    recipe: Recipe
    fdr: float
    law: LawCheck | None
    without: str
    score: Float[np.ndarray, " texts"]
    returns: Int[np.ndarray, " texts"]
    above: Int[np.ndarray, " texts"]
    references: Int[np.ndarray, " texts"]
    p: Float[np.ndarray, " texts"]
    upper: Float[np.ndarray, " texts"]
    q: Float[np.ndarray, " texts"]
    kinds: Kinds | None = None
    judged: bool = True
    constant: bool = False
    least: int = 0

    def __len__(self) -> int:
        return len(self.score)

    def __getitem__(self, text: int) -> Judgement:
        found = partial(Judgement, self.recipe.name, float(self.score[text]))
        if not self.judged:
            return found(None, NOT_COMPARED)
        verdict, reason = self._verdict(text)
        found = partial(found, comparability=None if self.kinds is None else self.kinds[text].grade)
        if not self.references[text]:
            return found(verdict, reason, references=0)
        upper, q = float(self.upper[text]), float(self.q[text])
        return found(
            verdict,
            reason,
            p_value=float(self.p[text]),
            p_value_upper95=None if np.isnan(upper) else upper,
            q_value=None if np.isnan(q) else q,
            references=int(self.references[text]),
        )

    def verdicts(self) -> list[Verdict]:
        """All verdicts, in order; none where nothing was compared."""
        return [self._verdict(i)[0] for i in range(len(self))] if self.judged else []

    def _verdict(self, text: int) -> tuple[Verdict, str]:
        unlike = "" if self.kinds is None else self.kinds.unlike(text)
        if not self.references[text]:
            return Verdict.INCONCLUSIVE, "; ".join(filter(None, (self.without, unlike)))
        if self.recipe.uses_law and self.law is LawCheck.CONTRADICTED:
            return Verdict.INCONCLUSIVE, LAW_CONTRADICTED
        if unlike:
            return Verdict.INCONCLUSIVE, unlike
        if self.constant:
            return Verdict.INCONCLUSIVE, CONSTANT
        back = self.returns[text] == 1
        if self.q[text] <= self.fdr:
            return (Verdict.MEMORIZED if back else Verdict.FAMILIAR), ""
        if self.above[text] == 0:
            return Verdict.INCONCLUSIVE, TOO_FEW
        if self.references[text] < self.least:
            return Verdict.INCONCLUSIVE, FEWER.format(int(self.references[text]), self.least)
        return (Verdict.RECOVERABLE if back else Verdict.NO_EVIDENCE), ""


def judge(
    parts: Parts,
    references: Sequence[Sequence[float]],
    recipe: Recipe,
    fdr: float,
    law: LawCheck | None,
    kinds: Kinds | None = None,
) -> Judgements:
    """A judgement a text against held-out scores: p of each part among its group's references, Simes over the parts
    of a text, BH over all texts that have a p and, by `kinds`, can be judged: easy texts of another kind would make
    room for false findings among the others."""
    above = np.zeros(len(parts.text), dtype=np.int64)
    count = np.array([len(held) for held in references], dtype=np.int64)[parts.group] if len(parts.text) else above
    for group, held in enumerate(references):
        members = np.flatnonzero(parts.group == group)
        if len(members) and len(held):
            above[members] = count_at_least(parts.score[members], held)
    worst, starts = parts.worst(), parts.starts()
    p, upper = np.full(len(worst), np.nan), np.full(len(worst), np.nan)
    some = np.flatnonzero(count[worst] > 0)
    p_parts = (1 + above) / (count + 1)
    ends = np.append(starts[1:], len(parts.text))
    p[some], upper[some] = conformal_p(above[worst[some]], count[worst[some]])
    for text in some[(ends - starts)[some] > 1]:
        p[text] = simes(p_parts[starts[text] : ends[text]])
        upper[text] = np.nan
    judged = _judgements(parts, recipe, fdr, law, NONE_OF_THIS_LENGTH, above[worst], count[worst], p, upper, kinds)
    every = [parts.score, *(np.asarray(held, dtype=np.float64) for held in references)]
    constant = bool(len(some)) and not recipe.floor and len(np.unique(np.concatenate(every))) == 1
    return replace(judged, constant=constant)


def judge_twins(
    parts: Parts,
    above: Int[np.ndarray, " texts"],
    drawn: Int[np.ndarray, " texts"],
    recipe: Recipe,
    fdr: float,
    law: LawCheck | None,
) -> Judgements:
    """A judgement a text against its own twins: `above` of `drawn` score at least as high as the text."""
    p, upper = np.full(len(drawn), np.nan), np.full(len(drawn), np.nan)
    some = np.flatnonzero(drawn > 0)
    p[some], upper[some] = conformal_p(above[some], drawn[some])
    kinds = Kinds(np.zeros(len(drawn), dtype=np.int64), [Grade(Comparability.NOT_NEEDED)])
    return _judgements(parts, recipe, fdr, law, NO_TWINS, above, drawn, p, upper, kinds)


def unjudged(parts: Parts, recipe: Recipe) -> Judgements:
    """Scores without a verdict, where there is nothing to compare with."""
    worst = parts.worst()
    none = np.zeros(len(worst), dtype=np.int64)
    nan = np.full(len(worst), np.nan)
    return Judgements(
        recipe, 0.0, None, "", parts.score[worst], parts.returns[worst], none, none, nan, nan, nan, judged=False
    )


def judged_together(judged: Sequence[Judgements]) -> list[Judgements]:
    """The same judgements, with BH over all their texts at once; those that had no q have none."""
    every = [np.flatnonzero(~np.isnan(one.q)) for one in judged]
    together = q_values(np.concatenate([one.p[some] for one, some in zip(judged, every, strict=True)]))
    out, at = [], 0
    for one, some in zip(judged, every, strict=True):
        q = np.full(len(one), np.nan)
        q[some] = together[at : at + len(some)]
        out.append(replace(one, q=q))
        at += len(some)
    return out


def _judgements(
    parts: Parts,
    recipe: Recipe,
    fdr: float,
    law: LawCheck | None,
    without: str,
    above: np.ndarray,
    references: np.ndarray,
    p: np.ndarray,
    upper: np.ndarray,
    kinds: Kinds | None,
) -> Judgements:
    worst = parts.worst()
    q = np.full(len(p), np.nan)
    compared = np.flatnonzero(~np.isnan(p) if kinds is None else ~np.isnan(p) & ~kinds.out())
    q[compared] = q_values(p[compared])
    return Judgements(
        recipe, fdr, law, without, parts.score[worst], parts.returns[worst], above, references, p, upper, q, kinds
    )
