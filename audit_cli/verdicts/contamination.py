"""Held-out texts that score as if the model had seen them.

Two such texts in a hundred take nearly all power, since memorized candidates are then compared with memorized text.
They are told of and never left out: whoever leaves out references for their scores decides what is found.
"""

import numpy as np
from jaxtyping import Float

# So many held-out texts, and this share of them at least, at most this one, stand apart.
LEAST, LEAST_SHARE, MOST_SHARE = 4, 0.02, 0.2
HELD_NEEDED = 100
# Apart: farther above the others than half of what the highest of these is above their median.
GAP = 0.5
# Among them so many candidates, and so many times the share that the held-out texts have.
CANDIDATES_NEEDED, ENRICHED = 3, 3.0


def known(candidates: Float[np.ndarray, " m"], heldout: Float[np.ndarray, " n"]) -> int:
    """How many of the held-out scores stand apart above the others where the candidates stand as well; 0 if none do.

    A gap alone may be chance, a few easier texts, or another kind of text among both; so the candidates must be there
    more often. Simulated with 200 held-out texts: without memorized text it is said of at most 2 audits in 1,000,
    whatever the shape of the scores; where candidates are memorized and no held-out text is, of none with normal scores
    and of 4 in 100 with lognormal ones. Scores that follow on each other without a gap are never told.
    """
    n = len(heldout)
    if n < HELD_NEEDED or not len(candidates):
        return 0
    ranked = np.sort(heldout)[::-1]
    first, last = max(LEAST, int(np.ceil(LEAST_SHARE * n))), int(MOST_SHARE * n)
    gaps = ranked[first - 1 : last] - ranked[first : last + 1]
    count = first + int(np.argmax(gaps))
    gap, highest = gaps[count - first], ranked[count]
    if gap <= 0 or gap < GAP * (highest - np.median(ranked[count:])):
        return 0
    beside = candidates[candidates > highest + gap / 2]
    # Where most texts score alike, as those do of which a model knows nothing, any other one stands apart from them:
    # what was seen stands with the candidates.
    if len(beside) and ranked[count - 1] < (np.median(beside) + np.median(ranked[count:])) / 2:
        return 0
    among = len(beside)
    enough = among >= CANDIDATES_NEEDED and among / len(candidates) >= ENRICHED * count / n
    return count if enough else 0
