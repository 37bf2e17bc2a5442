"""Reports for a person at a terminal. Gives renderables; whoever holds the console prints them."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.box import Box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import (
    AuditReport,
    Basin,
    HeldoutQuantile,
    Interval,
    LawCheck,
    LawCheckResult,
    ModelInfo,
    Status,
    TextResult,
    Verdict,
)
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.bars import bar, histogram
from audit_cli.reports.legend import BASINS_LEGEND, ENTROPY_LEGEND, NO_VERDICT, REGIME_LEGEND
from audit_cli.safetext import for_terminal
from audit_cli.statistics.conformal import references_needed

RULED = Box("    \n    \n -- \n    \n -- \n -- \n    \n -- \n", ascii=True)
ROWS_SHOWN = 20
EXCERPT_CELLS = 28
LEAST_EXCERPT, LEAST_NAME = 8, 12
NO_SURPRISE_BELOW = 90
# Cells of the columns beside the text, by the first word of their header.
BASINS_WIDTHS = {"returned": 21, "basin": 16, "surprise": 10, "q": 6, "verdict": 14, "": 10}
ENTROPY_WIDTHS = {"entropy": 10, "surprise": 10, "vanishing tokens": 16, "q": 6, "verdict": 14, "": 10}
STYLES = {
    Verdict.MEMORIZED: "bold red",
    Verdict.FAMILIAR: "red",
    Verdict.RECOVERABLE: "yellow",
    Verdict.INCONCLUSIVE: "yellow",
    Verdict.NO_EVIDENCE: "",
}


def basins_report(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit basins`."""
    notes = _Notes()
    yield from _heading(report)
    if report.results:
        yield _basins_table(report, redaction, width, show_all, notes, bits)
        yield from _below(report, show_all, notes)
    if legend:
        yield Text(BASINS_LEGEND if report.heldout else NO_VERDICT.format(needed=_needed(report), m=_m(report)))
        if report.heldout:
            yield _q_legend(report)


