"""What kind of text a text is, without any model: hashed n-grams, and its shape."""

import hashlib
import re
import unicodedata
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int, UInt64
from scipy.sparse import csr_matrix

from audit_cli.verdicts.duplicates import BASE, INVERSE, mix, powers

# Text, or token ids where nobody can spell them.
Content = str | tuple[int, ...]

# Hashed features; of a few thousand short texts some twenty thousand differ.
DIMENSIONS = 1 << 15
# Characters of a text that are looked at.
LONGEST = 256
# Held-out text that is cut to the length of a candidate ends in the middle of a sentence, and candidates do not: the
# last part of every text is left out. (Whole verses against longer ones that were cut: AUC .80 with it, .59 without.)
END = 8
# Token ids beside characters: above all code points.
_IDS = 0x110000
_SPACE, _NUMBER, _MARK, _CAPITAL, _LETTER, _CONTROL, _TOKEN = range(1, 8)
# (kind, length) of the n-grams: of characters, of kinds of characters.
_CHARACTERS, _KINDS = (1, 2, 3), (3,)

# Texts are near-duplicates that share so many of the runs of five characters that either has: one word of ten may
# differ. Which pairs are looked at is decided by minima of hashes (Broder 1997): of .5 in common nine in ten are.
RUN, SHARED, BANDS, MINIMA = 5, 0.4, 16, 3

# What is said of a text whose shape differs: of less, of more.
SHAPES = (
    ("shorter", "longer"),
    ("fewer digits", "more digits"),
    ("fewer capitals", "more capitals"),
    ("less punctuation", "more punctuation"),
    ("fewer letters beyond a to z", "more letters beyond a to z"),
    ("shorter words", "longer words"),
)


