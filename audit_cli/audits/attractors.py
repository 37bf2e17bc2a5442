"""`uddm-audit attractors`: is each text an attractor of the model, and how deep does it lie?"""

import hashlib
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec
import numpy as np

from audit_cli.audits.comparison import Texts
from audit_cli.audits.journal import Journal, TextEntry
from audit_cli.audits.law import NO_ATTRACTORS, checked_law
from audit_cli.audits.measuring import FIRST_PORTION, LARGEST_PORTION, PORTION_SECONDS
from audit_cli.audits.provenance import run_info
from audit_cli.audits.texts import Scan, distinct_rows, scan, side_by_side
from audit_cli.audits.twins import Slot
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel, UnauditableModel
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.probes.attractors import AttractorProbe
from audit_cli.records import (
    AttractorGroup,
    AttractorMeasurement,
    AttractorReport,
    AttractorResult,
    Candidate,
    Row,
    Skipped,
    Status,
)
from audit_cli.redaction import Redaction
from audit_cli.statistics.intervals import wilson

NOT_FIXED = -1.0
_DECODER = msgspec.msgpack.Decoder(AttractorMeasurement)


@dataclass(frozen=True)
class AttractorSettings:
    """How to measure; see `AttractorProbe`."""

    restarts: int = 16
    seed: int = 0
    batch_size: int | None = None

    def probe(self, model: LoadedModel) -> AttractorProbe:
        """The probe of these settings. Raises UnauditableModel on a network without attractors."""
        if model.denoiser.law is Law.POSTERIOR:
            raise UnauditableModel(f"{NO_ATTRACTORS}: that a text is one says nothing")
        return AttractorProbe(self.restarts, self.seed, self.batch_size)


def measure_attractors(
    model: LoadedModel,
    texts: Texts,
    heldout: Texts | None,
    settings: AttractorSettings,
    redaction: Redaction,
    watch: Watch | None = None,
    journal: Journal | None = None,
) -> AttractorReport:
    """Measure every text, and held-out text alike, if there is any; both may be read again and again.

    What is in the journal is not measured anew, and the report's results are read from there. Raises as
    `AttractorSettings.probe`.
    """
    begun, watch, journal = time.monotonic(), watch or Watch(), journal or Journal(None, redaction.key)
    probe = settings.probe(model)
    sets = {"texts": (texts, journal.of_set(0))}
    if heldout is not None:
        sets["held-out texts"] = (heldout, journal.of_set(1))
    found: dict[str, Scan] = {}
    results: dict[str, JournaledAttractors] = {}
    watch.stage("reading", 0)
    for name, (given, its) in sets.items():
        found[name] = scan(model, given, None, its, Slot())
        results[name] = JournaledAttractors(model, given, found[name].given, its, redaction)
    law = checked_law(model, settings.seed, found["texts"].law_rows)
    digests = {}
    for name, (given, its) in sets.items():
        rows = (row for _, rows in distinct_rows(model, given, its) for row in rows)
        digest = digests[name] = hashlib.sha256()
        longest, lengths = model.layout.max_length, found[name].lengths
        expected = sum(n * probe.evaluations(length) for length, n in lengths.items())
        expected += (found[name].windows - lengths.total()) * probe.evaluations(longest)
        denoiser = watched(model.denoiser, watch, name, expected)
        _measure(probe, denoiser, its, _hashed(rows, digest), watch)
    groups = {name: group(its) for name, its in results.items()}
    spent = sum(its.evaluations() for its in results.values())
    more: dict[str, object] = {"heldout_sha256": digests["held-out texts"].hexdigest() if heldout is not None else None}
    return AttractorReport(
        model=model.info,
        law=law,
        run=run_info("attractors", settings, model, more, time.monotonic() - begun, spent),
        results=results["texts"],
        given=groups["texts"],
        heldout=groups.get("held-out texts"),
    )


def _hashed(rows: Iterable[Row], digest: "hashlib._Hash") -> Iterator[Row]:
    for row in rows:
        digest.update(np.asarray((len(row.own), *row.own), dtype="<i8").tobytes())
        yield row


