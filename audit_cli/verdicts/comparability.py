"""Is the comparison fair? Whether candidates are of the kind of text that they are compared with.

No model is asked, so that what is found can be said before anything is measured, and never depends on a score. Graded,
never by significance alone:

*All together* (at least 20 candidates and 100 references). A naive Bayes classifier on hashed n-grams learns to tell
candidates from held-out text and judges texts that it has not seen (five folds). The candidates are `shifted` if it
tells them apart with an area under the ROC curve (AUC) of .65 or more, within the groups that are compared with each
other, and so well with not one of 199 random labellings. Innocent candidates, drawn as the held-out text was, are then
called shifted in at most 1 of 200 audits. Near-duplicates count as one text: they would be recognized by each other.
They are `shifted`, too, if they are more ordinary than the held-out text, by a model of its n-grams (`ordinary`), with
the same area and no labelling that does as well: easier text is better known to any network. That is as rare.

A shift need not concern every text. Wherever texts are no more common among candidates than among references,
P(such a text, p <= a | candidates) <= P(such a text, p <= a | references) <= a: there p holds, whatever the score is.
So texts stay judged that the classifier finds more often among references, and the others are `shifted`. Whatever its
scale, that bound lies where the share of candidates above it exceeds that of references most (Youden's index). Of a
mixture this leaves the ordinary texts judged, and memorized ones among them.

*Each alone* (at least 19 references). A text is `shifted` whose nearest reference is farther away (cosine of the
features) than those of nearly all references from each other. That is a conformal p-value, and of m candidates those
are called out that have at most .01 / m, or the smallest that n references allow: an innocent audit calls a text out in
1 of 100 cases, or in m of n + 1 where the references are fewer. Fewer than 19 could not find anything either, and are
`not checkable`.

What it cannot tell from another kind: texts of a single document, which share its names and its subject. Against text
of all kinds they are a selection, with scores of their own, and some of 24 verses in a row against the whole Bible are
called shifted in half of the audits. Held-out text of that document, or of that subject, is then the remedy. What
differs without words, as a hard word for an easy one, stays unseen: a text is `comparable` as far as this can tell.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_matrix
from scipy.stats import rankdata

from audit_cli.records import Comparability, FairnessCheck
from audit_cli.verdicts.kinds import SHAPES, Content, alike, digest, features, shapes, words
from audit_cli.verdicts.ordinary import Ordinary

# More do not change what is found and cost time.
MOST_CANDIDATES = MOST_REFERENCES = 2000
CANDIDATES_NEEDED, REFERENCES_NEEDED = 20, 100
SHIFTED_AUC, SHIFTED_P = 0.65, 0.01
LABELLINGS, LABELLINGS_AT_ONCE = 199, 50
FOLDS = 5
SMOOTHING = 0.1
# Of a text by itself.
NEIGHBOURS_NEEDED, UNLIKE_P = 19, 0.01
NEIGHBOUR_DIMENSIONS = 2048
# A shape is named of many texts if it tells them apart so well, and of one if so few references are beyond it.
SHAPE_AUC, SHAPE_TAIL = 0.75, 0.01
SHAPES_NAMED, WORDS_NAMED = 3, 6

FEW = f"fewer than {NEIGHBOURS_NEEDED} held-out texts are as long"
NOTHING = "there is no text to look at"
OTHER_WORDS = "other words"
EASIER = "more ordinary wording"


@dataclass(frozen=True)
class Compared:
    """A text as it is compared: cut, and with the number of the group in which it is. Of a held-out text that stands
    in several groups one is `chosen` for what is said of all texts together."""

    content: Content
    group: int
    chosen: bool = True

    @cached_property
    def order(self) -> int:
        """Decides in which fold a text is, whatever the order in which texts come."""
        return digest(self.content)


@dataclass(frozen=True)
class Grade:
    """What is said of one text: `differs` names the differences in shape, and holds nothing of the text."""

    grade: Comparability
    differs: str = ""


class Fairness:
    """The check of a run: `found` for all texts, `grades` for each."""

    def __init__(
        self, candidates: Sequence[Compared], references: Sequence[Compared], other_lengths: Collection[int] = ()
    ) -> None:
        """At most MOST_CANDIDATES distinct ones of all candidates, and MOST_REFERENCES: time grows with both.

        In the groups of `other_lengths` candidates were cut to the lengths of the references, and not the other way
        round: such a text may be `shifted`, but not `comparable`.
        """
        self._other_lengths = other_lengths
        self._candidates = sorted(candidates, key=lambda text: text.order)
        self._references = sorted(references, key=lambda text: (text.group, text.order))
        self._alike = alike([text.content for text in (*self._candidates, *self._references)])
        self._distinct = len(set(self._alike[: len(self._candidates)].tolist()))
        self._groups = {
            int(group): _References([self._references[i].content for i in members], self._held_alike[members])
            for group, members in _members(self._references)
        }
        some, own, same = self._compared()
        self._all = _Together(some, own, same) if some else None
        self._easy = _Easier(some, own, same) if some else None
        self.found = self._found()

    @property
    def _held_alike(self) -> Int[np.ndarray, " references"]:
        return self._alike[len(self._candidates) :]

    def grades(self, texts: Sequence[Compared]) -> list[Grade]:
        """The grade of each text: a candidate of the sample, or any other."""
        if not texts:
            return []
        x = features([text.content for text in texts])
        unlike = np.zeros(len(texts), dtype=bool)
        if self._all is not None and self._all.shifted:
            unlike |= self._all.scores(texts, x) > self._all.bound
        if self._easy is not None and self._easy.shifted:
            unlike |= self._easy.scores(texts) > self._easy.bound
        checkable = np.diff(x.indptr) > 0
        for group, members in _members(texts):
            held = self._groups.get(group)
            enough = held is not None and len(held) >= NEIGHBOURS_NEEDED
            if held is not None and enough:
                unlike[members] |= held.unlike(x[members], self._distinct)
            checkable[members] &= enough and group not in self._other_lengths
        return [
            self._shifted(text) if out else Grade(Comparability.COMPARABLE if can else Comparability.NOT_CHECKABLE)
            for text, out, can in zip(texts, unlike, checkable, strict=True)
        ]

    def _shifted(self, text: Compared) -> Grade:
        held = self._groups.get(text.group)
        return Grade(Comparability.SHIFTED, OTHER_WORDS if held is None else held.differs(text.content))

    def _compared(self) -> tuple[list[Compared], int, Int[np.ndarray, " texts"]]:
        """The texts of the groups that have both, the candidates among them first, how many these are, and which are
        alike; no texts where these are too few."""
        common = {text.group for text in self._candidates} & {text.group for text in self._references if text.chosen}
        texts = [*self._candidates, *self._references]
        some = [i for i, text in enumerate(texts) if text.group in common and text.chosen]
        own = sum(i < len(self._candidates) for i in some)
        same = self._alike[some]
        enough = len(set(same[:own])) >= CANDIDATES_NEEDED and len(set(same[own:])) >= REFERENCES_NEEDED
        return ([texts[i] for i in some] if enough else []), own, same

    def _found(self) -> FairnessCheck:
        grades = self.grades(self._candidates)
        unlike = [text for text, of in zip(self._candidates, grades, strict=True) if of.grade is Comparability.SHIFTED]
        together: _Together | _Easier | None = self._all
        easier = self._easy is not None and self._easy.shifted and not (self._all is not None and self._all.shifted)
        if easier:
            together = self._easy
        check = partial(
            FairnessCheck,
            candidates=len(self._candidates),
            references=len(self._references),
            auc=None if together is None else together.auc,
            p_value=None if together is None else together.p,
        )
        kinds = {of.grade for of in grades}
        if (together is not None and together.shifted) or (unlike and Comparability.COMPARABLE not in kinds):
            grade = Comparability.SHIFTED
        elif Comparability.COMPARABLE in kinds:
            grade = Comparability.COMPARABLE
        else:
            why = FEW if any(text.content for text in self._candidates) else NOTHING
            return check(Comparability.NOT_CHECKABLE, why, unlike=0, words=())
        reason = self._differences(unlike) if unlike else ""
        reason = EASIER if easier and reason == OTHER_WORDS else reason
        return check(grade, reason, unlike=len(unlike), words=self._words(unlike))

    def _differences(self, unlike: Sequence[Compared]) -> str:
        """In which shapes these texts differ from the references, the clearest first; with medians."""
        own, held = (shapes([text.content for text in some]) for some in (unlike, self._references))
        labels = np.repeat([1.0, 0.0], [len(own), len(held)])[:, None]
        group = np.array([text.group for text in (*unlike, *self._references)])
        areas = _areas(np.concatenate([own, held]), labels, group)
        clearest = [i for i in np.argsort(-np.abs(areas - 0.5), kind="stable") if abs(areas[i] - 0.5) > SHAPE_AUC - 0.5]
        said = [
            f"{SHAPES[i][int(areas[i] > 0.5)]} ({_median(i, own)}, held-out {_median(i, held)})"
            for i in clearest[:SHAPES_NAMED]
        ]
        return ", ".join(said) or OTHER_WORDS

    def _words(self, unlike: Sequence[Compared]) -> tuple[str, ...]:
        """Words that set these texts apart, each in at least two of them that are not alike."""
        same = dict(zip(self._candidates, self._alike.tolist(), strict=False))
        of = list({same[text]: text.content for text in unlike}.values())
        own = Counter(word for content in of for word in words(content))
        held = Counter(word for text in self._references for word in words(text.content))

        def strength(word: str) -> float:
            rare = (held[word] + 0.5) / (len(self._references) + 1)
            return float(own[word] * np.log(own[word] / len(of) / rare))

        some = [word for word, count in own.items() if count > 1 and strength(word) > 0]
        return tuple(sorted(some, key=lambda word: (-strength(word), word))[:WORDS_NAMED])


class _Together:
    """A classifier that tells candidates from references: its AUC, its p, and its score of any text."""

    def __init__(self, texts: Sequence[Compared], candidates: int, same: Int[np.ndarray, " texts"]) -> None:
        """The first so many are candidates. Of those with one number in `same` one is learned from."""
        is_candidate = np.arange(len(texts)) < candidates
        _, learned = np.unique(same, return_index=True)
        # Texts in the order of their hashes are dealt out to the folds, so that labels and order have no part in it.
        dealt = sorted(learned.tolist(), key=lambda i: texts[i].order)
        fold_of = {int(same[i]): number % FOLDS for number, i in enumerate(dealt)}
        x = features([texts[i].content for i in dealt])
        fold = np.arange(len(dealt)) % FOLDS
        group = np.array([texts[i].group for i in dealt])
        labels = is_candidate[dealt].astype(np.float32)[:, None]
        self._weights = np.stack([_weights(x[fold != k], labels[fold != k])[:, 0] for k in range(FOLDS)], axis=1)
        self._fold = {(t.content, t.group): fold_of[i] for t, i in zip(texts, same.tolist(), strict=True)}
        own = _normed(x, x @ self._weights)[np.arange(len(dealt)), fold]
        self.auc = float(_areas(own[:, None], labels, group)[0])
        self.p = _chance(x, labels, fold, group, self.auc) if self.auc >= SHIFTED_AUC else None
        self.shifted = self.p is not None and self.p < SHIFTED_P
        self.bound = _bound(own, labels[:, 0] > 0)

    def scores(self, texts: Sequence[Compared], x: csr_matrix) -> Float[np.ndarray, " texts"]:
        """Log-odds of being a candidate, by the fold that has not learned from the text; by all, of other texts."""
        every = _normed(x, x @ self._weights)
        folds = [self._fold.get((text.content, text.group)) for text in texts]
        return np.array([row.mean() if k is None else row[k] for row, k in zip(every, folds, strict=True)])


class _Easier:
    """Whether candidates are more ordinary than references, as a model of the references' n-grams finds."""

    def __init__(self, texts: Sequence[Compared], candidates: int, same: Int[np.ndarray, " texts"]) -> None:
        """See `_Together`."""
        _, distinct = np.unique(same, return_index=True)
        own = distinct < candidates
        held = [texts[i].content for i in distinct[~own]]
        self._model = Ordinary(held)
        self._place = {content: number for number, content in enumerate(held)}
        scores = self.scores([texts[i] for i in distinct])
        group = np.array([texts[i].group for i in distinct])
        labels = own.astype(np.float32)[:, None]
        self.auc = float(_areas(scores[:, None], labels, group)[0])
        self.p = self._chance(scores, labels, group) if self.auc >= SHIFTED_AUC else None
        self.shifted = self.p is not None and self.p < SHIFTED_P
        self.bound = _bound(scores, own)

    def scores(self, texts: Sequence[Compared]) -> Float[np.ndarray, " texts"]:
        """How ordinary each text is, without itself among the references."""
        own = np.array([self._place.get(text.content, -1) for text in texts], dtype=np.int64)
        return np.round(self._model.scores([text.content for text in texts], own), 6)

    def _chance(self, scores: np.ndarray, labels: np.ndarray, group: np.ndarray) -> float:
        drawn = _labellings(labels, group, LABELLINGS, np.random.default_rng(0))
        as_well = _areas(np.repeat(scores[:, None], LABELLINGS, axis=1), drawn, group) >= self.auc - 1e-9
        return (1 + int(as_well.sum())) / (LABELLINGS + 1)


