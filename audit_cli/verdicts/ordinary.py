"""How ordinary a text is among others: its likelihood under an n-gram model of them.

No measure of how hard a text is for a network, and no score is corrected by it. But candidates that are plainly more
ordinary than the held-out text are likely easier for any network, and then a plain comparison takes ease for memory.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt64

from audit_cli.verdicts.duplicates import mix
from audit_cli.verdicts.kinds import Content, codes, looked_at

ORDER = 5
# How much the next shorter context counts beside what was seen after a longer one.
BACKOFF = 4.0
_ODD = np.uint64(0x9E3779B97F4A7C15)

Hashes = UInt64[np.ndarray, " positions"]


class Ordinary:
    """An interpolated model of the grams of up to ORDER characters (token ids, where nobody can spell them)."""

    def __init__(self, contents: Sequence[Content]) -> None:
        grams, contexts, owner = _positions(contents)
        self._symbols = len(np.unique(grams[0])) + 1 if len(owner) else 1
        self._grams = [_Counts(hashes, owner) for hashes in grams]
        self._contexts = [_Counts(hashes, owner) for hashes in contexts]

    def scores(
        self, contents: Sequence[Content], own: Int[np.ndarray, " texts"] | None = None
    ) -> Float[np.ndarray, " texts"]:
        """Mean log-probability of a symbol of each text. `own` says which of the learned texts each one is (-1: none):
        that one is left out of its own model."""
        grams, contexts, owner = _positions(contents)
        left_out = np.full(len(owner), -1) if own is None else np.asarray(own)[owner]
        p = np.full(len(owner), 1 / self._symbols)
        for gram, context, seen, before in zip(grams, contexts, self._grams, self._contexts, strict=True):
            p = (seen.of(gram, left_out) + BACKOFF * p) / (before.of(context, left_out) + BACKOFF)
        length = np.bincount(owner, minlength=len(contents))
        total = np.bincount(owner, weights=np.log(p), minlength=len(contents))
        # Of nothing nothing can be said: it is as ordinary as can be expected of chance.
        return np.where(length > 0, total / np.maximum(1, length), -np.log(self._symbols))


class _Counts:
    """How often hashes occur, altogether and in each text."""

    def __init__(self, hashes: Hashes, owner: np.ndarray) -> None:
        self._all = np.unique(hashes, return_counts=True)
        self._own = np.unique(_with(hashes, owner), return_counts=True)

    def of(self, hashes: Hashes, left_out: np.ndarray) -> Float[np.ndarray, " positions"]:
        """The count of each, without those in the text that is left out there (-1: none)."""
        return _looked_up(self._all, hashes) - np.where(
            left_out < 0, 0.0, _looked_up(self._own, _with(hashes, left_out))
        )


def _looked_up(table: tuple[np.ndarray, np.ndarray], hashes: Hashes) -> Float[np.ndarray, " positions"]:
    known, counts = table
    if not len(known):
        return np.zeros(len(hashes))
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    return np.where(known[at] == hashes, counts[at], 0).astype(np.float64)


def _with(hashes: Hashes, owner: np.ndarray) -> Hashes:
    """The hash of a hash and the number of a text."""
    with np.errstate(over="ignore"):
        return mix(hashes ^ mix((owner + 1).astype(np.uint64) * _ODD))


def _positions(contents: Sequence[Content]) -> tuple[list[Hashes], list[Hashes], np.ndarray]:
    """At every symbol of the texts the hashes of the grams of 1 to ORDER symbols that end there, of what stands before
    their last symbol, and whose symbol it is."""
    blank = np.zeros(ORDER - 1, dtype=np.int64)
    numbers = [codes(looked_at(content)) + 1 for content in contents]
    whole = np.concatenate([np.empty(0, np.int64), *(part for n in numbers for part in (blank, n))]).astype(np.uint64)
    owner = np.repeat(np.arange(len(numbers)), [len(n) for n in numbers])
    real = whole > 0
    grams, contexts = [], []
    shorter = np.zeros(len(whole), dtype=np.uint64)
    for _ in range(ORDER):
        before = np.concatenate([shorter[:1], shorter[:-1]])
        with np.errstate(over="ignore"):
            shorter = mix(before * _ODD + whole)
        grams.append(shorter[real])
        contexts.append(before[real])
    return grams, contexts, owner
