"""Measurements as they come, one pass over the texts: an audit without a comparison needs no second look."""

import time
from collections.abc import Iterable, Iterator
from typing import Generic

import msgspec

from audit_cli.audits.journal import Journal
from audit_cli.audits.measuring import FIRST_PORTION, LARGEST_PORTION, PORTION_SECONDS, Filed, Measured, Task
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.records import Candidate, Judgement, Row, Skipped, Status, TextResult
from audit_cli.redaction import Redaction
from audit_cli.verdicts.judge import NOT_COMPARED


class Stream(Generic[Measured]):
    """The results that an `Audit` of the same texts without a comparison reports, each portion when it is measured.

    Memory stays flat: what must be remembered of a text, for those that repeat it, is in the journal.
    """

    def __init__(
        self, model: LoadedModel, task: Task[Measured], journal: Journal, redaction: Redaction, watch: Watch
    ) -> None:
        self.model, self.task, self.journal, self.redaction, self.watch = model, task, journal, redaction, watch
        self.filed = Filed(journal, task, None)

    def results(self, texts: Iterable[Candidate | Skipped]) -> Iterator[TextResult]:
        """A result a text, in order. The texts are read once, a portion ahead of the results."""
        denoiser = watched(self.model.denoiser, self.watch, "texts", 0)
        size = FIRST_PORTION
        todo = iter(texts)
        while portion := self._portion(todo, size):
            begun = time.monotonic()
            self._measure(denoiser, [row for _, rows in portion if isinstance(rows, list) for row in rows])
            seconds = max(time.monotonic() - begun, 1e-3)
            for candidate, rows in portion:
                yield self._skipped(rows) if isinstance(rows, Skipped) else self._result(candidate, rows)
            size = max(1, min(LARGEST_PORTION, int(size * min(4.0, PORTION_SECONDS / seconds))))

    def _portion(self, texts: Iterator[Candidate | Skipped], size: int) -> list[tuple[Candidate, list[Row] | Skipped]]:
        """The next texts with their rows, `size` rows or a few more: a text may have thousands of windows."""
        out: list[tuple[Candidate, list[Row] | Skipped]] = []
        count = 0
        for text in texts:
            rows = text if isinstance(text, Skipped) else self.model.rows(text)
            candidate = text.candidate if isinstance(text, Skipped) else text
            out.append((candidate, rows))
            count += 1 if isinstance(rows, Skipped) else len(rows)
            if count >= size:
                break
        return out

    def _measure(self, denoiser: Denoiser, rows: list[Row]) -> None:
        missing = {key: row for row in rows if not self.journal.has(key := self.journal.row_key("row", row))}
        measured = self.task.measure(denoiser, list(missing.values()))
        self.journal.put(
            (key, m.reason, None) if isinstance(m, Skipped) else (key, "", msgspec.msgpack.encode((m, None)))
            for key, m in zip(missing, measured, strict=True)
        )

    def _result(self, candidate: Candidate, rows: list[Row]) -> TextResult:
        found = [self.journal.get(self.journal.row_key("row", row)) or ("it was not measured", b"") for row in rows]
        reason = next((reason for reason, _ in found if reason), "")
        if reason:
            return self._skipped(Skipped(candidate, reason))
        first = self._first(candidate, rows)
        measured = [self.filed.decode(data)[0] for _, data in found]
        scores = [self.filed.score(m, None) for m in measured]
        worst = scores.index(max(scores))
        return TextResult(
            candidate,
            self._fingerprint(candidate),
            Status.MEASURED if first is None else Status.DUPLICATE,
            duplicate_of=first or "",
            tokens=rows[-1].offset + len(rows[-1].own),
            windows=len(rows),
            window_offset=rows[worst].offset,
            judgement=Judgement(self.task.recipe.name, scores[worst], None, NOT_COMPARED),
            **self.task.described(measured[worst]),
        )

    def _first(self, candidate: Candidate, rows: list[Row]) -> str | None:
        """The id of the first text with the same tokens; None if this is it, which is noted."""
        key = self.journal.key("first", b"".join(self.journal.row_key("row", row) for row in rows))
        found = self.journal.get(key)
        if found is None:
            self.journal.put([(key, "", candidate.id.encode("utf-8", "surrogatepass"))])
            return None
        return found[1].decode("utf-8", "surrogatepass")

    def _skipped(self, skipped: Skipped) -> TextResult:
        candidate = skipped.candidate
        return TextResult(candidate, self._fingerprint(candidate), Status.SKIPPED, skipped.reason)

    def _fingerprint(self, candidate: Candidate) -> str:
        return self.redaction.fingerprint(candidate.text, candidate.token_ids)
