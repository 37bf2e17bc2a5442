"""Candidates and held-out text as rows of tokens: duplicates, lengths, windows, and who is compared with whom."""

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from audit_cli.audits.comparison import Texts
from audit_cli.audits.journal import Journal, TextEntry
from audit_cli.audits.twins import Slot
from audit_cli.candidates import CandidateError
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Candidate, Row, Skipped
from audit_cli.verdicts.comparability import MOST_CANDIDATES
from audit_cli.verdicts.duplicates import NearDuplicates
from audit_cli.verdicts.keyed_runs import NearMarks
from audit_cli.verdicts.lengths import Band, bands, drawn_number

# Rows of the audited texts on which the law is checked.
LAW_ROWS = 128
CHANGED = "the texts changed while they were audited"


@dataclass
class Heldout:
    """Held-out texts as token ids, each once; of a candidate only what its layout depends on is kept."""

    texts: list[tuple[tuple[int, ...], Candidate]] = field(default_factory=list)
    given: int = 0
    skipped: int = 0
    duplicates: int = 0

    @classmethod
    def read(cls, model: LoadedModel, texts: Texts) -> "Heldout":
        """Read and tokenize them all; there are hundreds or thousands, never as many as candidates."""
        out = cls()
        seen: set[tuple[int, ...]] = set()
        for text in texts:
            out.given += 1
            ids = text if isinstance(text, Skipped) else _ids(model, text)
            if isinstance(ids, Skipped):
                out.skipped += 1
            elif ids in seen:
                out.duplicates += 1
            else:
                assert isinstance(text, Candidate)  # noqa: S101 - a Skipped has no tokens
                seen.add(ids)
                out.texts.append((ids, replace(text, text=None)))
        return out


class Sample:
    """Some of the candidates, drawn by a hash of their tokens: the same ones in whatever order they come."""

    def __init__(self) -> None:
        self._kept: list[tuple[int, tuple[int, ...], int, int]] = []

    def add(self, rows: list[Row], tokens: int) -> None:
        """A distinct text of so many tokens; of a long one a window stands for it, as of held-out texts."""
        own = drawn_window(rows).own
        entry = (-drawn_number(own, 1 << 62), own, tokens, len(rows))
        if len(self._kept) < MOST_CANDIDATES:
            heapq.heappush(self._kept, entry)
        elif entry > self._kept[0]:
            heapq.heapreplace(self._kept, entry)

    def texts(self) -> Iterator[tuple[tuple[int, ...], int, int]]:
        """The tokens that stand for each text, and how many tokens and windows it has."""
        return ((own, tokens, windows) for _, own, tokens, windows in self._kept)


def drawn_window(rows: list[Row]) -> Row:
    """One row of a text, drawn by its tokens: windows of one text are not independent."""
    return rows[0] if len(rows) == 1 else rows[drawn_number(rows[0].own, len(rows))]


@dataclass
class Scan:
    """What a first look at the candidates tells: `lengths` and `long` count distinct texts, `near` numbers the
    held-out texts that are like a candidate, `with_slot` counts the distinct texts that have twins."""

    given: int = 0
    distinct: int = 0
    duplicates: int = 0
    skipped: int = 0
    windows: int = 0
    lengths: Counter[int] = field(default_factory=Counter)
    long: int = 0
    near: set[int] = field(default_factory=set)
    law_rows: list[tuple[int, ...]] = field(default_factory=list)
    with_slot: int = 0
    sample: Sample = field(default_factory=Sample)


def scan(
    model: LoadedModel,
    texts: Texts,
    heldout: Heldout | None,
    journal: Journal,
    slot: Slot,
    marks: NearMarks | None = None,
) -> Scan:
    """Note every text and its windows in the journal; nothing of them stays in memory. `marks` stand for held-out
    texts that are not here."""
    out = Scan()
    near = marks or NearDuplicates([ids for ids, _ in heldout.texts] if heldout else [], model.layout.max_length)
    with journal.texts_anew():
        for position, text in enumerate(texts):
            out.given += 1
            rows = text if isinstance(text, Skipped) else model.rows(text)
            if isinstance(rows, Skipped):
                out.skipped += 1
                journal.add_text(position, rows.candidate.id, None, None, rows.reason)
                continue
            tokens = rows[-1].offset + len(rows[-1].own)
            keys = [journal.row_key("row", row) for row in rows]
            key = keys[0] if len(keys) == 1 else journal.key("text", b"".join(keys))
            entry = journal.add_text(position, rows[0].candidate.id, key, tokens)
            if entry.first != position:
                out.duplicates += 1
                continue
            journal.add_windows(position, ((row.offset, key) for row, key in zip(rows, keys, strict=True)))
            out.distinct += 1
            out.windows += len(rows)
            out.with_slot += bool(slot.positions(rows[0].candidate.text or ""))
            if len(rows) == 1:
                out.lengths[tokens] += 1
            else:
                out.long += 1
            near.look(_whole(rows))
            out.sample.add(rows, tokens)
            if len(out.law_rows) < LAW_ROWS:
                out.law_rows.append(rows[0].own)
    out.near = near.found
    return out


def _whole(rows: list[Row]) -> tuple[int, ...]:
    """The tokens of a text from its windows, the last of which may overlap the one before."""
    reached = 0
    out: list[int] = []
    for row in rows:
        out += row.own[reached - row.offset :]
        reached = row.offset + len(row.own)
    return tuple(out)


