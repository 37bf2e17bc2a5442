"""What `uddm-audit attractors` says at a terminal."""

from collections.abc import Iterator
from heapq import nsmallest

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import AttractorGroup, AttractorMeasurement, AttractorReport, AttractorResult
from audit_cli.redaction import Redaction
from audit_cli.reports import words
from audit_cli.reports.attractor_files import depth, falls_to, flips_words, notes, summary
from audit_cli.reports.parts import ROWS_SHOWN, RULED, Notes, head, name_cell, skip_note, width_of
from audit_cli.safetext import for_terminal

NO_DRAWS_BELOW, NO_END_BELOW = 108, 76
WIDTHS = {"fixed": 9, "energy": 10, "smallest": 8, "flips": 10, "returned": 14, "a step": 7, "falls to": 13}
LEGEND = [
    ("fixed", "no token changes where every token is replaced by the most probable one, given all others"),
    ("energy", "-log p(token | all others), the mean over the text's tokens"),
    ("smallest margin", "log p of the token that is held the least, minus log p of the best other one"),
    ("flips survived", "tokens that may be replaced at random while half of the draws end in the very text"),
    ("a step changes", "tokens that one replacement by the most probable ones changes"),
    ("falls to", "how many tokens away such replacements end: in another fixed point, or in a cycle of so many states"),
]
WINDOW = ("+96", "of a text longer than the model the deepest window, which begins at this token")


def attractors_report(
    found: AttractorReport, redaction: Redaction, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """The texts, the deepest first, then what they are altogether, and the held-out text beside them."""
    settings, reasons = found.run.settings, Notes()
    texts = found.given
    held = "" if found.heldout is None else f", {found.heldout.measured:,} held-out"
    draws = f"{settings['restarts']} draws of flips, seed {settings['seed']}, {words.duration(found.run.seconds)}"
    run = f"{texts.measured:,} of {texts.given:,} texts measured{held}, {draws}"
    yield head(found.model, found.law, [("Run", run)], notes(found))
    rows = sorted(found.results, key=depth) if show_all else nsmallest(ROWS_SHOWN, found.results, key=depth)
    yield _table(found, rows, redaction, width, reasons, bits)
    if (hidden := texts.given - len(rows)) > 0:
        yield Text(f" … {hidden:,} more: -o FILE or --all")
    if lines := list(reasons.lines()):
        yield Text("\n" + "\n".join(lines))
    yield Text()
    first, *rest = summary(found)
    yield Text(first, style="bold")
    for line in rest:
        yield Text(for_terminal(line))
    if legend:
        grid = Table.grid(padding=(0, 2))
        grid.add_row("", "")
        for word, meaning in [*LEGEND, *([WINDOW] if reasons.windowed else [])]:
            grid.add_row(word, Text(meaning))
        yield grid


def _table(
    found: AttractorReport,
    rows: list[AttractorResult],
    redaction: Redaction,
    width: int,
    reasons: Notes,
    bits: bool,
) -> Table:
    restarts, unit, wide = int(str(found.run.settings["restarts"])), words.unit(bits), width >= NO_DRAWS_BELOW
    ends = width >= NO_END_BELOW
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("text", vertical="bottom", no_wrap=True, overflow="ellipsis")
    table.add_column("fixed\npoint", no_wrap=True)
    table.add_column(f"energy\n{unit}/token", justify="right", no_wrap=True)
    table.add_column("smallest\nmargin", justify="right", no_wrap=True)
    table.add_column("flips\nsurvived", justify="right", no_wrap=True)
    if wide:
        table.add_column(f"returned\nof {restarts} [95 %]", justify="right", no_wrap=True)
        table.add_column("a step\nchanges", justify="right", no_wrap=True)
    if ends:
        table.add_column("falls to,\ntokens away", justify="right", no_wrap=True)
    room = width - width_of(table, WIDTHS)
    for result in rows:
        measured = result.measurement
        cells: list[str | Text] = [name_cell(result, redaction, room, reasons)]
        if measured is None:
            # Why stands below the table.
            cells += [*skip_note(result, reasons), *[""] * (3 + 2 * wide + ends)]
        else:
            cells += [*_cells(result, measured, wide, bits), *([falls_to(measured)] if ends else [])]
        table.add_row(*cells)
    table.add_section()
    for name, group in (("these", found.given), ("held-out", found.heldout)):
        if group is not None and group.measured:
            table.add_row(f"{name}, median", *_group_cells(group, wide, bits))
    return table


def _cells(result: AttractorResult, measured: AttractorMeasurement, wide: bool, bits: bool) -> Iterator[str]:
    yield "yes" if measured.fixed_point else "no"
    yield words.nats(measured.energy_mean, bits)
    yield words.nats(measured.smallest_margin, bits)
    yield flips_words(measured.survived, measured.tokens)
    if wide:
        share = result.returned
        back = measured.returned(measured.survived) if measured.survived else None
        yield "" if share is None else f"{back} [{words.share(share.low)}, {words.share(share.high)}]"
        yield f"{measured.changed:,}"


def _group_cells(group: AttractorGroup, wide: bool, bits: bool) -> Iterator[str]:
    assert group.energy_mean is not None and group.smallest_margin is not None  # noqa: S101 - something was measured
    yield f"{group.fixed_points:,}/{group.measured:,}"
    yield words.nats(group.energy_mean, bits)
    yield words.nats(group.smallest_margin, bits)
    yield "-" if group.survived_share is None else f"{group.survived_share:.0%}"
    if wide:
        yield from ("", "")
