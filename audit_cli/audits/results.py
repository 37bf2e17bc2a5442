"""The results of a run as a stream, read back from the journal beside the texts themselves."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic

import numpy as np

from audit_cli.audits.comparison import Texts
from audit_cli.audits.journal import Journal, TextEntry
from audit_cli.audits.measuring import Filed, Measured
from audit_cli.audits.texts import side_by_side
from audit_cli.records import Candidate, Judgement, Skipped, Status, TextResult
from audit_cli.redaction import Redaction
from audit_cli.verdicts.judge import Judgements


class JournalResults(Generic[Measured]):
    """One `TextResult` a text, in order, then those in `own`, the model's own samples."""

    def __init__(
        self,
        texts: Texts,
        count: int,
        journal: Journal,
        filed: Filed[Measured],
        positions: np.ndarray,
        worst: np.ndarray,
        judgements: Judgements,
        failed: dict[int, str],
        redaction: Redaction,
        describe: Callable[[Measured], dict[str, Any]],
        own: Sequence[TextResult] = (),
    ) -> None:
        """`positions` (texts,) ascending, `worst` (texts,) the number of each one's window with the highest score,
        and their judgements; `failed` has the reason of each distinct text that has none of them."""
        self._texts, self._count, self._journal, self._filed = texts, count, journal, filed
        self._positions, self._worst, self._judgements, self._failed = positions, worst, judgements, failed
        self._redaction, self._describe, self._own = redaction, describe, own

    def __len__(self) -> int:
        return self._count + len(self._own)

    def __iter__(self) -> Iterator[TextResult]:
        for entry, text in side_by_side(self._journal, self._texts):
            candidate = text.candidate if isinstance(text, Skipped) else text
            yield self._result(entry, candidate)
        yield from self._own

    def _result(self, entry: TextEntry, candidate: Candidate) -> TextResult:
        fingerprint = self._redaction.fingerprint(candidate.text, candidate.token_ids)
        reason = entry.reason or self._failed.get(entry.first, "")
        if reason:
            return TextResult(candidate, fingerprint, Status.SKIPPED, reason)
        index = int(np.searchsorted(self._positions, entry.first))
        start, data = self._journal.part(entry.first, int(self._worst[index]))
        measured, _ = self._filed.decode(data)
        first = entry.first == entry.position
        judgement: Judgement = self._judgements[index]
        return TextResult(
            candidate,
            fingerprint,
            Status.MEASURED if first else Status.DUPLICATE,
            duplicate_of="" if first else self._journal.name(entry.first),
            tokens=entry.tokens,
            windows=entry.windows,
            window_offset=start,
            judgement=judgement,
            **self._describe(measured),
        )
