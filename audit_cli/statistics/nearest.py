"""The nearest of many texts to a row of tokens by edit similarity, exactly.

A bound that costs next to nothing, of the tokens that two texts have in common whatever their order, says which texts
cannot be nearest; the distances of the others are computed side by side, a text a lane of the vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64, UInt64

from audit_cli.records import Nearest

# From this similarity on a text is near.
NEAR = 0.9
# Texts whose distances are computed first, those that may be nearest; then four times as many, and so on.
FIRST = 256
WORD = 64


class NearestSearch:
    """For each of some rows of tokens the nearest of the texts that pass by, in portions, each with its id.

    A text that is a row's copy (see `Nearest`) comes before all others, then the most similar, then the first.
    """

    def __init__(self, rows: Sequence[Sequence[int]]) -> None:
        self._rows = [np.asarray(row, dtype=np.int64) for row in rows]
        self.found: list[Nearest | None] = [None] * len(rows)

    def look(self, texts: Sequence[Sequence[int]], ids: Sequence[str]) -> None:
        """Compare every row with the next texts, none of them empty. To an empty row no text is near."""
        if not len(texts):
            return
        block = _Block.of(texts)
        for i, row in enumerate(self._rows):
            if len(row):
                self.found[i] = block.nearest(row, self.found[i], ids)


@dataclass(frozen=True)
class _Block:
    """Texts as tables: `columns` has the place of each token in `vocabulary`, a column a text, zeros after its end;
    the texts that hold token v are `owner[start[v] : start[v + 1]]`, `count` times each."""

    lengths: Int64[np.ndarray, " texts"]
    columns: Int64[np.ndarray, "longest texts"]
    vocabulary: Int64[np.ndarray, " vocabulary"]
    start: Int64[np.ndarray, " vocabulary+1"]
    owner: Int64[np.ndarray, " postings"]
    count: Int64[np.ndarray, " postings"]

    @classmethod
    def of(cls, texts: Sequence[Sequence[int]]) -> "_Block":
        lengths = np.array([len(text) for text in texts], dtype=np.int64)
        flat = np.concatenate([np.asarray(text, dtype=np.int64) for text in texts])
        vocabulary, place = np.unique(flat, return_inverse=True)
        owner = np.repeat(np.arange(len(texts)), lengths)
        position = np.arange(len(flat)) - np.repeat(lengths.cumsum() - lengths, lengths)
        columns = np.zeros((int(lengths.max()), len(texts)), dtype=np.int64)
        columns[position, owner] = place
        posting, count = np.unique(place * len(texts) + owner, return_counts=True)
        start = np.searchsorted(posting, np.arange(len(vocabulary) + 1) * len(texts))
        return cls(lengths, columns, vocabulary, start, posting % len(texts), count)

    def nearest(self, row: np.ndarray, best: Nearest | None, ids: Sequence[str]) -> Nearest | None:
        """The nearest of these texts, or what was before if none of them is nearer."""
        bound = self.bounds(row)
        open_texts = np.argsort(-bound, kind="stable")
        # Of an earlier portion: it goes before all texts of this one that are as near.
        at, size = -1, FIRST
        while True:
            if best is not None:
                of = bound[open_texts]
                may = (of > best.similarity) | ((of == best.similarity) & (open_texts < at))
                open_texts = open_texts[may if best.copy else may | (of >= NEAR)]
            some, open_texts = open_texts[:size], open_texts[size:]
            if not len(some):
                return best
            size *= 4
            longest = np.maximum(self.lengths[some], len(row))
            similarity = 1 - self.distances(row, some) / longest
            key = (False, -1.0, 0) if best is None else (best.copy, best.similarity, -at)
            # What is not near cannot be a copy: of those only the most similar, the first of equals, matters.
            top = np.flatnonzero((similarity >= NEAR) | (similarity == similarity.max()))
            for index, alike in zip(some[top].tolist(), similarity[top].tolist(), strict=True):
                if (alike >= NEAR, alike, -index) <= key:
                    continue
                copy = alike >= NEAR and _within(self.text(index), row.tolist())
                if (copy, alike, -index) > key:
                    key, at = (copy, alike, -index), index
                    best = Nearest(ids[index], alike, copy)

    def text(self, index: int) -> list[int]:
        """The tokens of a text."""
        out: list[int] = self.vocabulary[self.columns[: self.lengths[index], index]].tolist()
        return out

    def bounds(self, row: np.ndarray) -> Float64[np.ndarray, " texts"]:
        """What no text's similarity exceeds: an alignment matches at most the tokens that both have, and every other
        token of the longer one costs an edit."""
        shared = np.zeros(len(self.lengths), dtype=np.int64)
        for token, wanted in zip(*np.unique(row, return_counts=True), strict=True):
            v = int(np.searchsorted(self.vocabulary, token))
            if v < len(self.vocabulary) and self.vocabulary[v] == token:
                those = slice(self.start[v], self.start[v + 1])
                shared[self.owner[those]] += np.minimum(self.count[those], wanted)
        longest = np.maximum(self.lengths, len(row))
        out: np.ndarray = 1 - (longest - shared) / longest
        return out

    def distances(self, row: np.ndarray, texts: Int64[np.ndarray, " some"]) -> Int64[np.ndarray, " some"]:
        """Levenshtein's distance of the row to each of these texts.

        As in `edit_distance` a column of the table is bits, here in words of 64 with carries between them (Hyyrö
        2003), for all texts at once. The longest come first, so that those under way are always the first ones.
        """
        order = np.argsort(-self.lengths[texts], kind="stable")
        columns, lengths = self.columns[:, texts[order]], self.lengths[texts[order]]
        masks = self._masks(row)
        words, one = len(masks), np.uint64(1)
        plus = np.full((words, len(texts)), ~np.uint64(0))
        minus = np.zeros((words, len(texts)), dtype=np.uint64)
        distance = np.full(len(texts), len(row), dtype=np.int64)
        end = np.uint64((len(row) - 1) % WORD)
        for j in range(int(lengths[0])):
            active = int(np.searchsorted(-lengths, -j, side="left"))
            token = columns[j, :active]
            more_in: np.ndarray | np.uint64 = one
            less_in: np.ndarray | np.uint64 = np.uint64(0)
            for w in range(words):
                p, m, same = plus[w, :active], minus[w, :active], masks[w][token]
                vertical = same | m
                same |= less_in
                zero = (((same & p) + p) ^ p) | same
                more, less = m | ~(zero | p), p & zero
                if w == words - 1:
                    distance[:active] += (more >> end & one).astype(np.int64) - (less >> end & one).astype(np.int64)
                more_out, less_out = more >> np.uint64(63), less >> np.uint64(63)
                more, less = more << one | more_in, less << one | less_in
                plus[w, :active], minus[w, :active] = less | ~(vertical | more), more & vertical
                more_in, less_in = more_out, less_out
        out = np.empty_like(distance)
        out[order] = distance
        return out

    def _masks(self, row: np.ndarray) -> UInt64[np.ndarray, "words vocabulary"]:
        """Bits of the positions at which the row has each token of the vocabulary."""
        place = np.searchsorted(self.vocabulary, row)
        there = (place < len(self.vocabulary)) & (self.vocabulary[np.minimum(place, len(self.vocabulary) - 1)] == row)
        masks = np.zeros((-(-len(row) // WORD), len(self.vocabulary)), dtype=np.uint64)
        position = np.flatnonzero(there)
        np.bitwise_or.at(
            masks, (position // WORD, place[position]), np.uint64(1) << (position % WORD).astype(np.uint64)
        )
        return masks


def _within(a: list[int], b: list[int]) -> bool:
    """Whether the shorter of two rows stands in the longer one, without a gap."""
    short, long = sorted((a, b), key=len)
    return any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
