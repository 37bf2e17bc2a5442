"""Twins of a text: copies with its secret redrawn, so that the text can be ranked among what it might have been.

If the secret was drawn uniformly, a text that the model has not seen is one of its twins, and its rank among them is
uniform: no held-out text is needed. This is the exposure of a canary (Carlini et al., The Secret Sharer, 2019).
"""

import hashlib
import string
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

ALPHABETS = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
# Which of the alphabets are redrawn.
CLASSES = {"digits": (0,), "letters": (1, 2), "alphanumeric": (0, 1, 2)}
MARK = "{}"
# Of the redrawn characters of all copies so many are drawn at once: a hundred thousand copies of a long text would
# fill the memory.
DRAWN_AT_ONCE = 1 << 16


@dataclass(frozen=True)
class Slot:
    """Where the secret stands in a text: all characters of a class ("digits", "letters", "alphanumeric"), or what
    stands in the place of the `{}` of a template, of which letters and digits are redrawn.

    Raises ValueError on a pattern that is neither.
    """

    pattern: str = "digits"

    def __post_init__(self) -> None:
        if self.pattern not in CLASSES and MARK not in self.pattern:
            known = ", ".join(CLASSES)
            raise ValueError(f"{self.pattern!r} is neither {known} nor a template with {MARK}")

    def said_of(self, found: int, texts: int) -> str:
        """That only so many texts have the slot."""
        what = self.pattern if self.pattern in CLASSES else f"what stands for {MARK} in {self.pattern!r}"
        whole = "" if self.pattern in CLASSES else "; a template stands for the whole text, as in '{} card {} pin {}'"
        return f"{found} of {texts} texts have something to redraw ({what}){whole}"

    def positions(self, text: str) -> list[tuple[int, str]]:
        """The characters that are redrawn, each with the alphabet that it is drawn from."""
        if self.pattern in CLASSES:
            allowed = [ALPHABETS[i] for i in CLASSES[self.pattern]]
            where: Iterator[int] = iter(range(len(text)))
        else:
            allowed = list(ALPHABETS)
            where = self._in_template(text)
        return [(i, alphabet) for i in where for alphabet in allowed if text[i] in alphabet]

    def _in_template(self, text: str) -> Iterator[int]:
        """Positions in the slots of the template, each slot as short as what follows it allows; none if it does not
        fit the text."""
        first, *rest = self.pattern.split(MARK)
        if not text.startswith(first):
            return
        at = len(first)
        found: list[int] = []
        for number, literal in enumerate(rest, 1):
            if number == len(rest):
                if not text.endswith(literal) or len(text) - len(literal) < at:
                    return
                end = len(text) - len(literal)
            else:
                end = text.find(literal, at) if literal else at
                if end < 0:
                    return
            found += range(at, end)
            at = end + len(literal)
        yield from found

    def twins(self, text: str, count: int, seed: int) -> Iterator[str]:
        """So many copies with the slot redrawn, uniformly and independently, drawn as they are taken; none without one.

        The numbers come from the seed and the text. A copy may equal the text: a small slot has few fillings.
        """
        where = self.positions(text)
        if not where:
            return
        digest = hashlib.blake2b(f"twins {seed} ".encode() + text.encode("utf-8", "surrogatepass"), digest_size=16)
        numbers = np.random.Generator(np.random.Philox(key=int.from_bytes(digest.digest(), "little")))
        sizes = np.array([len(alphabet) for _, alphabet in where])
        at_once = max(1, DRAWN_AT_ONCE // len(where))
        for first in range(0, count, at_once):
            # One generator draws row after row, so the numbers are the same whatever is drawn at once.
            for row in numbers.integers(0, sizes, size=(min(at_once, count - first), len(where))):
                letters = list(text)
                for (i, alphabet), k in zip(where, row, strict=True):
                    letters[i] = alphabet[k]
                yield "".join(letters)
