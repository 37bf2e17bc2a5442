"""Texts against their own twins: how many of these score at least as high, in the journal."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Generic

import msgspec
import numpy as np

from audit_cli.audits.comparison import Comparison, Texts
from audit_cli.audits.measuring import Filed, Measured
from audit_cli.audits.texts import distinct_rows
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import Candidate, Row, Skipped
from audit_cli.statistics.conformal import count_at_least

# Tokens of the twins that are measured together: bounds their memory.
TWIN_TOKENS = 1 << 17


class TwinScores(Generic[Measured]):
    """The twins of the texts of a run, measured after the texts themselves."""

    def __init__(self, filed: Filed[Measured], comparison: Comparison, seed: int) -> None:
        self._filed, self._journal = filed, filed.journal
        self._comparison, self._seed = comparison, seed

    def filed(self, position: int) -> bool:
        """Whether the twins of the text there are measured."""
        return self._journal.get(self._key(position)) is not None

    def measure(self, model: LoadedModel, texts: Texts, watch: Watch, expected: int) -> tuple[str, ...]:
        """For every text how many of its twins score at least as high, into the journal; a warning of few twins."""
        denoiser = watched(model.denoiser, watch, "twins", expected)
        probe = self._filed.task.entropy_probe()
        asked = fewer = 0
        for position, rows in distinct_rows(model, texts, self._journal):
            key = self._key(position)
            own = [self._journal.get(self._journal.row_key("row", row)) for row in rows]
            if any(found is None or found[0] for found in own):
                continue
            filed = self._journal.get(key)
            if filed is None:
                score = max(
                    -self._filed.task.entropy(self._filed.decode(found[1])[0]).surprise_mean for found in own if found
                )
                above = drawn = 0
                for scores in self._scores(model, rows[0].candidate, probe, denoiser):
                    above += int(count_at_least([score], scores)[0])
                    drawn += len(scores)
                self._journal.put([(key, "", msgspec.msgpack.encode((above, drawn)))])
            else:
                _, drawn = msgspec.msgpack.decode(filed[1])
            # A text without a slot was told of before.
            if self._comparison.slot.positions(rows[0].candidate.text or ""):
                asked += 1
                fewer += drawn < self._comparison.twins
        if not fewer:
            return ()
        message = f"{fewer:,} of {asked:,} texts have fewer twins than asked: the model cannot represent the others"
        watch.warn(message)
        return (message,)

    def _scores(self, model: LoadedModel, text: Candidate, probe: Any, denoiser: Any) -> Iterator[list[float]]:
        """The scores of the twins, some at a time, without those that the model cannot represent."""
        for made in self._rows(model, text):
            measured = probe.measure(denoiser, [row for rows in made for row in rows])
            parts = [[next(measured) for _ in rows] for rows in made]
            yield [
                max(-m.surprise_mean for m in of_one)
                for of_one in parts
                if not any(isinstance(m, Skipped) for m in of_one)
            ]

    def _rows(self, model: LoadedModel, text: Candidate) -> Iterator[list[list[Row]]]:
        """The rows of every twin that the model can represent, of so many twins as are measured together."""
        together: list[list[Row]] = []
        tokens = 0
        for twin in self._comparison.slot.twins(text.text or "", self._comparison.twins, self._seed):
            rows = model.rows(replace(text, text=twin))
            if isinstance(rows, Skipped):
                continue
            together.append(rows)
            tokens += sum(len(row.tokens) for row in rows)
            if tokens >= TWIN_TOKENS:
                yield together
                together, tokens = [], 0
        if together:
            yield together

    def _key(self, position: int) -> bytes:
        slot, windows = self._comparison.slot.pattern, self._journal.windows(position)
        return self._journal.key(f"twins {self._comparison.twins} {slot}\0", b"".join(key for _, key in windows))

    def counts(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """For the texts at these positions (texts,): how many twins score at least as high, and of how many."""
        above, drawn = np.zeros(len(positions), dtype=np.int64), np.zeros(len(positions), dtype=np.int64)
        for i, position in enumerate(positions.tolist()):
            filed = self._journal.get(self._key(position))
            if filed is not None:
                above[i], drawn[i] = msgspec.msgpack.decode(filed[1])
        return above, drawn
