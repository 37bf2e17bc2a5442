"""Are the candidates of the kind of the held-out text? Asked of the texts as they are compared, before any score is."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np

from audit_cli.audits.texts import References, Scan, drawn_window
from audit_cli.checkpoints import CheckpointError, LoadedModel
from audit_cli.records import Comparability, FairnessCheck, Row
from audit_cli.verdicts.comparability import MOST_REFERENCES, NEIGHBOURS_NEEDED, Compared, Fairness, Grade
from audit_cli.verdicts.judge import REMEDIES, Kinds
from audit_cli.verdicts.kinds import Content
from audit_cli.verdicts.lengths import drawn_number

# Texts that are graded together.
AT_ONCE = 256


def spelled(model: LoadedModel, tokens: tuple[int, ...]) -> Content:
    """The text of the tokens as the model knows it; the tokens where nobody can spell them."""
    if model.tokenizer is not None:
        try:
            return model.tokenizer.decode(tokens)
        except CheckpointError:
            pass
    return tokens


class Like:
    """How the texts of a run are compared: held-out text cut to the candidates' lengths, as they are scored. Where
    next to none is so long, candidates are cut to the lengths of the held-out texts, to ask at least for their kind."""

    def __init__(self, model: LoadedModel, references: References) -> None:
        self._model, self._references = model, references
        self._lengths = sorted(map(len, references.whole))
        self.other_lengths = {
            group for group, rows in enumerate(references.rows) if len(rows) < NEIGHBOURS_NEEDED <= len(self._lengths)
        }

    def candidate(self, own: tuple[int, ...], tokens: int, windows: int) -> Compared:
        """A text of so many tokens and windows, of which these tokens stand for it."""
        group = self._references.group(tokens, windows)
        if group in self.other_lengths:
            own = own[: self._lengths[drawn_number(own, len(self._lengths))]]
        return Compared(spelled(self._model, own), group)

    def heldout(self, found: Scan) -> list[Compared]:
        """As many references of each group as have room, those that stand for their text first."""
        most = MOST_REFERENCES // max(1, len(self._references.rows))
        out = []
        for group, (rows, chosen) in enumerate(zip(self._references.rows, self._references.chosen(found), strict=True)):
            texts = [(not mine, row.own) for row, mine in zip(rows, chosen, strict=True)]
            if group in self.other_lengths:
                texts = [(False, whole) for whole in self._references.whole]
            texts.sort(key=lambda text: (text[0], drawn_number(text[1], 1 << 62), text[1]))
            out += [Compared(spelled(self._model, own), group, not other) for other, own in texts[:most]]
        return out


def fairness(like: Like, found: Scan) -> Fairness:
    """The check of a run, from the sample of its candidates."""
    candidates = [like.candidate(*text) for text in found.sample.texts()]
    return Fairness(candidates, like.heldout(found), like.other_lengths)


def warnings(check: FairnessCheck, found: Scan, reference_model: bool) -> tuple[str, ...]:
    """What a person should know of it before anything is measured; without any word of a text."""
    if not check.candidates:
        return ()
    if check.grade is Comparability.NOT_CHECKABLE:
        return (f"whether the held-out text is of the same kind cannot be checked: {check.reason}",)
    if not check.unlike:
        return ()
    many = f"{check.unlike:,} of {check.candidates:,} texts"
    if check.candidates < found.distinct:
        many = f"about {check.unlike / check.candidates:.0%} of the texts"
    then = "judged all the same: the reference model tells how hard a text is"
    if not reference_model:
        then = f"so inconclusive: {REMEDIES}"
    return (f"{many} unlike the held-out text ({check.reason}), {then}",)


class Graded:
    """The grade of every text, noted as it passes on its way to be measured."""

    def __init__(self, like: Like, fair: Fairness) -> None:
        self._like, self._fair = like, fair
        self.check = fair.found
        self._positions, self._numbers = array("q"), array("i")
        self._grades: dict[Grade, int] = {}

    def passing(self, texts: Iterable[tuple[int, list[Row]]]) -> Iterator[tuple[int, list[Row]]]:
        """The same texts, some at a time."""
        waiting = iter(texts)
        while some := list(islice(waiting, AT_ONCE)):
            for (position, _), grade in zip(some, self._fair.grades([self._compared(r) for _, r in some]), strict=True):
                self._positions.append(position)
                self._numbers.append(self._grades.setdefault(grade, len(self._grades)))
            yield from some

    def rest(self, texts: Iterable[tuple[int, list[Row]]]) -> None:
        """Grade those of the texts that have not passed: a run whose time was over judges what others have measured."""
        last = self._positions[-1] if self._positions else -1
        for _ in self.passing((position, rows) for position, rows in texts if position > last):
            pass

    def _compared(self, rows: list[Row]) -> Compared:
        return self._like.candidate(drawn_window(rows).own, rows[-1].offset + len(rows[-1].own), len(rows))

    def of(self, positions: np.ndarray, binding: bool) -> Kinds:
        """The grades of the texts at these positions, all of which have passed."""
        at = np.searchsorted(np.array(self._positions, dtype=np.int64), positions)
        return Kinds(np.array(self._numbers, dtype=np.int64)[at], list(self._grades), binding)