@dataclass(frozen=True)
class References:
    """Held-out rows by group: one group a length band of the candidates, and one for the windows of long ones.

    `numbers` are those of the held-out texts that the rows are of, `whole` the beginnings of all of these, uncut.
    """

    bands: tuple[Band, ...]
    rows: tuple[tuple[Row, ...], ...]
    numbers: tuple[tuple[int, ...], ...]
    whole: tuple[tuple[int, ...], ...]
    given: int
    skipped: int
    duplicates: int
    near_duplicates: int
    too_short: int
    used: int

    def group(self, tokens: int, windows: int) -> int:
        """The group that a text of so many tokens and windows is compared with."""
        if windows > 1:
            return len(self.bands)
        return next(i for i, band in enumerate(self.bands) if tokens in band.counts)

    def chosen(self, found: Scan) -> list[list[bool]]:
        """For each row whether it is the one that stands for its text: drawn among its groups as the candidates are
        distributed over them, since a text that counted in each would count for several."""
        shares = [sum(band.counts.values()) for band in self.bands] + [found.long] * (len(self.rows) > len(self.bands))
        groups: dict[int, list[tuple[int, tuple[int, ...]]]] = {}
        for group, (rows, numbers) in enumerate(zip(self.rows, self.numbers, strict=True)):
            for row, number in zip(rows, numbers, strict=True):
                groups.setdefault(number, []).append((group, row.own))
        drawn: dict[int, int] = {}
        for number, of in groups.items():
            at = drawn_number(of[0][1], sum(shares[group] for group, _ in of))
            for group, _ in of:
                at -= shares[group]
                if at < 0:
                    drawn[number] = group
                    break
        return [[drawn[number] == group for number in numbers] for group, numbers in enumerate(self.numbers)]

    @property
    def fewest(self) -> int:
        """The smallest number of references that any text is compared with."""
        return min(map(len, self.rows), default=0)

    def sha256(self) -> str:
        """A hash of the token ids that candidates are compared with, whatever their order."""
        pieces = sorted({row.own for group in self.rows for row in group})
        return hashlib.sha256(repr(pieces).encode()).hexdigest()


def reference_rows(model: LoadedModel, found: Scan, heldout: Heldout) -> References:
    """Held-out text cut to each band's lengths, without near-duplicates of candidates; a window of each long one."""
    among = bands(found.lengths)
    kept = [entry for i, entry in enumerate(heldout.texts) if i not in found.near]
    fitting: set[int] = set()
    groups: list[dict[tuple[int, ...], tuple[Row, int]]] = []
    for band in among:
        rows: dict[tuple[int, ...], tuple[Row, int]] = {}
        for i, (ids, candidate) in enumerate(kept):
            length = band.cut(ids)
            row = None if length is None else model.place(candidate, ids[:length])
            if row is not None:
                fitting.add(i)
                rows.setdefault(row.own, (row, i))
        groups.append(rows)
    if found.long:
        windows: dict[tuple[int, ...], tuple[Row, int]] = {}
        for i, (ids, candidate) in enumerate(kept):
            room = model.room(candidate, len(ids))
            if len(ids) >= room > 0:
                # One window of each, drawn by its tokens: windows of one text are no independent references.
                offsets = model.layout.offsets(len(ids), room)
                at = offsets[drawn_number(ids, len(offsets))]
                row = model.window(candidate, ids, at, room)
                if row is not None:
                    fitting.add(i)
                    windows.setdefault(row.own, (row, i))
        groups.append(windows)
    return References(
        bands=tuple(among),
        rows=tuple(tuple(row for row, _ in group.values()) for group in groups),
        numbers=tuple(tuple(number for _, number in group.values()) for group in groups),
        whole=tuple(ids[: model.layout.max_length] for ids, _ in kept),
        given=heldout.given,
        skipped=heldout.skipped,
        duplicates=heldout.duplicates,
        near_duplicates=len(found.near),
        too_short=len(kept) - len(fitting),
        used=len(fitting),
    )


def _ids(model: LoadedModel, text: Candidate) -> tuple[int, ...] | Skipped:
    """The tokens of a held-out text, if its prompt leaves room for any."""
    ids = model.token_ids(text)
    if isinstance(ids, tuple) and model.place(text, ids[:1]) is None:
        return Skipped(text, "its prompt leaves no room")
    return ids


def side_by_side(
    journal: Journal, texts: Iterable[Candidate | Skipped]
) -> Iterator[tuple[TextEntry, Candidate | Skipped]]:
    """What the journal noted of each text, and the text. Raises CandidateError if they are no longer the same."""
    for entry, text in zip_longest(journal.texts(), texts):
        if entry is None or text is None:
            raise CandidateError(CHANGED)
        yield entry, text


def distinct_rows(
    model: LoadedModel, texts: Iterable[Candidate | Skipped], journal: Journal
) -> Iterator[tuple[int, list[Row]]]:
    """The rows of every distinct text that can be measured, with its position."""
    for entry, text in side_by_side(journal, texts):
        if entry.reason or entry.first != entry.position or isinstance(text, Skipped):
            continue
        rows = model.rows(text)
        if isinstance(rows, list):
            yield entry.position, rows
