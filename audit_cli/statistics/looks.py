"""Is a set of texts better known than held-out text, asked again and again of one training?

A rank test within groups of texts that are alike in length, and how much of the allowed error each look may spend.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import special
from scipy.stats import rankdata

from audit_cli.records import Interval
from audit_cli.statistics.conformal import rounded

RESAMPLES = 2000
CONFIDENCE = 0.95
# Additions that the exact distribution of the rank sum may take: half a second.
EXACT_ADDITIONS = 3e8


def allowed(alpha: float, look: int, planned: int | None) -> float:
    """How small p must be at a look, the first being 1, so that the chance of any false finding stays at most `alpha`.

    Of so many `planned` looks each has the same part (Bonferroni). Without a plan look k has 6 alpha / (pi k)^2, which
    sum to alpha over all k. Raises ValueError on a look that was not planned.
    """
    if look < 1 or (planned is not None and look > planned):
        raise ValueError(f"look {look} of {planned}")
    return alpha / planned if planned is not None else 6 * alpha / (math.pi * look) ** 2


@dataclass(frozen=True)
class Sample:
    """Values of texts and of held-out texts, each in a group: only texts of one group are compared.

    Every group that a text is in has a held-out text. Raises ValueError where one has none, on a value that is no
    number, and without any text.
    """

    text: Float[np.ndarray, " texts"]
    text_group: Int[np.ndarray, " texts"]
    held: Float[np.ndarray, " heldout"]
    held_group: Int[np.ndarray, " heldout"]

    def __post_init__(self) -> None:
        if not len(self.text) or not set(self.text_group.tolist()) <= set(self.held_group.tolist()):
            raise ValueError("a text has nothing to be compared with, or there is none")
        if not np.isfinite(self.text).all() or not np.isfinite(self.held).all():
            raise ValueError("a value is no number")

    @property
    def groups(self) -> list[int]:
        """The groups that texts are in."""
        return sorted(set(self.text_group.tolist()))


def smaller_p(sample: Sample) -> float:
    """One-sided p of the hypothesis that texts and held-out texts of a group are exchangeable, against smaller values
    of the texts. Wilcoxon's rank sum, ties with their mean rank; groups are weighed by 1 / (size + 1), as van Elteren
    (1960) does, to half of the smallest weight.

    Exact where that takes few additions, else normal with a correction for continuity. Rank sums have lighter tails
    than a normal law, so that p below .04 then comes out rather too large than too small.
    """
    groups = [_Ranks.of(sample, group) for group in sample.groups]
    largest = max(of.size for of in groups)
    weights = [round(2 * (largest + 1) / (of.size + 1)) for of in groups]
    common = math.gcd(*weights)
    weights = [weight // common for weight in weights]
    observed = sum(w * of.sum for w, of in zip(weights, groups, strict=True))
    if _additions(groups, weights, observed) > EXACT_ADDITIONS:
        mean = sum(w * of.mean for w, of in zip(weights, groups, strict=True))
        variance = sum(w * w * of.variance for w, of in zip(weights, groups, strict=True))
        # Half the distance of neighbouring sums of doubled ranks.
        return 1.0 if variance == 0 else float(special.ndtr((observed + min(weights) - mean) / math.sqrt(variance)))
    law = np.ones(1)
    for weight, of in zip(weights, groups, strict=True):
        law = _added(law, of.law(observed // weight), weight, observed)
    return min(1.0, float(law.sum()))


def _additions(groups: "list[_Ranks]", weights: list[int], observed: int) -> float:
    """About how many additions the exact law of the sum takes."""
    each = [of.own * of.size * min(observed // w, of.most) for w, of in zip(weights, groups, strict=True)]
    joined = [min(observed // w, of.most) * observed for w, of in zip(weights, groups, strict=True)]
    return sum(each) + sum(joined[1:])


def _added(
    law: Float[np.ndarray, " sums"], other: Float[np.ndarray, " sums2"], weight: int, most: int
) -> Float[np.ndarray, " sums3"]:
    """The law of a sum and `weight` times another one, up to `most`."""
    out = np.zeros(min(most, len(law) - 1 + weight * (len(other) - 1)) + 1)
    for value in np.flatnonzero(other):
        part = law[: len(out) - weight * value]
        out[weight * value : weight * value + len(part)] += other[value] * part
    return out


@dataclass(frozen=True)
class _Ranks:
    """The doubled mean ranks of a group, whole numbers: of all its members, how many of them are texts, and their
    sum."""

    doubled: Int[np.ndarray, " members"]
    own: int
    sum: int

    @classmethod
    def of(cls, sample: Sample, group: int) -> "_Ranks":
        text, held = sample.text[sample.text_group == group], sample.held[sample.held_group == group]
        doubled = np.rint(2 * rankdata(rounded(np.concatenate([text, held])))).astype(np.int64)
        return cls(doubled, len(text), int(doubled[: len(text)].sum()))

    @property
    def size(self) -> int:
        return len(self.doubled)

    @property
    def most(self) -> int:
        """The largest sum."""
        return int(np.sort(self.doubled)[self.size - self.own :].sum())

    @property
    def mean(self) -> float:
        return self.own * float(self.doubled.mean())

    @property
    def variance(self) -> float:
        spread = float(((self.doubled - self.doubled.mean()) ** 2).sum())
        return self.own * (self.size - self.own) / (self.size * (self.size - 1)) * spread

    def law(self, most: int) -> Float[np.ndarray, " sums"]:
        """The probability of each sum of as many members, drawn without replacement, up to `most`."""
        most = min(most, self.most)
        ways = np.zeros((self.own + 1, most + 1))
        ways[0, 0] = 1.0
        for rank in self.doubled.tolist():
            if rank <= most:
                # The right side is read before anything is written: no member is drawn twice.
                ways[1:, rank:] += ways[:-1, : most + 1 - rank]
        return np.asarray(ways[-1] / math.comb(self.size, self.own))


@dataclass(frozen=True)
class Gap:
    """Means over texts, and over held-out texts of the texts' groups, and held-out minus text with its interval."""

    text: float
    held: float
    difference: Interval


def gap(sample: Sample, seed: int) -> Gap:
    """How much larger the values of held-out texts are, each text against the mean of its group.

    The interval is a percentile bootstrap (95 %) over the texts, and over the held-out texts of each group.
    """
    numbers = {group: i for i, group in enumerate(sample.groups)}
    of = np.array([numbers[group] for group in sample.text_group.tolist()])
    held = [sample.held[sample.held_group == group] for group in numbers]
    means = np.array([values.mean() for values in held])
    text, other = float(sample.text.mean()), float(means[of].mean())
    rng = np.random.default_rng(seed)
    picks = rng.integers(0, len(of), (RESAMPLES, len(of)))
    drawn = np.stack(
        [values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1) for values in held], axis=1
    )
    differences = np.take_along_axis(drawn, of[picks], axis=1).mean(axis=1) - sample.text[picks].mean(axis=1)
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Gap(text, other, Interval(other - text, float(low), float(high)))
