"""The text of a corpus that is nearest to each of some rows. The corpus streams: memory does not grow with it."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from audit_cli.audits.comparison import Texts
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import CorpusSummary, Nearest, Skipped
from audit_cli.statistics.nearest import NearestSearch

PORTION_TEXTS, PORTION_TOKENS = 8192, 1 << 21


class CorpusError(Exception):
    """A corpus of which nothing can be compared; the message says why, without any text."""


@dataclass(frozen=True)
class Compared:
    """The nearest text of each row; None for a row without tokens. `sha256` is of the tokens of all texts."""

    nearest: list[Nearest | None]
    summary: CorpusSummary
    sha256: str


def nearest_in(model: LoadedModel, corpus: Texts, rows: Sequence[Sequence[int]]) -> Compared:
    """Search the corpus, whose texts are cut into windows as the model's rows are.

    Raises CorpusError if no text of it has tokens.
    """
    search, digest = NearestSearch(rows), hashlib.sha256()
    texts = skipped = longest = 0
    reason = ""
    tokens: list[tuple[int, ...]] = []
    ids: list[str] = []
    for text in corpus:
        texts += 1
        windows = text if isinstance(text, Skipped) else model.rows(text)
        if isinstance(windows, Skipped):
            skipped, reason = skipped + 1, reason or windows.reason
            continue
        for row in windows:
            longest = max(longest, len(row.own))
            tokens.append(row.own)
            ids.append(row.candidate.id + (f" +{row.offset}" if len(windows) > 1 else ""))
            digest.update(np.asarray((len(row.own), *row.own), dtype="<i8").tobytes())
            if len(tokens) >= PORTION_TEXTS or len(tokens) * longest >= PORTION_TOKENS:
                search.look(tokens, ids)
                tokens, ids, longest = [], [], 0
    search.look(tokens, ids)
    names = tuple(getattr(corpus, "names", ()))
    if texts == skipped:
        of = ", ".join(names) or "the corpus"
        raise CorpusError(f"{of}: no text can be compared: {reason or 'there is none'}")
    return Compared(search.found, CorpusSummary(names, texts, skipped), digest.hexdigest())
