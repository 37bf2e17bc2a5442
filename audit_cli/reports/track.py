"""What `uddm-audit track` says at a terminal."""

from collections.abc import Iterator, Sequence
from pathlib import PurePath

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import Comparability, Interval, TrackReport, TrackRow
from audit_cli.reports import words
from audit_cli.reports.parts import RULED
from audit_cli.safetext import for_terminal

# Narrower terminals do without what the last lines say, too, and wider ones have room for one more interval.
NO_ALLOWED_BELOW, RECOVERY_GAP_FROM = 92, 112
LEGEND = [
    ("own", "mean entropy of a token, given all others, in texts that the model writes by itself"),
    ("gap", "by how much more held-out text surprises the model than the text; [95 %, over texts]"),
    ("recovery", "share of the corrupted tokens that came back"),
    ("p", "of the hypothesis that texts and held-out texts are of one kind and none was learned; one-sided rank test"),
    (
        "allowed",
        "how small p must be at this look, so that a training which learns none of the texts is called out at "
        "any of its checkpoints with a chance of at most alpha",
    ),
]


def track_report(found: TrackReport, width: int, legend: bool, bits: bool) -> Iterator[RenderableType]:
    """The checkpoints in the order in which they were looked at, and what they say together."""
    head = Table.grid(padding=(0, 2, 0, 0))
    model = found.model
    what = f"{words.count(model.parameters)} parameters, V {model.vocab_size:,}, L {model.max_length}, {model.law} law"
    head.add_row(Text("Model", "bold"), Text(f"{what}, {model.weights} weights", overflow="fold"))
    head.add_row(Text("Run", "bold"), Text(_run(found), overflow="fold"))
    if found.reference_model is not None:
        beyond = f"{for_terminal(found.reference_model.name)}: the gap is what goes beyond its own"
        head.add_row(Text("Reference", "bold"), Text(beyond, overflow="fold"))
    for warning in found.warnings if found.fairness.unlike else ():
        head.add_row(Text("Note", "yellow"), Text(for_terminal(warning), "yellow", overflow="fold"))
    yield head
    yield _table(found, width, bits)
    for row in found.rows:
        if why := row.reason or row.untested:
            said = "not measured" if row.reason else "not tested"
            yield Text(for_terminal(f" {row.name}: {said}: {why}"), "yellow")
    yield Text()
    yield Text(for_terminal(conclusion(found)), "bold")
    if legend:
        grid = Table.grid(padding=(0, 2))
        for word, meaning in LEGEND:
            grid.add_row(word, Text(meaning))
        yield grid


def _run(found: TrackReport) -> str:
    s = found.run.settings
    same = "" if found.fairness.grade is Comparability.NOT_CHECKABLE else f", {found.fairness.grade}"
    return (
        f"{found.texts:,} texts, {found.heldout:,} held-out{same}, {s['samples']} texts of its own, {s['restarts']} "
        f"restarts from {found.level:.0%}, alpha {found.alpha:g}, seed {s['seed']}, {words.duration(found.run.seconds)}"
    )


