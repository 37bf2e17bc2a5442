"""Which random number belongs to what.

Every number is Philox-4x32-10 under a key that is a hash of (seed, token ids), at a counter that says what it is
for: (purpose and restart, level by value, step, position). So it does not depend on batch size, order, shard,
device or resume, and texts with the same tokens share their numbers.
"""

import hashlib
from collections.abc import Sequence
from enum import IntEnum

import numpy as np

MAX_RESTARTS = 1 << 28


class Purpose(IntEnum):
    """The upper four bits of the counter's first word."""

    CORRUPT = 1
    REVERSE = 2
    GENERATE = 3
    PROBE = 4
    FLIP = 5


def sequence_key(seed: int, tokens: Sequence[int]) -> tuple[int, int]:
    """The Philox key of a row of tokens: 64 bits of BLAKE2b over the seed and the ids. It never leaves the process."""
    digest = hashlib.blake2b(digest_size=8, person=b"uddm-audit key")
    digest.update(seed.to_bytes(16, "little", signed=True))
    digest.update(np.asarray(tokens, dtype="<i8").tobytes())
    value = int.from_bytes(digest.digest(), "little")
    return value & 0xFFFFFFFF, value >> 32


def stream_word(purpose: Purpose, restart: int) -> int:
    """The counter's first word. Raises ValueError past 2**28 restarts."""
    if not 0 <= restart < MAX_RESTARTS:
        raise ValueError(f"restart {restart} is outside [0, 2**28)")
    return purpose << 28 | restart


def level_word(level: float) -> int:
    """The counter's second word: the level by value, so that adding a level changes no other level's numbers."""
    return round(level * 0xFFFFFFFF)
