"""What `uddm-audit check` prints: set by set what matters, then the decision."""

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from audit_cli.records import GateReport, Limit, SetReport, Status, TextResult, Verdict
from audit_cli.redaction import Redaction
from audit_cli.reports import words
from audit_cli.reports.legend import BASINS_LEGEND, ENTROPY_LEGEND
from audit_cli.reports.model import law_notes
from audit_cli.reports.parts import (
    ROWS_SHOWN,
    Notes,
    below_rows,
    head,
    how_words,
    legend_of,
    shown,
    texts_words,
)
from audit_cli.reports.terminal import basins_table, entropy_table
from audit_cli.safetext import for_terminal
from audit_cli.verdicts.gate import FAILED, UNMEASURED

# How a decision is called, by its exit code.
DECISIONS = {0: "PASSED", 1: "FAILED", 3: "NOT AUDITED", 4: "INCONCLUSIVE"}
STYLES = {0: "bold green", 1: "bold red", 3: "bold yellow", 4: "bold yellow"}


def gate_report(
    report: GateReport, redaction: Redaction, width: int, show_all: bool, legend: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit check`."""
    yield head(report.model, report.law, _lines(report), law_notes(report.sets[0].report))
    notes = Notes()
    for one in report.sets:
        yield from _set(one, redaction, width, show_all, notes, named=len(report.sets) > 1 or bool(one.where))
    if report.limits:
        yield Padding(Group(*(_limit(limit) for limit in report.limits)), (1, 0, 0, 0), expand=False)
    judged = next((one.report for one in report.sets if one.report.counts.most_references), None)
    if legend and judged is not None:
        words_of_table = BASINS_LEGEND if judged.run.command == "basins" else ENTROPY_LEGEND
        yield Padding(legend_of(judged, notes, words_of_table), (1, 0, 0, 0), expand=False)
    yield Padding(_decision(report), (1, 0, 0, 0), expand=False)


def _lines(report: GateReport) -> Iterator[tuple[str, str]]:
    """How it was measured, and what fails."""
    some = report.sets[0].report
    given = sum(one.report.counts.given for one in report.sets)
    sets = f" in {len(report.sets)} sets" if len(report.sets) > 1 else ""
    run = [f"{given:,} text{'s' * (given != 1)}{sets}", *how_words(some), words.duration(report.run.seconds)]
    yield "Check", ", ".join(run)
    above = "" if report.fail_on == "memorized" else " and above"
    policy = [f"fails on {report.fail_on}{above}", f"at most {report.fdr:.0%} false findings".replace("%", " %")]
    policy += [f"baseline {for_terminal(report.baseline)}"] if report.baseline else []
    where = report.sets[0].where
    yield "Policy", f"{for_terminal(where)}: {', '.join(policy)}" if where else ", ".join(policy)


def _set(
    one: SetReport, redaction: Redaction, width: int, show_all: bool, notes: Notes, named: bool
) -> Iterator[RenderableType]:
    """A set: what it was compared with, the rows that matter, the counts."""
    report = one.report
    at = f" ({for_terminal(one.where)}:{one.line})" if one.where else ""
    said = Text(f"{for_terminal(one.name)}{at}", "bold") if named else Text()
    compared = ", ".join(texts_words(report)) or "no candidates"
    yield Padding(Text.assemble(said, "   " if named else "", compared), (1, 0, 0, 0), expand=False)
    rows = shown(report, show_all, None if show_all else _matters)
    own = Notes()
    hidden = 0
    late = sum(map(_unmeasured, report.results)) if report.counts.skipped else 0
    if late:
        yield Text(f"{late:,} text{'s were' if late > 1 else ' was'} not measured: the time was over", "yellow")
    if rows:
        table = basins_table if report.run.command == "basins" else entropy_table
        yield table(report, rows, redaction, width, own, bits=False)
        hidden = 0 if show_all or len(rows) < ROWS_SHOWN else _number(report.counts.verdicts, one) - len(rows)
    yield from below_rows(report, redaction, hidden, own)
    notes.extended |= own.extended
    notes.windowed |= own.windowed


def _matters(result: TextResult) -> bool:
    """Whether a row says more than that nothing was found, or that the time was over."""
    judgement = result.judgement
    if result.status is not Status.MEASURED:
        return result.status is Status.SKIPPED and not _unmeasured(result)
    return judgement is None or judgement.verdict is not Verdict.NO_EVIDENCE


def _unmeasured(result: TextResult) -> bool:
    return result.skip_reason.startswith(UNMEASURED.partition("{")[0])


def _number(verdicts: tuple[tuple[Verdict, int], ...], one: SetReport) -> int:
    """How many rows matter."""
    return one.report.counts.skipped + sum(count for verdict, count in verdicts if verdict is not Verdict.NO_EVIDENCE)


def _limit(limit: Limit) -> Text:
    """A limit, and what was measured of it."""
    m = limit.measured
    measured = "not measured" if m is None else f"{m.value:.2f} [{m.low:.2f}, {m.high:.2f}]"
    return Text(f" {limit.name} {limit.bound:g}: {measured}: {limit.state}")


def _decision(report: GateReport) -> Text:
    """The decision, and every reason for it."""
    code = report.exit_code
    # What is forgiven has failed all the same.
    first = FAILED if code == 0 and report.reasons else code
    reasons = [reason for reason in report.reasons if reason.code == first]
    others = [reason for reason in report.reasons if reason not in reasons]
    let = f", exit code {code} by --exit-zero" if first != code else ""
    told = for_terminal("; ".join(reason.message for reason in reasons))
    out = Text.assemble((DECISIONS[first], STYLES[first]), f"{let}: {told}")
    if not report.reasons:
        known = f" that is not known ({report.known:,} known)" if report.known else ""
        out.append(f"no text is {_or_above(report.fail_on)}{known}")
    for reason in others:
        forgiven = " (--exit-zero)" if reason.code == FAILED else ""
        out.append(f"\n  also: {for_terminal(reason.message)}{forgiven}")
    return out


def _or_above(verdict: str) -> str:
    return verdict if verdict == "memorized" else f"{verdict} or above"
