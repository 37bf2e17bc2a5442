"""What `uddm-audit entropy --trajectory` says at a terminal."""

import math
from collections.abc import Iterable, Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import Interval, LawCheck, Trajectory, TrajectoryStep
from audit_cli.reports import words
from audit_cli.reports.bars import bar
from audit_cli.reports.model import LAW_WARNINGS, POSTERIOR, POSTERIOR_STEPS
from audit_cli.reports.parts import ROWS_SHOWN, RULED, head
from audit_cli.reports.ranked import number
from audit_cli.safetext import for_terminal

# Columns that are left out where there is little room, the first one first; and how long a bar is.
GIVE_WAY = ("\nnoise", "\n|p(1-p)|", "\npairs", "\nΣp(1-p)", "\nstep", "\ngap")
LEAST_BAR, MOST_BAR = 8, 24
LEGEND = [
    ("t", "diffusion time, 1 all noise; the last look is at t = 1e-5, before the last noise is removed"),
    ("entropy", "of the prediction p of a token; the bar is its share of what is possible, log V"),
    ("Σp(1-p)", "how far from one-hot: 0 where the model is certain; |p(1-p)| is its 2-norm"),
    ("pairs", "interaction of tokens: the 2-norm of p·q over all pairs of two tokens"),
    ("top, gap", "the largest probability, and its lead over the second"),
    ("[95 %]", "bootstrap over the rows: it covers their choice, not other training runs"),
]


def trajectory_report(
    found: Trajectory, width: int, show_all: bool, legend: bool, bits: bool
) -> Iterator[RenderableType]:
    """Some of the steps, the first and the last among them, then what happens between them."""
    lines = [("Run", _run(found))]
    if found.run.settings["protocol"] == "paper":
        lines.append(("", "protocol of arXiv 2604.26841"))
    yield head(found.model, found.law, lines, trajectory_notes(found))
    yield _table(found, width, show_all, bits)
    yield Text()
    for line in summary(found, bits):
        yield Text(for_terminal(line), style="bold")
    if legend:
        grid = Table.grid(padding=(0, 2))
        grid.add_row("", "")
        for word, meaning in LEGEND:
            grid.add_row(word, Text(meaning))
        yield grid


def trajectory_notes(found: Trajectory) -> list[str]:
    """What a person should know of the law before she reads the numbers."""
    if found.model.law == POSTERIOR:
        return [POSTERIOR_STEPS, *found.notes]
    return [*([] if found.law.check is LawCheck.CONFIRMED else [LAW_WARNINGS[found.law.check]]), *found.notes]


def _run(found: Trajectory) -> str:
    settings = found.run.settings
    if found.given:
        twice = f" ({number(found.duplicates, 'duplicate')})" if found.duplicates else ""
        what = f"{found.rows:,} of {found.given:,} texts{twice}, corrupted at t = {found.start:g}"
    else:
        what = f"{number(found.rows, 'row')} of {number(found.tokens // found.rows, 'token')} from pure noise"
    how = f"{settings['sampler']}, {settings['steps']} steps, seed {settings['seed']}"
    return f"{what}, {how}, {words.duration(found.run.seconds)}"


def summary(found: Trajectory, bits: bool) -> Iterator[str]:
    """What happens between the first and the last look, a sentence each; unsafe, as reasons are."""
    first, last = found.steps[0], found.steps[-1]
    entropy = f"{_nats(first, bits)} to {_nats(last, bits)} {words.unit(bits)}"
    tops = f"{decimal(first.top_probability.value)} to {decimal(last.top_probability.value)}"
    yield f"From t = {first.t:g} to {last.t:g} the entropy of a token goes from {entropy}, its top probability {tops}."
    if found.skipped:
        yield f"{number(found.skipped, 'text')} skipped; the first: {found.reason}"


def _nats(step: TrajectoryStep, bits: bool) -> str:
    return decimal(step.entropy.value * factor(bits))


def factor(bits: bool) -> float:
    """What turns nats into the unit that is shown."""
    return 1 / math.log(2) if bits else 1.0


def picked(steps: Sequence[TrajectoryStep], most: int) -> list[TrajectoryStep]:
    """At most so many of the steps, evenly, the first and the last among them."""
    if len(steps) <= most:
        return list(steps)
    return [steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)]


def decimal(value: float) -> str:
    """Three decimals, of less a power of ten: 0.034, 1.2e-05."""
    return f"{value:.3f}" if value == 0 or abs(value) >= 0.001 else f"{value:.1e}"


def interval(found: Interval, times: float = 1.0) -> str:
    """0.034 [0.032, 0.035]"""
    return f"{decimal(found.value * times)} [{decimal(found.low * times)}, {decimal(found.high * times)}]"


def _table(found: Trajectory, width: int, show_all: bool, bits: bool) -> RenderableType:
    shown = list(found.steps) if show_all else picked(found.steps, ROWS_SHOWN)
    columns = _columns(shown, bits)
    widths = {name: max(map(len, (*name.split("\n"), *cells))) + 2 for name, cells in columns.items()}
    # The first and the last character of a line, and each column's two, are the table's.
    while (room := width - 2 - sum(widths[name] for name in columns)) < 0 and (gone := _least(columns)):
        del columns[gone]
    if room > LEAST_BAR + 2:
        possible = math.log(max(2, found.model.vocab_size))
        columns[""] = [bar(step.entropy.value / possible, min(MOST_BAR, room - 2)) for step in shown]
    table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
    for name in columns:
        table.add_column(name, justify="right" if name else "left", vertical="bottom", no_wrap=True)
    for cells in zip(*columns.values(), strict=True):
        table.add_row(*cells)
    if len(shown) < len(found.steps):
        table.caption = f" … {len(found.steps) - len(shown):,} steps between them: -o FILE or --all"
        table.caption_justify, table.caption_style = "left", ""
    return table


def _columns(steps: Sequence[TrajectoryStep], bits: bool) -> dict[str, list[str]]:
    """The cells of every column by its heading."""

    def means(name: str) -> list[str]:
        return [decimal(getattr(step, name).value) for step in steps]

    return {
        "\nstep": [str(step.step) for step in steps],
        "\nt": [f"{step.t:.3f}" if step.t >= 0.001 else f"{step.t:.0e}" for step in steps],
        "\nnoise": [f"{step.level:.0%}" for step in steps],
        f"entropy, {words.unit(bits)}\na token [95 %]": [interval(step.entropy, factor(bits)) for step in steps],
        "\nΣp(1-p)": means("stability_sum"),
        "\n|p(1-p)|": means("stability_norm"),
        "\npairs": means("interaction_norm"),
        "\ntop": means("top_probability"),
        "\ngap": means("spectral_gap"),
    }


def _least(columns: Iterable[str]) -> str | None:
    """The column that gives way first where there is little room."""
    return next((name for name in GIVE_WAY if name in columns), None)