def _measure(probe: AttractorProbe, denoiser: Denoiser, journal: Journal, rows: Iterable[Row], watch: Watch) -> None:
    """File what is not filed yet, a portion of some seconds at a time: a run that is stopped loses one."""
    size, todo = FIRST_PORTION, _missing(probe, journal, rows, watch)
    while portion := list(islice(todo, size)):
        begun = time.monotonic()
        batch = [row for _, row in portion]
        measured = list(probe.measure(denoiser, batch))
        journal.put(
            (key, m.reason, None) if isinstance(m, Skipped) else (key, "", msgspec.msgpack.encode(m))
            for (key, _), m in zip(portion, measured, strict=True)
        )
        # What is no fixed point takes less than was expected of it.
        spent = sum(m.evaluations for m in measured if not isinstance(m, Skipped))
        watch.advance(max(0, sum(probe.evaluations(len(row.free)) for row in batch) - spent))
        seconds = max(time.monotonic() - begun, 1e-3)
        size = max(1, min(LARGEST_PORTION, int(size * min(4.0, PORTION_SECONDS / seconds))))


def _missing(probe: AttractorProbe, journal: Journal, rows: Iterable[Row], watch: Watch) -> Iterator[tuple[bytes, Row]]:
    for row in rows:
        key = journal.row_key("row", row)
        if journal.has(key):
            watch.advance(probe.evaluations(len(row.free)))
        else:
            yield key, row


class JournaledAttractors:
    """One `AttractorResult` a text, in order, read back from the journal beside the texts themselves."""

    def __init__(self, model: LoadedModel, texts: Texts, count: int, journal: Journal, redaction: Redaction) -> None:
        self._model, self._texts, self._count = model, texts, count
        self._journal, self._redaction = journal, redaction

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[AttractorResult]:
        for entry, text in side_by_side(self._journal, self._texts):
            yield self._result(entry, text.candidate if isinstance(text, Skipped) else text)

    def evaluations(self) -> int:
        """How many network evaluations the measurements took."""
        parts = self._journal.parts()
        return sum(_DECODER.decode(data).evaluations for *_, data in parts if data is not None)

    def _result(self, entry: TextEntry, candidate: Candidate) -> AttractorResult:
        fingerprint = self._redaction.fingerprint(candidate.text, candidate.token_ids)
        windows = [] if entry.reason else self._journal.windows(entry.first)
        measured = [(at, *(self._journal.get(key) or ("it was not measured", b""))) for at, key in windows]
        reason = entry.reason or next((reason for _, reason, _ in measured if reason), "")
        if reason:
            return AttractorResult(candidate, fingerprint, Status.SKIPPED, reason)
        # Of equally deep windows the first.
        at, deepest = max(((at, _DECODER.decode(data)) for at, _, data in measured), key=lambda part: part[1].depth)
        first = entry.first == entry.position
        returned = deepest.returned(deepest.survived) if deepest.survived else None
        tokenizer = self._model.tokenizer
        return AttractorResult(
            candidate,
            fingerprint,
            Status.MEASURED if first else Status.DUPLICATE,
            duplicate_of="" if first else self._journal.name(entry.first),
            tokens=entry.tokens,
            windows=entry.windows,
            window_offset=at,
            measurement=deepest,
            returned=None if returned is None else wilson(returned, deepest.restarts),
            rival=None if tokenizer is None else tokenizer.piece(deepest.rival),
        )


def group(results: Iterable[AttractorResult]) -> AttractorGroup:
    """Results together: each distinct text counts once, by its deepest window."""
    statuses = dict.fromkeys(Status, 0)
    fixed, energies, margins, survived, shares = 0, list[float](), list[float](), list[float](), list[float]()
    for result in results:
        statuses[result.status] += 1
        measured = result.measurement
        if measured is None or result.status is not Status.MEASURED:
            continue
        fixed += measured.fixed_point
        energies.append(measured.energy_mean)
        margins.append(measured.smallest_margin)
        if measured.survived is not None:
            survived.append(measured.survived)
            shares.append(measured.survived / measured.tokens)
    # Of a text that is no fixed point nothing is made up: it stands below all others.
    none = [NOT_FIXED] * (len(energies) - len(survived))
    flips, share = _median([*none, *survived]), _median([*none, *shares])
    return AttractorGroup(
        given=sum(statuses.values()),
        measured=statuses[Status.MEASURED],
        duplicates=statuses[Status.DUPLICATE],
        skipped=statuses[Status.SKIPPED],
        fixed_points=fixed,
        fixed_share=wilson(fixed, len(energies)) if energies else None,
        energy_mean=_median(energies),
        smallest_margin=_median(margins),
        survived=None if flips is None or flips == NOT_FIXED else int(flips),
        survived_share=None if share == NOT_FIXED else share,
    )


def _median(values: Sequence[float]) -> float | None:
    """An observed value: of two in the middle the lower one."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), 0.5, method="lower")) if values else None