def looked_at(content: Content) -> Content:
    """The part of a text, or of its token ids, that is looked at: its beginning, without its last eighth."""
    return content[: min(LONGEST, len(content) - len(content) // END)]


def codes(content: Content) -> Int[np.ndarray, " length"]:
    """The text as numbers: code points, lone surrogates among them, or token ids above all code points."""
    if isinstance(content, str):
        return np.frombuffer(content.encode("utf-32-le", "surrogatepass"), dtype="<u4").astype(np.int64)
    return np.asarray(content, dtype=np.int64) + _IDS


def digest(content: Content) -> int:
    """A number of 64 bits that only the content decides."""
    return int.from_bytes(hashlib.blake2b(codes(content).astype("<i8").tobytes(), digest_size=8).digest(), "little")


def features(contents: Sequence[Content]) -> csr_matrix:
    """Which of the hashed features stand in each text: (texts, DIMENSIONS) of 0 and 1, float32.

    Features are characters, pairs and triples of them, triples of kinds of characters ("three digits"), and words; of
    token ids, ids, pairs and triples. How often one stands there is left out: a line of dashes is one feature.
    """
    whole, owner, kinds = _joined(contents)
    found = [_grams(whole, owner, n, n) for n in _CHARACTERS]
    found += [_grams(kinds, owner, n, 16 + n) for n in _KINDS]
    found.append(_words(whole, kinds, owner))
    # The high bits of a hash are as good as the low ones.
    of, hashes = (np.concatenate(column) for column in zip(*found, strict=True))
    column = (hashes >> np.uint64(64 - DIMENSIONS.bit_length() + 1)).astype(np.int64)
    entries = np.sort(of * DIMENSIONS + column)
    entries = entries[np.diff(entries, prepend=-1) > 0]
    ones = np.ones(len(entries), dtype=np.float32)
    return csr_matrix((ones, (entries // DIMENSIONS, entries % DIMENSIONS)), shape=(len(contents), DIMENSIONS))


def shapes(contents: Sequence[Content]) -> Float[np.ndarray, "texts shapes"]:
    """The shape of each text, in the order of SHAPES: its length in characters (of ids: in tokens), the shares of
    digits, capitals, punctuation and letters beyond ASCII among its characters, and characters a word."""
    whole, owner, kinds = _joined(contents)

    def counted(which: np.ndarray) -> np.ndarray:
        return np.bincount(owner[which], minlength=len(contents)).astype(np.float64)

    length = counted(whole >= 0)
    of_words = counted((kinds != _SPACE) & (kinds != _TOKEN))
    beyond = (whole > 0x7F) & ((kinds == _LETTER) | (kinds == _CAPITAL))
    shares = [counted(which) for which in (kinds == _NUMBER, kinds == _CAPITAL, kinds == _MARK, beyond)]
    in_words = np.bincount(owner[_word_starts(kinds, owner)], minlength=len(contents))
    shares = [share / np.maximum(1, length) for share in shares]
    return np.stack([length, *shares, of_words / np.maximum(1, in_words)], axis=1)


def alike(contents: Sequence[Content]) -> Int[np.ndarray, " texts"]:
    """For each text the number of the first that it is a near-duplicate of, directly or through others."""
    whole, owner, _ = _joined(contents)
    of, runs = _grams(whole, owner, RUN, 0)
    # What is shorter than a run is one by itself.
    short = np.flatnonzero(np.bincount(of, minlength=len(contents)) == 0)
    own = np.array([digest(looked_at(contents[i])) for i in short.tolist()], dtype=np.uint64)
    of, runs = np.append(of, short), np.append(runs, own)
    order = np.lexsort((runs, of))
    of, runs = of[order], runs[order]
    starts = np.flatnonzero(np.diff(of, prepend=-1))
    ends = np.append(starts[1:], len(runs))
    first = list(range(len(contents)))

    def root(i: int) -> int:
        while first[i] != i:
            first[i] = first[first[i]]
            i = first[i]
        return i

    def near(i: int, j: int) -> bool:
        one, other = (set(runs[starts[k] : ends[k]].tolist()) for k in (i, j))
        both = len(one & other)
        return both >= SHARED * (len(one) + len(other) - both)

    for band in range(BANDS):
        key = np.zeros(len(contents), dtype=np.uint64)
        for k in range(MINIMA if len(contents) else 0):
            salt = np.uint64((band * MINIMA + k + 1) << 40)
            key = mix(key) + np.minimum.reduceat(mix(runs ^ salt), starts)
        _, leaders, group = np.unique(key, return_index=True, return_inverse=True)
        leader = leaders[group]
        for i in np.flatnonzero(leader != np.arange(len(contents))).tolist():
            low, high = sorted((root(int(leader[i])), root(i)))
            if low != high and near(i, int(leader[i])):
                first[high] = low
    return np.array([root(i) for i in range(len(contents))], dtype=np.int64)


def words(content: Content) -> set[str]:
    """The words of a text, of letters only: numbers are nobody's vocabulary."""
    text = looked_at(content)
    return set(re.findall(r"[^\W\d_]{2,}", text.lower())) if isinstance(text, str) else set()


def _joined(contents: Sequence[Content]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What is looked at of all texts in one: the numbers, whose each is, and its kind."""
    numbers = [codes(looked_at(content)) for content in contents]
    owner = np.repeat(np.arange(len(numbers)), [len(n) for n in numbers])
    whole = np.concatenate([np.empty(0, np.int64), *numbers]).astype(np.uint64)
    distinct, index = np.unique(whole, return_inverse=True)
    kinds = np.array([_kind(int(code)) for code in distinct], dtype=np.uint64)[index]
    return whole, owner, kinds


def _kind(code: int) -> int:
    if code >= _IDS:
        return _TOKEN
    character = chr(code)
    category = unicodedata.category(character)
    if character.isspace():
        return _SPACE
    if category == "Lu":
        return _CAPITAL
    return {"N": _NUMBER, "P": _MARK, "S": _MARK, "C": _CONTROL}.get(category[0], _LETTER)


Hashed = tuple[Int[np.ndarray, " found"], UInt64[np.ndarray, " found"]]


def _grams(whole: np.ndarray, owner: np.ndarray, length: int, salt: int) -> Hashed:
    """Whose each n-gram of so many numbers is, and its hash."""
    count = max(0, len(whole) - length + 1)
    with np.errstate(over="ignore"):
        each = mix(whole + np.uint64(salt << 32))
        out = each[:count]
        for k in range(1, length):
            out = mix(out) + each[k : k + count]
    inside = owner[:count] == owner[length - 1 : length - 1 + count]
    return owner[:count][inside], mix(out[inside])


def _words(whole: np.ndarray, kinds: np.ndarray, owner: np.ndarray) -> Hashed:
    """Whose each word is, and its hash: a polynomial in an odd base, from differences of its sums."""
    start = _word_starts(kinds, owner)
    if not len(start):
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    stop = len(whole) - _word_starts(kinds[::-1], owner[::-1])[::-1]
    with np.errstate(over="ignore"):
        sums = np.cumsum(mix(whole) * powers(BASE, len(whole)), dtype=np.uint64)
        sums = np.concatenate([np.zeros(1, np.uint64), sums])
        return owner[start], mix((sums[stop] - sums[start]) * powers(INVERSE, len(whole))[start])


def _word_starts(kinds: np.ndarray, owner: np.ndarray) -> Int[np.ndarray, " words"]:
    """Where the words begin: after a gap, and with every text. From the end it is where they end."""
    inside = np.flatnonzero((kinds != _SPACE) & (kinds != _TOKEN))
    begins = (np.diff(inside, prepend=-2) > 1) | (np.diff(owner[inside], prepend=-1) != 0)
    return np.asarray(inside[begins])
