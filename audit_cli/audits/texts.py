"""Candidates and held-out text as rows of tokens: duplicates, lengths, and who is compared with whom."""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Candidate, Row, Skipped, Status, TextResult
from audit_cli.redaction import Redaction
from audit_cli.verdicts.lengths import Band, band_of, bands, near_duplicates

Measured = TypeVar("Measured")


@dataclass
class CandidateRows:
    """The candidates in order, each as the index of its row, as `Skipped`, or as a duplicate of another's row."""

    order: list[tuple[Candidate, int | None, Skipped | None]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def results(
        self,
        measured: Sequence[Measured | Skipped],
        redaction: Redaction,
        describe: Callable[[int, Measured], dict[str, Any]],
    ) -> list[TextResult]:
        """A result a candidate: skipped, or with the fields that `describe` makes of its row's measurement."""
        out = []
        for candidate, index, skipped in self.order:
            fingerprint = redaction.fingerprint(candidate.text, candidate.token_ids)
            if index is None:
                out.append(TextResult(candidate, fingerprint, Status.SKIPPED, skipped.reason if skipped else ""))
                continue
            m = measured[index]
            if isinstance(m, Skipped):
                out.append(TextResult(candidate, fingerprint, Status.SKIPPED, m.reason))
                continue
            row = self.rows[index]
            first = row.candidate is candidate
            out.append(
                TextResult(
                    candidate,
                    fingerprint,
                    Status.MEASURED if first else Status.DUPLICATE,
                    duplicate_of="" if first else row.candidate.id,
                    tokens=len(row.own),
                    **describe(index, m),
                )
            )
        return out


def candidate_rows(model: LoadedModel, candidates: Iterable[Candidate | Skipped]) -> CandidateRows:
    """Rows to measure; candidates with the same tokens share one, and are measured and counted once."""
    found = CandidateRows()
    index_of: dict[tuple[int, ...], int] = {}
    for candidate in candidates:
        row = candidate if isinstance(candidate, Skipped) else model.row(candidate)
        if isinstance(row, Skipped):
            found.order.append((row.candidate, None, row))
            continue
        index = index_of.setdefault(row.own, len(found.rows))
        if index == len(found.rows):
            found.rows.append(row)
        found.order.append((row.candidate, index, None))
    return found


@dataclass(frozen=True)
class References:
    """Held-out rows for the candidates' length bands: `rows[b]` for band b, `group[i]` the band of candidate row i."""

    bands: tuple[Band, ...]
    group: tuple[int, ...]
    rows: tuple[tuple[Row, ...], ...]
    given: int
    skipped: int
    duplicates: int
    near_duplicates: int
    too_short: int
    used: int

    def sha256(self) -> str:
        """A hash of the token ids that candidates are compared with, whatever their order."""
        pieces = sorted({row.own for band in self.rows for row in band})
        return hashlib.sha256(repr(pieces).encode()).hexdigest()


def reference_rows(model: LoadedModel, rows: Sequence[Row], heldout: Iterable[Candidate | Skipped]) -> References:
    """Held-out text cut to each band's length, without duplicates and without near-duplicates of candidates."""
    among = bands([len(row.own) for row in rows])
    texts: dict[tuple[int, ...], Candidate] = {}
    given = skipped = duplicates = 0
    for candidate in heldout:
        given += 1
        ids = _heldout_ids(model, candidate)
        if isinstance(candidate, Skipped) or ids is None:
            skipped += 1
        elif ids in texts:
            duplicates += 1
        else:
            texts[ids] = candidate
    by_band: list[tuple[Row, ...]] = []
    near: set[tuple[int, ...]] = set()
    fitting: set[tuple[int, ...]] = set()
    for band in among:
        cut = {ids[:n]: (ids, c) for ids, c in texts.items() if (n := band.cut(ids)) is not None}
        fitting |= {ids for ids, _ in cut.values()}
        pieces = list(cut)
        mine = [row.own for row in rows if len(row.own) in band.lengths]
        same = near_duplicates(pieces, mine)
        near |= {cut[pieces[i]][0] for i in same}
        by_band.append(tuple(_cut_row(model, cut[ids][1], ids) for i, ids in enumerate(pieces) if i not in same))
    return References(
        bands=tuple(among),
        group=tuple(band_of(len(row.own), among) for row in rows),
        rows=tuple(by_band),
        given=given,
        skipped=skipped,
        duplicates=duplicates,
        near_duplicates=len(near),
        too_short=len(texts) - len(fitting),
        used=len(fitting),
    )


def _heldout_ids(model: LoadedModel, candidate: Candidate | Skipped) -> tuple[int, ...] | None:
    """The tokens of a held-out text, which may be longer than the model since it is cut; None if it cannot be used."""
    if isinstance(candidate, Skipped):
        return None
    ids = model.token_ids(candidate)
    return None if isinstance(ids, Skipped) else ids


def _cut_row(model: LoadedModel, candidate: Candidate, ids: tuple[int, ...]) -> Row:
    if candidate.token_ids is not None:
        return Row(replace(candidate, token_ids=ids), ids, 0, len(ids))
    return model.layout.place(candidate, ids)
