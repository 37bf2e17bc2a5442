"""Held-out scores among those of memorized candidates: seldom said without reason, and seen where it is so."""

import numpy as np
import pytest

from audit_cli.verdicts.contamination import HELD_NEEDED, LEAST, known

SHAPES = {
    "normal": lambda rng, n: rng.normal(size=n),
    "exponential": lambda rng, n: rng.exponential(size=n),
    "lognormal": lambda rng, n: rng.lognormal(size=n),
    "t": lambda rng, n: rng.standard_t(3, size=n),
}


def memorized(rng, n):
    """Surprise near 0, where other text has 8 nats a token with a standard deviation of 1.5."""
    return -np.abs(rng.normal(0, 0.2, size=n))


def unseen(rng, n):
    return -np.maximum(0.5, rng.normal(8, 1.5, size=n))


@pytest.mark.parametrize("shape", SHAPES)
def test_nothing_is_said_where_no_text_is_memorized(shape):
    rng = np.random.default_rng(1)
    said = sum(known(SHAPES[shape](rng, 24), SHAPES[shape](rng, 200)) > 0 for _ in range(500))
    # At most 2 in 1,000, so 1 expected; 5 or more have probability 4e-3.
    assert said <= 4


@pytest.mark.parametrize(("shape", "rate"), [("normal", 0.0), ("exponential", 0.01), ("lognormal", 0.04), ("t", 0.02)])
def test_memorized_candidates_alone_are_no_sign(shape, rate):
    rng = np.random.default_rng(2)
    runs, said = 500, 0
    for _ in range(runs):
        mine, held = SHAPES[shape](rng, 24), SHAPES[shape](rng, 200)
        mine[:12] = 2 * SHAPES[shape](rng, 1000).max() + rng.normal(size=12)
        said += known(mine, held) > 0
    # Three standard errors above the rate.
    assert said <= rate * runs + 3 * np.sqrt(rate * runs) + 2


@pytest.mark.parametrize("share", [0.02, 0.05])
def test_memorized_heldout_text_is_seen_and_counted(share):
    rng = np.random.default_rng(3)
    counts = []
    for _ in range(100):
        count = round(200 * share)
        mine = np.append(memorized(rng, 12), unseen(rng, 12))
        counts.append(known(mine, np.append(memorized(rng, count), unseen(rng, 200 - count))))
    assert np.mean(np.array(counts) == count) > 0.85


def test_an_easier_kind_among_both_is_no_sign():
    """A tenth of either is known better, as addresses among cards: candidates are there no more often."""
    rng = np.random.default_rng(4)
    said = 0
    for _ in range(200):
        mine, held = (np.append(memorized(rng, n // 10), unseen(rng, n - n // 10)) for n in (100, 400))
        said += known(mine, held) > 0
    assert said == 0


def test_little_is_no_sign():
    high, low = np.zeros(HELD_NEEDED), np.linspace(-9, -7, HELD_NEEDED)
    assert known(high, np.append(low, [0.0] * LEAST)) == LEAST
    assert known(high, np.append(low, [0.0] * (LEAST - 1))) == 0
    assert known(high, np.append(low[: HELD_NEEDED - 2 * LEAST], [0.0] * LEAST)) == 0
    assert known(high[:2], np.append(low, [0.0] * LEAST)) == 0
    assert known(np.array([]), low) == 0
    assert known(high, high) == 0
