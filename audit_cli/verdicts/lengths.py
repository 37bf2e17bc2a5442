"""Whom a text of a given length is compared with.

A mean over few tokens varies more than one over many: against references four times as long, 84 % of innocent short
texts would look memorized. And a network trained on rows of one length is more surprised by rows of another. So
held-out text is cut, deterministically and before it is scored, to the lengths that the candidates have.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

# Lengths within a band differ by at most a quarter.
RATIO = 1.25


@dataclass(frozen=True)
class Band:
    """Lengths of candidates that are compared with one set of references, each with how many candidates have it."""

    counts: Mapping[int, int]

    def cut(self, tokens: Sequence[int]) -> int | None:
        """To how many of its tokens a held-out text is cut for this band; None if it is too short for it.

        A text of a candidate's length stays whole; of a longer one a candidates' length is drawn, by a hash of its
        tokens, so that references have the same lengths as the candidates, in the same shares.
        """
        if len(tokens) in self.counts:
            return len(tokens)
        possible = sorted(n for n in self.counts if n < len(tokens))
        if not possible:
            return None
        drawn = drawn_number(tokens, sum(self.counts[n] for n in possible))
        for n in possible:
            drawn -= self.counts[n]
            if drawn < 0:
                return n
        raise AssertionError("a number below the sum lies in one of its parts")


def bands(lengths: Mapping[int, int]) -> list[Band]:
    """Bands that cover the lengths, each given with how many candidates have it, from the longest down."""
    out: list[Band] = []
    remaining = sorted(lengths, reverse=True)
    while remaining:
        members = [n for n in remaining if n * RATIO >= remaining[0]]
        out.append(Band({n: lengths[n] for n in members}))
        remaining = remaining[len(members) :]
    return out


def drawn_number(tokens: Sequence[int], below: int) -> int:
    """A number in [0, below) that only the tokens decide."""
    digest = hashlib.blake2b(np.asarray(tokens, dtype="<i8").tobytes(), digest_size=8).digest()
    return int.from_bytes(digest, "little") % below