def _table(found: TrackReport, width: int, bits: bool) -> Table:
    unit = words.unit(bits)
    allowed, recovery_gap = width >= NO_ALLOWED_BELOW, width >= RECOVERY_GAP_FROM
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("\ncheckpoint", no_wrap=True, overflow="ellipsis")
    for name in (f"own\n{unit}", "surprise\ntext  held", f"gap\n{unit} [95 %]", "recovery\ntext  held"):
        table.add_column(name, justify="right", no_wrap=True)
    if recovery_gap:
        table.add_column("gap\n[95 %]", justify="right", no_wrap=True)
    table.add_column("\np", justify="right", no_wrap=True)
    if allowed:
        table.add_column("\nallowed", justify="right", no_wrap=True)
    table.add_column("better\nknown", no_wrap=True)
    names = short_names(found.rows)
    for row, name in zip(found.rows, names, strict=True):
        shown = Text(for_terminal(name))
        if row.gap is None or row.recovery_gap is None:
            table.add_row(shown, *[""] * (len(table.columns) - 2), Text("not measured", "yellow"))
            continue
        cells: list[str | Text] = [
            shown,
            "" if row.entropy is None else words.nats(row.entropy.value, bits),
            f"{_nats(row.surprise_text, bits):>4}  {_nats(row.surprise_heldout, bits):>4}",
            interval(row.gap, bits),
            f"{_share(row.recovery_text):>3}  {_share(row.recovery_heldout):>4}",
        ]
        if recovery_gap:
            gap = row.recovery_gap
            cells.append(f"{_difference(gap.value)} [{_difference(gap.low)}, {_difference(gap.high)}]")
        cells.append("" if row.p_value is None else words.probability(row.p_value))
        if allowed:
            cells.append("" if row.bound is None else words.probability(row.bound))
        table.add_row(*cells, mark(found, row))
    # Where there is little room, names give way, and numbers do not.
    for column in table.columns[1:]:
        lines = [*str(column.header).split("\n"), *(cell.plain if isinstance(cell, Text) else str(cell)
                                                    for cell in column.cells)]  # fmt: skip
        column.min_width = max(map(len, lines))
    return table


def mark(found: TrackReport, row: TrackRow) -> Text:
    """Whether the text is better known than held-out text, in a word."""
    if row.untested:
        return Text("not tested", "yellow")
    if not row.significant:
        return Text("no")
    return Text("first" if row is found.first else "yes", "bold red")


def short_names(rows: Sequence[TrackRow]) -> list[str]:
    """The last part of each name, with as much before it as tells them apart."""
    parts = [PurePath(row.name).parts or (row.name,) for row in rows]
    for length in range(1, max(map(len, parts), default=1)):
        short = ["/".join(part[-length:]) for part in parts]
        if len(set(short)) == len({row.name for row in rows}):
            return short
    return [row.name for row in rows]


def conclusion(found: TrackReport) -> str:
    """What the looks say together, in a sentence or two; unsafe, as names of files are."""
    first, tested = found.first, [row for row in found.measured if row.p_value is not None]
    if first is not None:
        return (
            f"The text is better known than held-out text, first at {first.name}: p = {_p(first.p_value)}, "
            f"allowed {_p(first.bound)} at {_look(found, first)}."
        )
    if not tested:
        return "Nothing was tested: whether the text is better known than held-out text stays open."
    least = min(tested, key=lambda row: (row.p_value, row.look))
    return (
        f"At no checkpoint is the text better known than held-out text: the smallest p is {_p(least.p_value)}, at "
        f"{least.name}, allowed {_p(least.bound)} at {_look(found, least)}. That is no proof that none was learned."
    )


def told(row: TrackRow) -> str:
    """A line of a checkpoint, as it is done; unsafe, as its name is."""
    if row.reason or row.gap is None:
        return f"{row.name}: not measured: {row.reason}"
    p = row.untested or f"p = {_p(row.p_value)}, allowed {_p(row.bound)}"
    known = ": better known than held-out text" if row.significant else ""
    return f"{row.name}: gap {interval(row.gap, False)} nats a token, {p}{known} ({words.duration(row.seconds)})"


def interval(found: Interval, bits: bool) -> str:
    """8.30 [8.15, 8.43]"""
    return f"{words.nats(found.value, bits)} [{words.nats(found.low, bits)}, {words.nats(found.high, bits)}]"


def _look(found: TrackReport, row: TrackRow) -> str:
    return f"look {row.look}" + ("" if found.planned is None else f" of {found.planned}")


def _p(value: float | None) -> str:
    return "" if value is None else words.probability(value)


def _nats(value: float | None, bits: bool) -> str:
    return "" if value is None else words.nats(value, bits)


def _difference(value: float) -> str:
    """Two decimals of a difference of shares: .86, -.02, and no minus before a zero."""
    shown = words.share(abs(value))
    return f"-{shown}" if value < 0 and shown != ".00" else shown


def _share(value: float | None) -> str:
    return "" if value is None else words.share(value)
