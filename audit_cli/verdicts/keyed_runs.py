"""Near-duplicates without text: `duplicates.NearDuplicates` on keyed hashes of the runs of tokens that it looks for.

A plain hash of a run is reversed by whoever guesses the text. These are of a key that is in no file.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from jaxtyping import Int64, UInt64
from msgspec import Meta

from audit_cli.verdicts.duplicates import LEAST_RUN, run_length

# Of a hash. Among a million runs and as many of candidates one pair in three hundred audits is alike by chance, and
# costs one reference.
HASH_BYTES = 6


@dataclass(frozen=True)
class Mark:
    """What is looked for: a run of so many tokens, wherever it stands, or, where texts are shorter than any run, their
    whole `beginning`. `hashes` has a string a text: its distinct hashes, sorted, in base64."""

    tokens: Annotated[int, Meta(ge=1, le=1 << 20)]
    beginning: bool
    hashes: list[str]


class Keyed:
    """The hashes under one key."""

    def __init__(self, key: bytes) -> None:
        """`key` is for this alone: no other hash of the program is made with it."""
        self._key = key

    @property
    def check(self) -> str:
        """Tells whether another key is the same one, and nothing of it."""
        return hashlib.sha256(b"check" + self._key).hexdigest()[:16]

    def of(self, tokens: Sequence[int] | np.ndarray, length: int, beginning: bool) -> UInt64[np.ndarray, " hashes"]:
        """Sorted, distinct hashes of a text's runs of so many tokens, or of its first tokens alone."""
        each = np.asarray(tokens, dtype="<u8").tobytes()
        kind = b"beginning" if beginning else b"run"
        last = min(len(tokens) - length, 0 if beginning else len(tokens))
        hashes = [
            hmac.digest(self._key, kind + each[8 * i : 8 * (i + length)], "sha256")[:HASH_BYTES]
            for i in range(last + 1)
        ]
        return np.unique(_numbers(b"".join(hashes)))

    def mark(self, texts: Sequence[Sequence[int]], length: int, beginning: bool) -> Mark:
        """What is looked for in these texts."""
        found = (_bytes(self.of(text, length, beginning)) for text in texts)
        return Mark(length, beginning, [base64.b64encode(hashes).decode("ascii") for hashes in found])


def looked_for(shortest: int, longest: int) -> Iterator[tuple[int, bool]]:
    """How candidates of these lengths are looked for: tokens, and whether these are a text's beginning. As
    `NearDuplicates` does it, all of a band by the run of its shortest."""
    yield from ((tokens, True) for tokens in range(shortest, min(longest, LEAST_RUN - 1) + 1))
    if longest >= LEAST_RUN:
        yield run_length(shortest), False


class NearMarks:
    """Which texts are near-duplicates of candidates, which pass by one at a time: `NearDuplicates` on marks."""

    def __init__(self, marks: Sequence[Mark], bands: Sequence[tuple[int, int]], keyed: Keyed) -> None:
        """`bands` are shortest and longest length of the candidates that are looked for."""
        self._marks = {(mark.tokens, mark.beginning): mark for mark in marks}
        self._bands, self._keyed = bands, keyed
        self._known: dict[tuple[int, bool], tuple[np.ndarray, np.ndarray]] = {}
        self.found: set[int] = set()

    def look(self, candidate: Sequence[int]) -> None:
        """Add to `found` the numbers of the texts that are near-duplicates of this candidate."""
        among = next((ends for ends in self._bands if ends[0] <= len(candidate) <= ends[1]), None)
        if among is None:
            return
        for tokens, beginning in looked_for(*among):
            if beginning and tokens != len(candidate):
                continue
            known, owner = self._index(tokens, beginning)
            own = self._keyed.of(candidate, tokens, beginning)
            first, last = np.searchsorted(known, own, "left"), np.searchsorted(known, own, "right")
            for a, b in zip(first[last > first], last[last > first], strict=True):
                self.found.update(owner[a:b].tolist())

    def _index(self, tokens: int, beginning: bool) -> tuple[UInt64[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
        """Sorted hashes, and whose each is."""
        which = (tokens, beginning)
        if which not in self._known:
            mark = self._marks.get(which)
            hashes = [] if mark is None else [_numbers(unpacked(text)) for text in mark.hashes]
            owner = np.repeat(np.arange(len(hashes)), [len(h) for h in hashes])
            values = np.concatenate([np.empty(0, np.uint64), *hashes])
            order = np.argsort(values, kind="stable")
            self._known[which] = values[order], owner[order]
        return self._known[which]


def unpacked(text: str) -> bytes:
    """The bytes of a text's hashes. Raises ValueError on what holds none."""
    try:
        found = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("hashes are base64") from None
    if len(found) % HASH_BYTES:
        raise ValueError(f"hashes have {HASH_BYTES} bytes each")
    return found


def _numbers(hashes: bytes) -> UInt64[np.ndarray, " hashes"]:
    padded = np.zeros((len(hashes) // HASH_BYTES, 8), dtype=np.uint8)
    padded[:, 8 - HASH_BYTES :] = np.frombuffer(hashes, dtype=np.uint8).reshape(-1, HASH_BYTES)
    return padded.view(">u8")[:, 0].astype(np.uint64)


def _bytes(numbers: UInt64[np.ndarray, " hashes"]) -> bytes:
    return numbers.astype(">u8").view(np.uint8).reshape(-1, 8)[:, 8 - HASH_BYTES :].tobytes()