def entropy_report(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The report of `uddm-audit entropy`: texts, the model's own samples, or both."""
    notes = _Notes()
    yield from _heading(report)
    if any(result.origin == "given" for result in report.results):
        yield _entropy_table(report, redaction, width, show_all, notes, bits)
        yield from _below(report, show_all, notes)
        if legend and report.heldout:
            yield Text(ENTROPY_LEGEND)
            yield _q_legend(report)
        elif legend:
            yield Text(NO_VERDICT.format(needed=_needed(report), m=_m(report)))
    if report.regime is not None:
        yield _regime(report, legend, bits)


def inspect_report(info: ModelInfo, law: LawCheckResult, size_bytes: int) -> RenderableType:
    """What `uddm-audit inspect` says of a checkpoint."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("checkpoint", for_terminal(info.name)),
        ("family", f"{info.family}, {info.backbone} backbone"),
        ("parameters", f"{info.parameters:,} ({_bytes(size_bytes)} on disk)"),
        ("vocabulary", f"{info.vocab_size:,} tokens ({for_terminal(info.tokenizer)})"),
        ("length", f"{info.max_length} tokens, rows: {info.rows}"),
        ("noise", f"uniform, {info.schedule} schedule"),
        ("law", f"{info.law}; law check {law.check}: contrast {law.contrast:+.2f} over {law.probes} probes"),
        ("weights", f"{info.weights}, sha256 {info.weights_sha256}"),
        ("tokenizer", f"sha256 {info.tokenizer_sha256}"),
    ):
        table.add_row(Text(name, style="bold"), Text(value))
    if law.check is LawCheck.CONFIRMED:
        return table
    return Group(table, Text(), Text(LAW_WARNINGS[law.check], style="yellow"))


LAW_WARNINGS = {
    LawCheck.LEAKS: "The network partly copies its input: read entropies with care.",
    LawCheck.CONTRADICTED: "The network copies its input: its entropy says nothing of memorization, "
    "and no verdict rests on it.",
}


def _heading(report: AuditReport) -> Iterator[RenderableType]:
    model, run = report.model, report.run
    check = f"{model.law} law ({report.law.check})"
    yield Text.assemble(
        ("Model  ", "bold"),
        f"{for_terminal(model.name)}   {_count(model.parameters)} parameters, V {model.vocab_size:,}, "
        f"L {model.max_length}, {check}, {model.weights} weights",
    )
    yield Text.assemble(("Run    ", "bold"), _run_line(report))
    if report.law.check is not LawCheck.CONFIRMED:
        yield Text(LAW_WARNINGS[report.law.check], style="yellow")
    for warning in report.warnings:
        yield Text(f"       {warning}", style="yellow")
    if run.settings.get("protocol") == "paper":
        yield Text("       protocol of arXiv 2604.26841; verdicts need the default protocol's restarts")


def _run_line(report: AuditReport) -> str:
    run, settings = report.run, report.run.settings
    given = [r for r in report.results if r.origin == "given"]
    parts = []
    if given:
        done = sum(r.status is not Status.SKIPPED for r in given)
        parts.append(f"{done} of {len(given)} texts measured")
    if report.heldout is not None:
        parts.append(_heldout_words(report))
    if run.command == "basins":
        restarts, steps = (1, 1000) if settings["protocol"] == "paper" else (settings["restarts"], settings["steps"])
        of = f"{settings['sampler']}, " if settings["sampler"] != "ancestral" else ""
        parts.append(f"{of}{restarts} restart{'s' * (restarts != 1)}, {steps} steps")
    else:
        if report.regime is not None:
            parts.append(f"{report.regime.samples} texts generated by the model itself")
        corrupted = f", {settings['draws']} corruptions" if settings["draws"] else ""
        parts.append(f"t = {settings['t']:g}{corrupted}")
        if settings["context"] == "prefix":
            parts.append("given the prefix only")
    return ", ".join([*parts, f"seed {settings['seed']}", _duration(run.seconds)])


def _heldout_words(report: AuditReport) -> str:
    held = report.heldout
    assert held is not None  # noqa: S101 - the caller has looked
    gone = [
        f"{count} {why}"
        for count, why in (
            (held.skipped, "unusable"),
            (held.duplicates, "twice"),
            (held.near_duplicates, "like a candidate"),
            (held.too_short, "too short"),
        )
        if count
    ]
    words = f"{held.measured:,} held-out" + (f" ({', '.join(gone)} left out)" if gone else "")
    fewest = held.references
    return words if fewest == held.measured else f"{words}, at least {fewest:,} to a text"


def _basins_table(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, notes: "_Notes", bits: bool
) -> Table:
    judged = report.heldout is not None
    restarts = 1 if report.run.settings["protocol"] == "paper" else int(str(report.run.settings["restarts"]))
    surprise = width >= NO_SURPRISE_BELOW
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    table.add_column(
        f"returned, of {restarts}, after\n" + _cells([f"{level:.0%}" for level in report.levels]), no_wrap=True
    )
    table.add_column("basin\n[95 %]", justify="center", no_wrap=True)
    if surprise:
        table.add_column("surprise\n" + _unit(bits), justify="right", no_wrap=True)
    if judged:
        table.add_column("q", justify="right", vertical="bottom", no_wrap=True)
        table.add_column("verdict", vertical="bottom", no_wrap=True)
    room = width - _width_of(table, BASINS_WIDTHS | {"returned": max(21, 5 * len(report.levels))})
    for result in _shown(report, show_all):
        m = result.basin_measurement
        cells: list[str | Text] = [_name(result, redaction, room)]
        if m is None:
            cells += ["", "", *([""] if surprise else [])]
        else:
            cells += [
                _cells([str(x.returned) for x in m.levels]),
                _basin(result.basin, report.levels),
                *([_nats(m.entropy.surprise_mean, bits)] if surprise else []),
            ]
        table.add_row(*cells, *(_verdict_cells(result, notes) if judged else _skip_note(result, notes, table)))
    if report.heldout is not None and report.heldout.median is not None:
        table.add_section()
        for name, quantile in _quantiles(report, room):
            basin = "" if quantile.basin is None else _share_above(quantile.basin, report.levels)
            cells = [name, _cells([f"{r:g}" for r in quantile.returned]), basin]
            table.add_row(*cells, *([_nats(quantile.surprise, bits)] if surprise else []), style="dim")
    return table


def _entropy_table(
    report: AuditReport, redaction: Redaction, width: int, show_all: bool, notes: "_Notes", bits: bool
) -> Table:
    judged = report.heldout is not None
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    table.add_column("entropy\n" + _unit(bits), justify="right", no_wrap=True)
    table.add_column("surprise\n" + _unit(bits), justify="right", no_wrap=True)
    table.add_column(f"vanishing tokens\n< {_nats(0.05, bits)} {'bits' if bits else 'nats'}", no_wrap=True)
    if judged:
        table.add_column("q", justify="right", vertical="bottom", no_wrap=True)
        table.add_column("verdict", vertical="bottom", no_wrap=True)
    room = width - _width_of(table, ENTROPY_WIDTHS)
    for result in _shown(report, show_all):
        m = result.entropy
        cells: list[str | Text] = [_name(result, redaction, room)]
        if m is None:
            cells += ["", "", ""]
        else:
            cells += [_nats(m.entropy_mean, bits), _nats(m.surprise_mean, bits), _share_bar(m.vanishing_share)]
        table.add_row(*cells, *(_verdict_cells(result, notes) if judged else _skip_note(result, notes, table)))
    if report.heldout is not None and report.heldout.median is not None:
        table.add_section()
        for name, quantile in _quantiles(report, room):
            table.add_row(
                name,
                _nats(quantile.entropy, bits),
                _nats(quantile.surprise, bits),
                _share_bar(quantile.vanishing_share),
                style="dim",
            )
    return table


def _shown(report: AuditReport, show_all: bool) -> Sequence[TextResult]:
    """The texts in the order of their verdicts, then q, then score; the first twenty unless all are asked for."""
    order = {verdict: i for i, verdict in enumerate(Verdict)}

    def key(result: TextResult) -> tuple[float, float, float]:
        judgement = result.judgement
        if judgement is None:
            return len(order) + 1, 0.0, 0.0
        rank = len(order) if judgement.verdict is None else order[judgement.verdict]
        return rank, 1.0 if judgement.q_value is None else judgement.q_value, -judgement.score

    given = sorted((r for r in report.results if r.origin == "given"), key=key)
    return given if show_all else given[:ROWS_SHOWN]


def _below(report: AuditReport, show_all: bool, notes: "_Notes") -> Iterator[RenderableType]:
    given = [r for r in report.results if r.origin == "given"]
    hidden = 0 if show_all else len(given) - ROWS_SHOWN
    if hidden > 0:
        yield Text(f" … {hidden:,} more: -o FILE or --all")
    yield Text()
    if notes.reasons:
        yield Text("\n".join(notes.lines()))
        yield Text()
    yield Text(_counts(given), style="bold")


def _counts(given: Sequence[TextResult]) -> str:
    kinds: Counter[str] = Counter()
    for result in given:
        if result.status is Status.SKIPPED:
            kinds["skipped"] += 1
        elif result.judgement and result.judgement.verdict:
            kinds[str(result.judgement.verdict)] += 1
        else:
            kinds["measured"] += 1
    order = [*map(str, Verdict), "measured", "skipped"]
    duplicates = sum(r.status is Status.DUPLICATE for r in given)
    twice = f" {duplicates} of them duplicates, measured once." if duplicates else ""
    return ", ".join(f"{kinds[kind]} {kind}" for kind in order if kinds[kind]) + "." + twice


class _Notes:
    """Reasons under letters: `mark` gives the letter, `lines` the list to print below the table."""

    MOST = 12

    def __init__(self) -> None:
        self.reasons: dict[str, list[str]] = {}

    def mark(self, reason: str, where: str) -> str:
        self.reasons.setdefault(reason, []).append(where)
        return _letters(list(self.reasons).index(reason))

    def lines(self) -> Iterator[str]:
        for i, (reason, where) in enumerate(self.reasons.items()):
            if i == self.MOST:
                yield f"    … {len(self.reasons) - i} more reasons: -o FILE"
                return
            more = f" and {len(where) - 1} more" if len(where) > 1 else ""
            yield f" {_letters(i)}  {where[0]}{more}: {for_terminal(reason)}"


def _letters(number: int) -> str:
    first, second = divmod(number, 26)
    return (chr(96 + first) if first else "") + chr(97 + second)


def _verdict_cells(result: TextResult, notes: _Notes) -> tuple[str, Text]:
    judgement = result.judgement
    if result.status is Status.SKIPPED or judgement is None or judgement.verdict is None:
        return "", Text(f"skipped {notes.mark(result.skip_reason, _where(result))}", style="dim")
    verdict = judgement.verdict
    words = str(verdict).upper() if verdict in (Verdict.MEMORIZED, Verdict.FAMILIAR) else str(verdict)
    reason = f"the same text as {result.duplicate_of}" if result.duplicate_of else judgement.reason
    note = f" {notes.mark(reason, _where(result))}" if reason else ""
    q = "" if judgement.q_value is None else _probability(judgement.q_value)
    return q, Text.assemble((words, STYLES[verdict]), note)


def _skip_note(result: TextResult, notes: _Notes, table: Table) -> tuple[Text, ...]:
    """Without verdicts a skipped row says so after its last cell, in a column made for the first of them."""
    if result.status is not Status.SKIPPED:
        return ()
    if table.columns[-1].header != "":
        table.add_column("", no_wrap=True)
    return (Text(f"skipped {notes.mark(result.skip_reason, _where(result))}", style="dim"),)


def _width_of(table: Table, widths: dict[str, int]) -> int:
    """Cells that a table's columns other than the first take, with the space between them; none of them shrinks."""
    total = 2
    for column in table.columns[1:]:
        column.min_width = widths[str(column.header).split("\n")[0].split(",")[0]]
        total += column.min_width + 2
    return total


def _name(result: TextResult, redaction: Redaction, room: int) -> Text:
    """Where the text stands and, in what is left of `room` cells, what may be shown of it."""
    where = Text(_where(result))
    left = room - where.cell_len - 2
    if redaction.show in (ShowText.EXCERPT, ShowText.FULL):
        shown = Text(for_terminal(redaction.text(result.candidate.text)), style="cyan")
    else:
        shown = Text(result.fingerprint, style="dim")
    if redaction.show is not ShowText.FULL:
        left = min(left, EXCERPT_CELLS)
    if left < LEAST_EXCERPT or not shown:
        # The end has the line number.
        cut = max(room, LEAST_NAME)
        return where if where.cell_len <= cut else Text("…" + where.plain[1 - cut :])
    shown.truncate(left, overflow="ellipsis")
    return Text.assemble(where, "  ", shown)


def _where(result: TextResult) -> str:
    return for_terminal(result.candidate.id)


def _quantiles(report: AuditReport, room: int) -> Iterator[tuple[str, HeldoutQuantile]]:
    held = report.heldout
    if held is not None and held.median is not None and held.best_hundredth is not None:
        words = ("held-out, median", "held-out, best 1 in 100") if room >= 23 else ("median", "best 1 in 100")
        yield from zip(words, (held.median, held.best_hundredth), strict=True)


def _regime(report: AuditReport, legend: bool, bits: bool) -> RenderableType:
    found = report.regime
    assert found is not None  # noqa: S101 - the caller has looked
    unit = "bits" if bits else "nats"

    def nats(value: float) -> str:
        return _nats(value, bits)

    grid = Table.grid(padding=(0, 2))
    entropy = found.entropy
    for name, value, interval, rest in (
        (
            "entropy of a token, given all others",
            f"{nats(entropy.value)} {unit}",
            f"[{nats(entropy.low)}, {nats(entropy.high)}]",
            f"of {nats(found.entropy_possible)} possible",
        ),
        ("as share of the samples' unigram entropy", *_decimal(found.unigram_share), ""),
        (f"tokens that vanish (< {nats(0.05)} {unit})", *_percent(found.vanishing_share), ""),
        (f"distinct texts among {found.samples} samples", str(found.distinct), "", ""),
    ):
        grid.add_row(f" {name}", value, interval, rest)
    scale = max(2.0, math.ceil(max(found.mean_entropies) * 2) / 2)
    convert = 1 / math.log(2) if bits else 1.0
    picture = histogram([h * convert for h in found.mean_entropies], scale * convert, unit)
    verdict = str(found.regime).upper() + " (provisional)" if found.regime else "NO REGIME"
    parts: list[RenderableType] = [grid, Text(), Text(picture), Text(f"        {found.samples} samples, mean per text")]
    parts += [Text(), Text.assemble(" ", (verdict, "bold")), Text(f" {found.reason}")]
    if legend:
        parts.append(Text(REGIME_LEGEND))
    return Group(*parts)


def _q_legend(report: AuditReport) -> Text:
    held = report.heldout
    smallest = f"Smallest possible p: {1 / (held.references + 1):.2g}." if held and held.references else ""
    return Text(
        f"q            at most {report.fdr:.0%} of findings are false on average; if nothing is memorized, about\n"
        f"             1 audit in {round(1 / report.fdr)} still names a text. {smallest}"
    )


def _needed(report: AuditReport) -> int:
    return references_needed(max(1, _m(report)), 1, report.fdr)


def _m(report: AuditReport) -> int:
    return sum(r.origin == "given" and r.status is Status.MEASURED for r in report.results)


def _cells(values: Sequence[str]) -> str:
    return "".join(value.rjust(5) for value in values)


def _basin(size: Basin | None, levels: Sequence[float]) -> str:
    if size is None:
        return ""
    value = {"low": f"< {_share(levels[0])}", "high": f">= {_share(size.size)}"}.get(size.censored, _share(size.size))
    return f"{value} [{_share(size.low)}, {_share(size.high)}]"


def _share_above(value: float, levels: Sequence[float]) -> str:
    """A basin's size; below the lowest level nothing is known of it."""
    return _share(value) if value >= levels[0] else f"< {_share(levels[0])}"


def _share(value: float) -> str:
    """Two decimals without the leading zero: .62, 1."""
    text = f"{value:.2f}"
    return "1" if text == "1.00" else text.removeprefix("0")


def _share_bar(share: float) -> str:
    return f"{bar(share, 10)} {share:4.0%}"


def _probability(value: float) -> str:
    return f"{value:.2g}".removeprefix("0") if value < 1 else "1"


def _decimal(interval: Interval) -> tuple[str, str]:
    return f"{interval.value:.2f}", f"[{interval.low:.2f}, {interval.high:.2f}]"


def _percent(interval: Interval) -> tuple[str, str]:
    return f"{interval.value:.0%}", f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def _nats(value: float, bits: bool) -> str:
    return f"{value / math.log(2) if bits else value:.2f}"


def _unit(bits: bool) -> str:
    return "bits/token" if bits else "nats/token"


def _count(number: int) -> str:
    return f"{number / 1e6:.1f} M" if number >= 50_000 else f"{number:,}"


def _bytes(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"
