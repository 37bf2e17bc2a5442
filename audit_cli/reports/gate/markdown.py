"""A gate's report as Markdown, for people: the summary of a build server, a comment on a change."""

from collections import Counter
from collections.abc import Iterable, Iterator
from heapq import nsmallest
from typing import BinaryIO

from audit_cli.records import GateReport, Limit, SetReport, Verdict
from audit_cli.redaction import Redaction
from audit_cli.reports.columns import Cells
from audit_cli.reports.gate.findings import NO_VERDICT, Outcome, all_texts, limit_described, outcome, warnings
from audit_cli.reports.gate.table import gate_cells
from audit_cli.reports.legend import GATE_LEGEND
from audit_cli.reports.markdown_file import (
    Column,
    decimal,
    percent,
    probability,
    row,
    said,
    shown,
    strength,
    text_columns,
    verdict,
)

FINDINGS_SHOWN = 200
CHARACTERS_OF_A_SENTENCE = 1000
# GitHub takes 1 MiB. An escaped character is up to 20 bytes, so that counting rows is not enough: each part has so
# many bytes, and what does not fit is counted.
REASON_BYTES, LIMIT_BYTES, WARNING_BYTES = 100_000, 50_000, 100_000
SET_BYTES, FINDING_BYTES = 250_000, 400_000

HEADINGS = {0: "passed", 1: "FAILED", 4: "inconclusive"}
NOT_AUDITED = "could not be audited"
_LISTED = (Outcome.FAILING, Outcome.KNOWN, Outcome.INCONCLUSIVE, Outcome.SKIPPED, Outcome.FINDING)

# A row of the table of findings: what a gate makes of the text, and its cells.
Finding = tuple[Outcome, Cells]


def write_gate_markdown(report: GateReport, redaction: Redaction, file: BinaryIO) -> None:
    """Markdown in UTF-8, below 1 MiB: the decision and its reasons, the sets in numbers, the `FINDINGS_SHOWN` strongest
    findings, what the words mean, and what is not shown."""
    for line in _lines(report, redaction):
        file.write(f"{line}\n".encode())


def _lines(report: GateReport, redaction: Redaction) -> Iterator[str]:
    forgiven = report.exit_code == 0 and bool(report.reasons)
    yield f"# uddm-audit check: {'FAILED (--exit-zero)' if forgiven else HEADINGS.get(report.exit_code, NOT_AUDITED)}"
    yield ""
    yield f"Model **{shown(report.model.name)}**, fails on {shown(report.fail_on)}."
    yield from _part(_reasons(report), REASON_BYTES, "reasons")
    limits = (_sentence(limit_described(limit, str)) for limit in _urgent(report.limits))
    yield from _part(limits, LIMIT_BYTES, "limits", "Limits")
    yield from _part((_set_row(one) for one in report.sets), SET_BYTES, "sets", "Sets", _SET_HEADERS)
    yield from _findings(report, redaction)
    yield from _part(map(_sentence, warnings(report)), WARNING_BYTES, "warnings", "Warnings")
    yield from ("", "## What the words mean", "")
    for word, meaning in GATE_LEGEND:
        yield f"- **{word}**: {meaning.format(others='what it is compared with')}"
    yield ""
    yield (
        f"At most {report.fdr:.0%} of findings are false on average. Settings {shown(report.run.settings_id)}, "
        f"uddm-audit {shown(report.run.version)}."
    )


def _part(lines: Iterable[str], most: int, name: str, title: str = "", headers: Iterable[str] = ()) -> Iterator[str]:
    """A list, or with headers a table, of the lines that fit into `most` bytes, and how many do not."""
    headers, size, left_out, begun = tuple(headers), 0, 0, False
    for line in lines:
        if size + len(line.encode()) + 1 > most:
            left_out += 1
            continue
        size += len(line.encode()) + 1
        if not begun:
            yield from ("", f"## {title}") if title else ()
            yield ""
            if headers:
                yield row(headers)
                yield row("---" for _ in headers)
        begun = True
        yield line
    if left_out:
        yield ""
        yield f"… {left_out:,} more {name}"


def _sentence(text: str) -> str:
    return f"- {shown(text, CHARACTERS_OF_A_SENTENCE)}"


def _reasons(report: GateReport) -> Iterator[str]:
    for reason in report.reasons:
        forgiven = " (forgiven)" if report.forgiven and reason.code == 1 else ""
        yield f"- exit {reason.code}: {shown(reason.message, CHARACTERS_OF_A_SENTENCE)}{forgiven}"


def _urgent(limits: Iterable[Limit]) -> list[Limit]:
    """Limits that are exceeded, those that are open, those that are kept."""
    order = ("exceeded", "open", "kept")
    return sorted(limits, key=lambda limit: order.index(limit.state))


_SET_HEADERS = ("set", "texts", *map(str, Verdict), NO_VERDICT, "skipped", "duplicates", "failing", "known", "expired")


def _set_row(one: SetReport) -> str:
    counts = one.report.counts
    judged = dict(counts.verdicts)
    numbers = [counts.given, *(judged.get(verdict, 0) for verdict in Verdict), counts.measured - sum(judged.values())]
    numbers += [counts.skipped, counts.duplicates, one.failing, one.known, one.expired]
    return row((shown(one.name), *(f"{number:,}" for number in numbers)))


def _findings(report: GateReport, redaction: Redaction) -> Iterator[str]:
    """The strongest findings, and how many texts have no row."""
    seen: Counter[Outcome] = Counter()
    columns = _columns(redaction)
    strongest = nsmallest(FINDINGS_SHOWN, _counted(report, redaction, seen), _order)
    rows = (row(show({"gate": found} | cells) for _, show in columns) for found, cells in strongest)
    yield from _part(rows, FINDING_BYTES, "of the strongest findings", "Findings", (header for header, _ in columns))
    if (left_out := sum(seen[found] for found in _LISTED) - FINDINGS_SHOWN) > 0:
        yield ""
        yield f"… {left_out:,} more texts with less to say of them"
    if passed := [f"{seen[kind]:,} {word}" for kind, word in _UNLISTED.items() if seen[kind]]:
        yield ""
        yield f"Not listed: {', '.join(passed)}."


_UNLISTED = {Outcome.PASSED: "with no evidence", Outcome.DUPLICATE: "repeated"}


def _counted(report: GateReport, redaction: Redaction, seen: Counter[Outcome]) -> Iterator[Finding]:
    """What has a row, while everything is counted as it passes."""
    for one, result in all_texts(report):
        found = outcome(result)
        seen[found] += 1
        if found in _LISTED:
            yield found, gate_cells(one, result, redaction)


def _order(finding: Finding) -> tuple[float, ...]:
    found, cells = finding
    return _LISTED.index(found), *strength(cells)


def _columns(redaction: Redaction) -> list[Column]:
    return [
        ("set", said("set")),
        *text_columns(redaction),
        ("gate", _gate),
        ("verdict", verdict),
        ("q", probability("q_value")),
        ("returned", percent("returned_share")),
        ("surprise, nats/token", decimal("surprise_nats")),
    ]


def _gate(cells: Cells) -> str:
    """What the gate makes of a text; of one that is known, who accepted it, why, and for how long."""
    if cells["gate"] is not Outcome.KNOWN:
        return f"{cells['gate']}, expired" if cells["expired"] else str(cells["gate"])
    until = f", until {shown(cells['known_expires'])}" if cells["known_expires"] else ""
    return f"known: {shown(cells['known_reason'])} ({shown(cells['known_author'])}{until})"