def _labellings(
    labels: Float[np.ndarray, "texts 1"], group: Int[np.ndarray, " texts"], count: int, numbers: np.random.Generator
) -> Float[np.ndarray, "texts labellings"]:
    """So many random labellings, with as many candidates in each group as there are."""
    drawn = np.empty((len(labels), count), dtype=np.float32)
    for g in np.unique(group):
        members = np.flatnonzero(group == g)
        drawn[members] = numbers.permuted(np.repeat(labels[members], count, axis=1), axis=0)
    return drawn


def _weights(x: csr_matrix, labels: Float[np.ndarray, "texts labellings"]) -> Float[np.ndarray, "features labellings"]:
    """The log-odds of every feature under every labelling at once: multinomial naive Bayes, Lidstone smoothing.

    Features that stand in no text weigh nothing.
    """
    own = x.T @ labels
    whole = np.asarray(x.sum(axis=0)).reshape(-1, 1)
    held = whole - own
    present = int((whole > 0).sum())
    out = np.log(own + SMOOTHING) - np.log(held + SMOOTHING)
    out -= np.log(own.sum(axis=0) + SMOOTHING * present) - np.log(held.sum(axis=0) + SMOOTHING * present)
    out[whole[:, 0] == 0] = 0.0
    return np.asarray(out, dtype=np.float32)


