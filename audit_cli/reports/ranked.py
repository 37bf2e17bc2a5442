"""Runs of `generate` and `retrieve` as files: rows of cells, a summary in Markdown, and provenance."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import BinaryIO

from audit_cli.records import (
    CorpusSummary,
    CueResult,
    GeneratedText,
    Generation,
    Interval,
    Nearest,
    Origin,
    Retrieval,
    RetrievedText,
    Storage,
)
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports import words
from audit_cli.reports.columns import SCHEMA, Cells, Columns, cells_in_bits, columns
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.markdown_file import ROWS_SHOWN, Column, decimal, row, said
from audit_cli.reports.metadata import dumped
from audit_cli.reports.model import law_notes
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.rows import finite, shown_text
from audit_cli.safetext import for_markdown

PLAIN = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


@dataclass(frozen=True)
class RankedTable:
    """The table of `columns.RANKED_COLUMNS` that a run is: a row a text that was written, or a cue's attractor."""

    found: Generation | Retrieval
    redaction: Redaction
    bits: bool = False

    @property
    def columns(self) -> Columns:
        return columns(self.found.run.command, self.bits)

    def __iter__(self) -> Iterator[Cells]:
        found = self.found
        rows = _generated(found, self.redaction) if isinstance(found, Generation) else _retrieved(found, self.redaction)
        first: Cells = {"schema": SCHEMA, "settings_id": found.run.settings_id}
        for cells in rows:
            every = dict.fromkeys(columns(found.run.command, False)) | first | cells
            yield finite(cells_in_bits(every) if self.bits else every)


def _generated(found: Generation, redaction: Redaction) -> Iterator[Cells]:
    for text in found.texts:
        yield {"samples": text.samples, **_text_cells(text, redaction), "origin": _word(text.origin)}


def _retrieved(found: Retrieval, redaction: Redaction) -> Iterator[Cells]:
    for result in found.cues:
        cue = _cue_cells(result)
        if result.reason:
            yield cue | {"status": "skipped", "skip_reason": result.reason}
        for text in result.attractors:
            own = {"restarts": text.restarts, "fixed_point": text.fixed_point, "storage": _word(text.storage)}
            yield cue | _text_cells(text, redaction) | own


def _cue_cells(result: CueResult) -> Cells:
    ran = not result.reason
    return {
        "source": result.cue.source,
        "line": result.cue.line,
        "cue": result.cue.id,
        "cue_fingerprint": result.fingerprint or None,
        "status": "measured",
        "tokens": result.tokens if ran else None,
        "unknown": result.unknown if ran else None,
        "level": result.level if ran else None,
    }


def _text_cells(text: GeneratedText | RetrievedText, redaction: Redaction) -> Cells:
    return {
        "rank": text.rank,
        "fingerprint": text.fingerprint or None,
        "tokens": len(text.token_ids),
        "count": text.count,
        "share": text.share.value,
        "share_low": text.share.low,
        "share_high": text.share.high,
        "entropy_nats": text.entropy.entropy_mean if text.entropy else None,
        "surprise_nats": text.entropy.surprise_mean if text.entropy else None,
        "nearest": text.nearest.id if text.nearest else None,
        "similarity": text.nearest.similarity if text.nearest else None,
        "text": shown_text(redaction, text.text),
    }


def _word(kind: Origin | Storage | None) -> str | None:
    return None if kind is None else str(kind)


def write_ranked_table(table: RankedTable, format: str, file: BinaryIO) -> None:
    """Write the table in one of the formats; as Markdown the first thousand rows with few columns, in UTF-8."""
    if format != "markdown":
        PLAIN[format](table, file)
        return
    for line in _markdown(table):
        file.write(f"{line}\n".encode())


def _markdown(table: RankedTable) -> Iterator[str]:
    found = table.found
    yield f"# uddm-audit {found.run.command}: {for_markdown(found.model.name)}"
    how = f"Settings {found.run.settings_id}, uddm-audit {found.run.version}."
    for paragraph in (*map(for_markdown, (*law_notes(found), *summary(found))), how):
        yield ""
        yield paragraph
    yield ""
    shown = _markdown_columns(table)
    yield row(header for header, _ in shown)
    yield row("---" for _ in shown)
    rows = iter(table)
    for cells in islice(rows, ROWS_SHOWN):
        yield row(show(cells) for _, show in shown)
    if left_out := sum(1 for _ in rows):
        yield ""
        yield f"… {left_out:,} more"


