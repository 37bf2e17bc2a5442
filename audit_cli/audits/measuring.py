"""Rows through a probe and into the journal, a portion at a time: a run that is stopped loses one portion."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from audit_cli.audits.journal import Journal
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import BasinMeasurement, EntropyMeasurement, Evidence, ExtractionMeasurement, Row, Skipped
from audit_cli.verdicts.recipes import SURPRISE_DIFFERENCE, Recipe

AnyMeasurement = BasinMeasurement | EntropyMeasurement | Evidence | ExtractionMeasurement
Measured = TypeVar("Measured", bound=AnyMeasurement)

# A portion takes about so long: it is what a killed run loses.
PORTION_SECONDS = 4.0
FIRST_PORTION, LARGEST_PORTION = 8, 512


class Task(Protocol[Measured]):
    """What is measured of a text, and what is made of it."""

    command: str
    record: type[Measured]

    @property
    def recipe(self) -> Recipe:
        """The score that decides."""

    def evaluations(self, row: Row) -> int:
        """About how many network evaluations a row takes."""

    def measure(self, denoiser: Denoiser, rows: list[Row]) -> Iterator[Measured | Skipped]:
        """A measurement a row, in order."""

    def of_references(self) -> "Task[Measured]":
        """The same without what only a candidate's own report needs."""

    def evidence(self, measured: Measured) -> Evidence:
        """What scores are made of."""

    def entropy(self, measured: Measured) -> EntropyMeasurement:
        """The entropy and surprise among what was measured."""

    def entropy_probe(self) -> EntropyProbe:
        """The probe that gave them."""

    def returns(self, measured: Measured) -> bool | None:
        """Whether the text returns; None where that is unclear or not measured."""

    def described(self, measured: Measured) -> dict[str, Any]:
        """The fields of a `TextResult` that are made of the measurement."""


class Filed(Generic[Measured]):
    """Measurements in the journal: each with the surprise under the reference model, where there is one."""

    def __init__(self, journal: Journal, task: Task[Measured], reference: LoadedModel | None) -> None:
        self.journal = journal
        self.task = task
        self.reference = reference
        self._decoder = msgspec.msgpack.Decoder(tuple[task.record, float | None])  # type: ignore[name-defined]

    def decode(self, data: bytes) -> tuple[Measured, float | None]:
        """A measurement as it was filed."""
        out: tuple[Measured, float | None] = self._decoder.decode(data)
        return out

    def score(self, measured: Measured, other: float | None) -> float:
        """The deciding score of a measurement as it was decoded."""
        evidence = self.task.evidence(measured)
        if other is None:
            return self.task.recipe.of(evidence)
        return SURPRISE_DIFFERENCE.of(replace(evidence, reference_surprise=other))

    def measure(
        self, model: LoadedModel, rows: Iterable[Row], kind: str, watch: Watch, expected: int, name: str
    ) -> None:
        """Measure the rows that are not filed yet under their `kind`; `expected` evaluations in all."""
        denoiser = watched(model.denoiser, watch, name, expected)
        size = FIRST_PORTION
        todo = iter(self._missing(rows, kind, watch))
        while portion := list(islice(todo, size)):
            begun = time.monotonic()
            batch = [row for _, row in portion]
            measured = list(self.task.measure(denoiser, batch))
            others = self._under_reference(batch)
            self.journal.put(
                (key, m.reason, None) if isinstance(m, Skipped) else _entry(key, m, other)
                for (key, _), m, other in zip(portion, measured, others, strict=True)
            )
            seconds = max(time.monotonic() - begun, 1e-3)
            size = max(1, min(LARGEST_PORTION, int(size * min(4.0, PORTION_SECONDS / seconds))))

    def _missing(self, rows: Iterable[Row], kind: str, watch: Watch) -> Iterator[tuple[bytes, Row]]:
        for row in rows:
            key = self.journal.row_key(kind, row)
            if self.journal.has(key):
                watch.advance(self.task.evaluations(row))
            else:
                yield key, row

    def _under_reference(self, rows: list[Row]) -> list[float | Skipped | None]:
        """Each row's mean surprise under the reference model."""
        if self.reference is None:
            return [None] * len(rows)
        own = [self.reference.place(row.candidate, row.own, row.offset) or row for row in rows]
        measured = self.task.entropy_probe().measure(self.reference.denoiser, own)
        return [m if isinstance(m, Skipped) else m.surprise_mean for m in measured]


def _entry(key: bytes, measured: AnyMeasurement, other: float | Skipped | None) -> tuple[bytes, str, bytes | None]:
    if isinstance(other, Skipped):
        return key, f"under the reference model: {other.reason}", None
    return key, "", msgspec.msgpack.encode((measured, other))
