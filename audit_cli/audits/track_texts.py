"""What the checkpoints of a track are asked about: texts, and held-out texts of their lengths, the same for all."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int

from audit_cli.audits.comparison import Texts
from audit_cli.audits.fairness import Like, fairness
from audit_cli.audits.journal import Journal
from audit_cli.audits.texts import Heldout, References, Scan, distinct_rows, drawn_window, reference_rows, scan
from audit_cli.audits.twins import Slot
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Comparability, FairnessCheck, Row
from audit_cli.verdicts.comparability import Fairness
from audit_cli.verdicts.lengths import drawn_number

REMEDY = "give held-out text of their kind, or --reference-model with a checkpoint that has not seen them"


class TrackError(Exception):
    """A track that cannot be made, or gone on with; the message says why, without any text."""


@dataclass(frozen=True)
class TrackTexts:
    """Rows of texts and of held-out texts, with the number of the group in which each is compared.

    A long text has one window, drawn by its tokens, and a held-out text one piece, so that each counts once. `unlike`
    says that all texts are of another kind than the held-out text, which leaves nothing to be tested.
    """

    text: tuple[Row, ...]
    text_group: Int[np.ndarray, " texts"]
    held: tuple[Row, ...]
    held_group: Int[np.ndarray, " heldout"]
    law_rows: tuple[tuple[int, ...], ...]
    fairness: FairnessCheck
    unlike: bool
    warnings: tuple[str, ...]

    @classmethod
    def read(cls, model: LoadedModel, texts: Texts, heldout: Texts, most: int, with_reference: bool) -> "TrackTexts":
        """The texts as this model's rows, at most so many of each kind, drawn by their tokens.

        Texts that are unlike the held-out text are left out, but for `with_reference`. Raises TrackError where nothing
        is left to be compared.
        """
        held = Heldout.read(model, heldout)
        # Of a token that the network never predicts the surprise is no number.
        never = set(model.denoiser.head.forbidden)
        known = len(held.texts)
        held.texts = [entry for entry in held.texts if never.isdisjoint(entry[0])]
        never_held = known - len(held.texts)
        # A key of nobody: it ends with the journal.
        with closing(Journal(None, b"")) as journal:
            found = scan(model, texts, held, journal, Slot())
            if not found.distinct:
                raise TrackError(f"none of {found.given:,} texts can be measured: {_reasons(journal)}")
            references = reference_rows(model, found, held)
            like = Like(model, references)
            fair = fairness(like, found)
            possible = _Possible(distinct_rows(model, texts, journal), never)
            drawn = heapq.nsmallest(most, possible, key=_order)
        compared = [(rows, *_shape(rows)) for _, rows in sorted(drawn, key=lambda each: each[0])]
        compared = [each for each in compared if references.rows[references.group(*each[1:])]]
        if not compared:
            raise TrackError("no held-out text is as long as a text and none of them: nothing can be compared")
        kept, unlike = _of_a_kind(fair, like, compared, with_reference)
        groups = [references.group(*each[1:]) for each in kept]
        pieces = _pieces(references, found, set(groups), most)
        groups_held = [group for group, _ in pieces]
        both = [i for i, group in enumerate(groups) if group in set(groups_held)]
        return cls(
            text=tuple(drawn_window(kept[i][0]) for i in both),
            text_group=np.array([groups[i] for i in both], dtype=np.int64),
            held=tuple(row for _, row in pieces),
            held_group=np.array(groups_held, dtype=np.int64),
            law_rows=tuple(row for row in found.law_rows if never.isdisjoint(row)),
            fairness=fair.found,
            unlike=unlike,
            warnings=(
                *_impossible(possible.left_out, never_held),
                *_warnings(held, found, fair.found, len(both), unlike, with_reference),
            ),
        )

    def sha256(self) -> str:
        """A hash of the tokens of the held-out texts that are compared."""
        return hashlib.sha256(repr(sorted(row.own for row in self.held)).encode()).hexdigest()


class _Possible:
    """Texts without those that have a token which is `never` predicted, of which the number is `left_out`."""

    def __init__(self, texts: Iterable[tuple[int, list[Row]]], never: set[int]) -> None:
        self._texts, self._never, self.left_out = texts, never, 0

    def __iter__(self) -> Iterator[tuple[int, list[Row]]]:
        for position, rows in self._texts:
            if all(self._never.isdisjoint(row.own) for row in rows):
                yield position, rows
            else:
                self.left_out += 1


def _impossible(texts: int, heldout: int) -> Iterator[str]:
    for count, kind in ((texts, "text"), (heldout, "held-out text")):
        if count:
            yield f"left out: {count:,} {kind}{'s' * (count > 1)} with a token that the network never predicts"


Compared = tuple[list[Row], int, int]


def _order(entry: tuple[int, list[Row]]) -> tuple[int, int]:
    position, rows = entry
    return drawn_number(rows[0].own, 1 << 62), position


def _shape(rows: list[Row]) -> tuple[int, int]:
    """Tokens and windows of a text."""
    return rows[-1].offset + len(rows[-1].own), len(rows)


def _of_a_kind(
    fair: Fairness, like: Like, compared: list[Compared], with_reference: bool
) -> tuple[list[Compared], bool]:
    """The texts without those that are of another kind than the held-out text, and whether all are."""
    if with_reference:
        return compared, False
    grades = fair.grades([like.candidate(drawn_window(rows).own, *shape) for rows, *shape in compared])
    same = [each for each, of in zip(compared, grades, strict=True) if of.grade is not Comparability.SHIFTED]
    return same or compared, not same


def _pieces(references: References, found: Scan, groups: set[int], most: int) -> list[tuple[int, Row]]:
    """One piece of each held-out text with its group, at most so many, in the order in which they were given."""
    chosen = references.chosen(found)
    each = [
        (number, group, row)
        for group, (rows, mine, numbers) in enumerate(zip(references.rows, chosen, references.numbers, strict=True))
        for row, stands, number in zip(rows, mine, numbers, strict=True)
        if stands and group in groups
    ]
    drawn = heapq.nsmallest(most, each, key=lambda one: (drawn_number(one[2].own, 1 << 62), one[0]))
    return [(group, row) for _, group, row in sorted(drawn, key=lambda one: one[:2])]


def _reasons(journal: Journal) -> str:
    common = Counter(entry.reason for entry in journal.texts() if entry.reason).most_common(1)
    return common[0][0] if common else "there is none"


def _warnings(
    held: Heldout, found: Scan, check: FairnessCheck, compared: int, unlike: bool, with_reference: bool
) -> Iterator[str]:
    """What a person should know of the comparison before the time is spent."""
    if found.skipped:
        yield f"{found.skipped:,} of {found.given:,} texts cannot be measured, and are left out"
    if held.skipped:
        yield f"{held.skipped:,} of {held.given:,} held-out texts cannot be measured, and are left out"
    if found.near:
        yield f"{len(found.near):,} held-out texts are near-duplicates of a text, and are left out"
    if check.grade is Comparability.NOT_CHECKABLE:
        yield f"whether the held-out text is of the same kind cannot be checked: {check.reason}"
    elif check.unlike:
        many = f"{check.unlike:,} of {check.candidates:,} texts are unlike the held-out text ({check.reason})"
        if with_reference:
            yield f"{many}; the reference model tells how hard a text is"
        elif unlike:
            yield f"{many}, so that a gap says nothing: {REMEDY}"
        else:
            yield f"{many}, and are left out: {REMEDY}"
    if compared < 5:
        yield f"only {compared:,} text{'s' * (compared > 1)} to compare: a small difference will not be seen"