def _normed(x: csr_matrix, scores: np.ndarray) -> np.ndarray:
    """Sums over the features of each text, of equal spread whatever their number."""
    return np.asarray(scores / np.sqrt(np.maximum(1, np.diff(x.indptr)))[:, None])


def _chance(x: csr_matrix, labels: np.ndarray, fold: np.ndarray, group: np.ndarray, auc: float) -> float:
    """The share of random labellings within the groups that are told apart as well, the true one counted."""
    x = x[:, np.flatnonzero(np.bincount(x.indices, minlength=x.shape[1]))]
    numbers = np.random.default_rng(0)
    as_well = 0
    for first in range(0, LABELLINGS, LABELLINGS_AT_ONCE):
        drawn = _labellings(labels, group, min(LABELLINGS_AT_ONCE, LABELLINGS - first), numbers)
        scores = np.empty_like(drawn)
        for k in range(FOLDS):
            scores[fold == k] = x[fold == k] @ _weights(x[fold != k], drawn[fold != k])
        as_well += int((_areas(_normed(x, scores), drawn, group) >= auc - 1e-9).sum())
    return (1 + as_well) / (LABELLINGS + 1)


def _areas(
    scores: Float[np.ndarray, "texts columns"], labels: Float[np.ndarray, "texts _"], group: Int[np.ndarray, " texts"]
) -> Float[np.ndarray, " columns"]:
    """The AUC of each column: of all pairs of a candidate and a reference of one group, the share in order."""
    won, pairs = np.zeros(scores.shape[1]), np.zeros(scores.shape[1])
    for g in np.unique(group):
        own = np.broadcast_to(labels[group == g], scores[group == g].shape)
        count = own.sum(axis=0)
        ranks = rankdata(scores[group == g], axis=0)
        won += (ranks * own).sum(axis=0) - count * (count + 1) / 2
        pairs += count * (len(own) - count)
    return np.where(pairs > 0, won / np.maximum(pairs, 1), 0.5)