def _markdown_columns(table: RankedTable) -> list[Column]:
    found, unit = table.found, words.unit(table.bits)
    show = table.redaction.show
    text: dict[ShowText, list[Column]] = {
        ShowText.NONE: [],
        ShowText.FINGERPRINT: [("fingerprint", said("fingerprint"))],
    }
    retrieved = isinstance(found, Retrieval)
    kind = "storage" if retrieved else "origin"
    return [
        *([("cue", said("cue")), ("status", _status)] if retrieved else []),
        ("rank", said("rank")),
        *text.get(show, [("text", said("text"))]),
        ("count", said("count")),
        ("share [95 %]", _share),
        (f"entropy, {unit}/token", decimal(f"entropy_{unit}")),
        (f"surprise, {unit}/token", decimal(f"surprise_{unit}")),
        *([("fixed point", said("fixed_point"))] if retrieved else []),
        *([] if found.corpus is None else [("nearest", said("nearest")), ("similarity", decimal("similarity"))]),
        *([] if found.corpus is None else [(kind, said(kind))]),
    ]


def _status(cells: Cells) -> str:
    reason = cells["skip_reason"]
    return f"skipped: {for_markdown(reason)}" if reason else str(cells["status"])


def _share(cells: Cells) -> str:
    if cells["share"] is None:
        return ""
    return interval(Interval(cells["share"], cells["share_low"], cells["share_high"]))


def interval(share: Interval) -> str:
    """.51 [.45, .57]"""
    return f"{words.share(share.value)} [{words.share(share.low)}, {words.share(share.high)}]"


def nearest(found: Nearest | None) -> tuple[str, str]:
    """A text's id and how similar it is; rounding never makes what is not the same text look so."""
    if found is None:
        return "", ""
    return found.id, words.share(found.similarity if found.similarity == 1 else min(found.similarity, 0.99))


def summary(found: Generation | Retrieval) -> list[str]:
    """What a run found, a sentence each; unsafe, as names of files are."""
    return list(_of_generation(found) if isinstance(found, Generation) else _of_retrieval(found))


def _of_generation(found: Generation) -> Iterator[str]:
    yield f"{number(len(found.texts), 'distinct text')} among {number(found.samples, 'sample')}."
    if found.copies is not None and found.corpus is not None:
        copies, near, new = (found.samples_of(origin) for origin in (Origin.COPY, Origin.NEAR, Origin.NEW))
        value, bounds = words.percent(found.copies)
        kinds = f"{copies:,} copy, {near:,} near, {new:,} new"
        yield f"{value} {bounds} of the samples are copies of a text of {_names(found.corpus)}: {kinds}."
        yield from _left_out(found.corpus)


def _of_retrieval(found: Retrieval) -> Iterator[str]:
    attractors = [text for result in found.cues for text in result.attractors]
    ran = sum(not result.reason for result in found.cues)
    of = number(ran, "cue")
    first = [result.attractors[0] for result in found.cues if result.attractors]
    if found.corpus is None:
        yield f"{number(len(attractors), 'distinct attractor')} of {of}."
    else:
        kinds = {kind: sum(text.storage is kind for text in first) for kind in Storage}
        told = ", ".join(f"{count:,} {kind}" for kind, count in kinds.items() if count)
        names = _names(found.corpus)
        yield f"{number(len(attractors), 'distinct attractor')} of {of}. The most frequent of each, in {names}: {told}."
        yield from _left_out(found.corpus)
    if skipped := len(found.cues) - ran:
        yield f"{number(skipped, 'cue')} skipped."


def number(count: int, what: str) -> str:
    """1 cue, 12 cues."""
    return f"{count:,} {what}" + "s" * (count != 1)


def _names(corpus: CorpusSummary) -> str:
    return ", ".join(corpus.names) or "the corpus"


def _left_out(corpus: CorpusSummary) -> Iterator[str]:
    if corpus.skipped:
        yield f"{corpus.skipped:,} of its {corpus.texts:,} texts could not be compared."


def ranked_metadata(found: Generation | Retrieval) -> str:
    """The provenance as JSON, ASCII only, with an end of line."""
    run = found.run
    if isinstance(found, Generation):
        counts: dict[str, object] = {"samples": found.samples, "distinct": len(found.texts)}
        counts |= {} if found.copies is None else {str(origin): found.samples_of(origin) for origin in Origin}
    else:
        skipped = sum(bool(result.reason) for result in found.cues)
        counts = {"given": len(found.cues), "measured": len(found.cues) - skipped, "skipped": skipped}
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": found.model,
        "law_check": {"contrast": found.law.contrast, "result": found.law.check, "probes": found.law.probes},
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "counts": counts,
        "copies": found.copies if isinstance(found, Generation) else None,
        "corpus": found.corpus,
        "warnings": law_notes(found),
    }
    return dumped(facts, indent=2) + "\n"
