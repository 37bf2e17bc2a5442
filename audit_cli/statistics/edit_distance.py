"""Levenshtein's distance between rows of tokens."""

from collections.abc import Hashable, Sequence


def edit_distance(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many insertions, deletions and substitutions of a token turn `a` into `b`.

    Myers (JACM 1999) in the form of Hyyrö (2003): a column of the table is two integers of len(a) bits, so that one
    token of `b` takes a dozen operations on whole columns.
    """
    first, most = 0, min(len(a), len(b))
    while first < most and a[first] == b[first]:
        first += 1
    last = 0
    while last < most - first and a[-1 - last] == b[-1 - last]:
        last += 1
    a, b = a[first : len(a) - last], b[first : len(b) - last]
    if not a or not b:
        return len(a) + len(b)
    where: dict[Hashable, int] = {}
    for i, token in enumerate(a):
        where[token] = where.get(token, 0) | 1 << i
    ones, end = (1 << len(a)) - 1, 1 << len(a) - 1
    distance, plus, minus = len(a), ones, 0
    for token in b:
        same = where.get(token, 0)
        zero = ((same & plus) + plus) ^ plus | same | minus
        more, less = minus | ones & ~(zero | plus), plus & zero
        distance += bool(more & end) - bool(less & end)
        more = more << 1 | 1
        plus, minus = ones & (less << 1 | ~(zero | more)), ones & more & zero
    return distance


def edit_similarity(a: Sequence[Hashable], b: Sequence[Hashable]) -> float:
    """1 - distance / the longer length: 1 for equal rows, 0 where nothing of one is in the other; 1 for two empty."""
    longest = max(len(a), len(b))
    return 1 - edit_distance(a, b) / longest if longest else 1.0