def _bound(scores: Float[np.ndarray, " texts"], candidate: np.ndarray) -> float:
    """Above which score texts are more common among candidates than among references: where the shares differ most."""
    order = np.argsort(scores, kind="stable")
    ranked, own = scores[order], candidate[order]
    # After each text: the share of candidates above it minus that of references.
    ahead = np.cumsum(~own) / max(1, (~own).sum()) - np.cumsum(own) / max(1, own.sum())
    distinct = np.append(ranked[1:] > ranked[:-1], True)
    best = int(np.argmax(np.where(distinct, ahead, -np.inf)))
    return float(ranked[best] if best + 1 == len(ranked) else (ranked[best] + ranked[best + 1]) / 2)


class _References:
    """References of a group: how far the nearest of the others is from each, and the shapes that they have."""

    def __init__(self, contents: Sequence[Content], same: Int[np.ndarray, " texts"]) -> None:
        """Of those with one number in `same` one counts."""
        _, distinct = np.unique(same, return_index=True)
        self._points = _points(features([contents[i] for i in distinct]))
        among = self._points @ self._points.T
        np.fill_diagonal(among, -1.0)
        self._nearest = np.sort(_rounded(among.max(axis=1)))
        self._lows, self._highs = np.quantile(shapes(contents), [SHAPE_TAIL, 1 - SHAPE_TAIL], axis=0)

    def __len__(self) -> int:
        return len(self._nearest)

    def unlike(self, x: csr_matrix, candidates: int) -> np.ndarray:
        """Which texts, of so many candidates, are farther from all references than nearly all of these from each other.
        Without regard to their number an innocent audit of 50 would call one out in two of five cases."""
        nearest = _rounded((_points(x) @ self._points.T).max(axis=1))
        # References that are as far from the others, ties included.
        as_far = np.searchsorted(self._nearest, nearest, side="right")
        n = len(self)
        return np.asarray((1 + as_far) / (n + 1) <= max(UNLIKE_P / max(1, candidates), 1 / (n + 1)))

    def differs(self, content: Content) -> str:
        """What sets the shape of a text apart from nearly all references; its words, if nothing does."""
        shape = shapes([content])[0]
        said = [pair[0] for pair, out in zip(SHAPES, shape < self._lows, strict=True) if out]
        said += [pair[1] for pair, out in zip(SHAPES, shape > self._highs, strict=True) if out]
        return ", ".join(said[:SHAPES_NAMED]) or OTHER_WORDS


