"""`uddm-audit calibrate`: held-out text is measured once, cut to a ladder of lengths, for many audits of one model."""

import math
from collections import Counter
from collections.abc import Iterable
from typing import Generic

from audit_cli import __version__
from audit_cli.audits.cache import measure_references
from audit_cli.audits.calibrated import keyed, made_for
from audit_cli.audits.comparison import Texts
from audit_cli.audits.heldout import Reference, references
from audit_cli.audits.law import checked_law
from audit_cli.audits.measuring import Filed, Measured
from audit_cli.audits.run import Audit
from audit_cli.audits.texts import Heldout, References, Scan, reference_rows
from audit_cli.diffusion.denoiser import Law
from audit_cli.probes.entropy import CONVERTED
from audit_cli.safetext import for_terminal
from audit_cli.statistics.conformal import rounded
from audit_cli.verdicts.calibration import (
    MOST_BYTES,
    SCHEMA,
    Calibration,
    Facts,
    HeldFacts,
    LawFacts,
    Scored,
)
from audit_cli.verdicts.keyed_runs import HASH_BYTES, looked_for

# Room for the rest of a file beside its hashes.
SIZE = MOST_BYTES * 3 // 4


class Calibrator(Generic[Measured]):
    """A calibration from end to end, as `audit`, which needs no texts and no comparison, measures and scores."""

    def __init__(self, audit: Audit[Measured], heldout: Texts, lengths: tuple[int, int] | None = None) -> None:
        """`lengths` are the shortest and longest of the candidates to come; by default those of the held-out texts."""
        self.audit, self._heldout, self._lengths = audit, heldout, lengths
        self.model, self.watch, self.journal = audit.model, audit.watch, audit.journal
        self._filed = Filed(self.journal, audit.task.of_references(), None)
        self.recalled = 0

    def made(self) -> Calibration:
        """Measure what is not in the journal, and what no earlier run has measured.

        Raises ValueError where there is nothing to measure, or too much for a file, and FloatingPointError where the
        network's logits are not finite.
        """
        # A network of which nothing can be said is told before time is spent, and before a journal keeps anything.
        checked_law(self.model, self.audit.settings.seed)
        self.watch.stage("reading", 0)
        held = Heldout.read(self.model, self._heldout)
        texts = reference_rows(self.model, self._to_come(held), held)
        if not any(texts.rows):
            longest = max(len(ids) for ids, _ in held.texts)
            raise ValueError(f"no held-out text is long enough for these lengths: the longest has {longest:,} tokens")
        self._check_size(texts, held)
        self._measure(texts)
        scored = [[r for r in group if math.isfinite(r.score)] for group in references(self._filed, texts)]
        if not any(scored):
            raise ValueError(f"no held-out text has a score: {self._reason(texts)}")
        return Calibration.of(self._facts(texts, held, scored))

    def _reason(self, texts: References) -> str:
        """Why the first of the held-out pieces without a score has none."""
        keys = (self.journal.row_key("reference", row) for group in texts.rows for row in group)
        return next((entry[0] for key in keys if (entry := self.journal.get(key)) and entry[0]), "it is no number")

    def _to_come(self, held: Heldout) -> Scan:
        """Candidates to come, one of each length, and whether there are any longer than the model."""
        if not held.texts:
            raise ValueError("no held-out text can be measured: all were skipped")
        lengths = [(len(ids), self.model.room(candidate, len(ids))) for ids, candidate in held.texts]
        shortest, longest = self._lengths or (
            min(length for length, _ in lengths),
            max(min(length, room) for length, room in lengths),
        )
        windows = longest > self.model.layout.max_length
        if self._lengths is None:
            windows = any(length > room > 0 for length, room in lengths)
        fitting = range(shortest, min(longest, self.model.layout.row_length) + 1)
        return Scan(lengths=Counter(fitting), long=int(windows))

    def _check_size(self, texts: References, held: Heldout) -> None:
        """Raise ValueError on a file that nobody would read: hashes of runs are most of it."""
        marks = {mark for ends in self._ends(texts) for mark in looked_for(*ends)}
        runs = sum(max(0, len(ids) - tokens + 1) for tokens, _ in marks for ids, _ in held.texts)
        if (size := runs * HASH_BYTES * 4 // 3) > SIZE:
            raise ValueError(f"the file would take {size >> 20:,} MB: give the --lengths of the texts to come")

    def _measure(self, texts: References) -> None:
        task = self._filed.task
        every = [row for group in texts.rows for row in group]
        more, expected = self.audit.comparison.plain(), sum(map(task.evaluations, every))
        self.recalled = measure_references(
            self._filed, self.model, every, self.audit.settings, more, self.watch, expected
        )

    def _ends(self, texts: References) -> list[tuple[int, int]]:
        """Shortest and longest length of each group's candidates, of windows the model's twice."""
        windows = [self.model.layout.max_length] * (len(texts.rows) - len(texts.bands))
        return [(min(band.counts), max(band.counts)) for band in texts.bands] + [(n, n) for n in windows]

    def _facts(self, texts: References, held: Heldout, scored: list[list[Reference]]) -> Facts:
        audit, model, keys = self.audit, self.model, keyed(self.journal)
        numbers = {text: i for i, text in enumerate(sorted({r.text for group in scored for r in group}))}
        bands = [
            _band(ends, windows, group, numbers)
            for ends, windows, group in zip(self._ends(texts), self._windows(texts), scored, strict=True)
            if group
        ]
        law = checked_law(model, audit.settings.seed)
        own = [held.texts[text][0] for text in numbers]
        marks = sorted({mark for band in bands for mark in looked_for(*band.ends)})
        look = audit.task.entropy_probe()
        other = CONVERTED if look.convert else str(model.denoiser.law)
        return Facts(
            schema=SCHEMA,
            tool=__version__,
            made_for=made_for(audit.task.command, audit.recipe, model, audit.settings),
            model=for_terminal(model.info.name),
            device=str(model.denoiser.device),
            law=LawFacts(
                str(model.info.law),
                str(law.check),
                law.contrast,
                other if model.denoiser.law is Law.POSTERIOR else None,
            ),
            heldout=HeldFacts(
                given=texts.given,
                skipped=texts.skipped + texts.used - len(numbers),
                duplicates=texts.duplicates,
                too_short=texts.too_short,
                used=len(numbers),
                sha256=texts.sha256(),
            ),
            key_check=keys.check,
            texts=len(numbers),
            bands=bands,
            marks=[keys.mark(own, tokens, beginning) for tokens, beginning in marks],
        )

    @staticmethod
    def _windows(texts: References) -> list[bool]:
        return [group >= len(texts.bands) for group in range(len(texts.rows))]


def _band(ends: tuple[int, int], windows: bool, group: list[Reference], numbers: dict[int, int]) -> Scored:
    """The columns of a group, in the order of its texts, as scores are compared: to six significant digits."""
    held = sorted(group, key=lambda r: r.text)

    def column(values: Iterable[float]) -> list[float]:
        found: list[float] = rounded(list(values)).tolist()
        return found

    return Scored(
        *ends,
        windows,
        texts=[numbers[r.text] for r in held],
        score=column(r.score for r in held),
        entropy=column(r.entropy for r in held),
        surprise=column(r.surprise for r in held),
        vanishing_share=column(r.vanishing_share for r in held),
        returned=[list(r.returned) for r in held],
        basin=[None if r.basin is None else column([r.basin])[0] for r in held],
    )
