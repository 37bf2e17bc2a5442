"""Whom a text of a given length is compared with.

A mean over few tokens varies more than one over many: against references four times as long, 84 % of innocent short
texts would look memorized. And a network trained on rows of one length is more surprised by rows of another. So
held-out text is cut, deterministically and before it is scored, to the lengths that the candidates have.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Lengths within a band differ by at most a quarter.
RATIO = 1.25


@dataclass(frozen=True)
class Band:
    """The lengths of the candidates that are compared with one set of references, each as often as it occurs."""

    lengths: tuple[int, ...]

    def cut(self, tokens: Sequence[int]) -> int | None:
        """To how many of its tokens a held-out text is cut for this band; None if it is too short for it.

        A text of a candidate's length stays whole; of a longer one a candidates' length is drawn, by a hash of its
        tokens, so that references have the same lengths as the candidates, in the same shares.
        """
        if len(tokens) in self.lengths:
            return len(tokens)
        possible = [n for n in self.lengths if n <= len(tokens)]
        if not possible:
            return None
        digest = hashlib.blake2b(np.asarray(tokens, dtype="<i8").tobytes(), digest_size=8).digest()
        return possible[int.from_bytes(digest, "little") % len(possible)]


def bands(lengths: Sequence[int]) -> list[Band]:
    """Bands that cover the given lengths, from the longest down."""
    out: list[Band] = []
    remaining = sorted(lengths, reverse=True)
    while remaining:
        members = [n for n in remaining if n * RATIO >= remaining[0]]
        out.append(Band(tuple(members)))
        remaining = remaining[len(members) :]
    return out


def band_of(length: int, among: Sequence[Band]) -> int:
    """Index of the band that holds a length."""
    return next(i for i, band in enumerate(among) if length in band.lengths)


def shingle_size(length: int) -> int:
    """Tokens that two texts must share in one run to be near-duplicates: three quarters of the shorter, at least 8."""
    return max(8, -(-3 * length // 4))


def near_duplicates(references: Sequence[Sequence[int]], candidates: Sequence[Sequence[int]]) -> set[int]:
    """Indices of references that are a candidate's beginning or share a long run of tokens with one.

    A run is long relative to the shortest text involved, since characters share runs of eight with anything.
    """
    if not references or not candidates:
        return set()
    size = shingle_size(min(min(map(len, references)), min(map(len, candidates))))
    known = {tuple(c[i : i + size]) for c in candidates for i in range(len(c) - size + 1)}
    whole = {tuple(c[:n]) for n in {len(r) for r in references} for c in candidates}
    return {
        i
        for i, r in enumerate(references)
        if tuple(r) in whole or any(tuple(r[k : k + size]) in known for k in range(len(r) - size + 1))
    }