def _rounded(cosines: np.ndarray) -> np.ndarray:
    """So that a cosine does not depend on the texts that it is computed beside."""
    return np.round(cosines, 4)


def _points(x: csr_matrix) -> Float[np.ndarray, "texts dimensions"]:
    """Unit vectors, folded into fewer dimensions with a sign each, which keeps their cosines in the mean."""
    columns = np.arange(x.shape[1])
    signs = np.where((columns * 0x9E3779B1 >> 16) & 1, 1.0, -1.0).astype(np.float32)
    fold = csr_matrix((signs, (columns, columns % NEIGHBOUR_DIMENSIONS)), shape=(x.shape[1], NEIGHBOUR_DIMENSIONS))
    points = (x @ fold).toarray()
    return np.asarray(points / np.maximum(1e-9, np.linalg.norm(points, axis=1, keepdims=True)), dtype=np.float32)


def _members(texts: Sequence[Compared]) -> Iterator[tuple[int, Int[np.ndarray, " members"]]]:
    """The groups of some texts, and the numbers of the texts in each."""
    of = np.array([text.group for text in texts], dtype=np.int64)
    for group in np.unique(of):
        yield int(group), np.flatnonzero(of == group)


def _median(shape: int, values: Float[np.ndarray, "texts shapes"]) -> str:
    value = float(np.median(values[:, shape]))
    if shape == 0:
        return f"{value:.0f} characters"
    return f"{value:.1f} letters" if shape == len(SHAPES) - 1 else f"{value:.0%}"
