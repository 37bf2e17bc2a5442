"""Held-out texts that are candidates in disguise: an exact copy, or a long run of tokens in common.

Two such references in a hundred cost nearly all power, since a candidate is then compared with itself.
"""

from collections.abc import Sequence

import numpy as np

# A shared run is this share of the shorter text, and never shorter than LEAST_RUN tokens, since characters share runs
# of eight with anything. Texts that are compared with each other differ in length by a quarter at most.
SHARE, RATIO, LEAST_RUN = 0.75, 1.25, 8
# Runs are looked for in these lengths only, each 1.25 times the one before, so that few indices are needed.
_RUNS = sorted({round(LEAST_RUN * 1.25**k) for k in range(60)})
# An odd number has an inverse modulo 2**64.
BASE = np.uint64(0xD1342543DE82EF95)
INVERSE = np.uint64(pow(0xD1342543DE82EF95, -1, 1 << 64))


def run_length(tokens: int) -> int:
    """Tokens in a row that a held-out text must share with a candidate of that many tokens to be its near-duplicate."""
    needed = SHARE * tokens / RATIO
    return max((run for run in _RUNS if run <= needed), default=LEAST_RUN)


class NearDuplicates:
    """Which of some held-out texts are near-duplicates of candidates, which pass by one at a time."""

    def __init__(self, heldout: Sequence[Sequence[int] | np.ndarray], longest: int) -> None:
        """`heldout` are token ids, whole; of texts longer than `longest` windows of that length are compared."""
        self._longest = longest
        self._mixed = [mix(np.asarray(text, dtype=np.uint64)) for text in heldout]
        self._runs: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._beginnings: dict[int, dict[int, list[int]]] = {}
        self.found: set[int] = set()

    def look(self, candidate: Sequence[int] | np.ndarray) -> None:
        """Add to `found` the indices of held-out texts that are near-duplicates of this candidate."""
        if not self._mixed or not len(candidate):
            return
        mixed = mix(np.asarray(candidate, dtype=np.uint64))
        if len(candidate) < LEAST_RUN:
            whole = int(_run_hashes(mixed, len(candidate))[0])
            self.found.update(self._beginning(len(candidate)).get(whole, ()))
            return
        length = run_length(min(len(candidate), self._longest))
        known, owner = self._index(length)
        own = np.unique(_run_hashes(mixed, length))
        first, last = np.searchsorted(known, own, "left"), np.searchsorted(known, own, "right")
        for a, b in zip(first[last > first], last[last > first], strict=True):
            self.found.update(owner[a:b].tolist())

    def _index(self, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Sorted hashes of all runs of that length in the held-out texts, and whose they are."""
        if length not in self._runs:
            hashes = [_run_hashes(text, length) for text in self._mixed]
            owner = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
            values = np.concatenate(hashes)
            order = np.argsort(values, kind="stable")
            self._runs[length] = values[order], owner[order]
        return self._runs[length]

    def _beginning(self, length: int) -> dict[int, list[int]]:
        """The texts by the hash of their first tokens: very short candidates occur inside everything."""
        if length not in self._beginnings:
            found: dict[int, list[int]] = {}
            for i, text in enumerate(self._mixed):
                if len(text) >= length:
                    found.setdefault(int(_run_hashes(text[:length], length)[0]), []).append(i)
            self._beginnings[length] = found
        return self._beginnings[length]


def mix(x: np.ndarray) -> np.ndarray:
    """splitmix64 of every token, so that sums of powers of them do not collide."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return x ^ (x >> np.uint64(31))


def _run_hashes(mixed: np.ndarray, length: int) -> np.ndarray:
    """A 64-bit hash of every run of that many tokens: a polynomial in an odd base, from differences of its sums."""
    count = len(mixed) - length + 1
    if count <= 0:
        return np.empty(0, dtype=np.uint64)
    with np.errstate(over="ignore"):
        sums = np.concatenate([np.zeros(1, np.uint64), np.cumsum(mixed * powers(BASE, len(mixed)), dtype=np.uint64)])
        # Scaled back to the first power, so that the same run hashes alike wherever it stands.
        return mix((sums[length:] - sums[:count]) * powers(INVERSE, count))


def powers(base: np.uint64, count: int) -> np.ndarray:
    """1, base, base squared, ... modulo 2**64."""
    return np.concatenate([np.ones(1, np.uint64), np.cumprod(np.full(count - 1, base, np.uint64), dtype=np.uint64)])
