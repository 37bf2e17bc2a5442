"""Numbers as a person reads them."""

import math
from collections.abc import Sequence

from audit_cli.records import Basin, HeldoutSummary, Interval
from audit_cli.redaction import Redaction
from audit_cli.reports.bars import bar

LEVEL_CELLS = 6


def columns(values: Sequence[str]) -> str:
    """A column a level, within one cell of a table."""
    return "".join(value.rjust(LEVEL_CELLS) for value in values)


def basin(size: Basin | None, levels: Sequence[float]) -> str:
    """A basin with its interval: .62 [.50, .75], censored as >= .75 or < .05."""
    if size is None:
        return ""
    value = f">= {share(size.size)}" if size.censored == "high" else share_above(size.size, levels)
    return f"{value} [{share(size.low)}, {share(size.high)}]"


def share_above(value: float, levels: Sequence[float]) -> str:
    """A basin's size; below the lowest level nothing is known of it."""
    return share(value) if value >= levels[0] else f"< {share(levels[0])}"


def share(value: float) -> str:
    """Two decimals without the leading zero: .62, 1."""
    text = f"{value:.2f}"
    return "1" if text == "1.00" else text.removeprefix("0")


def share_bar(value: float) -> str:
    """A bar and per cent."""
    return f"{bar(value, 10)} {value:4.0%}"


def probability(value: float) -> str:
    """Two significant digits without the leading zero."""
    return f"{value:.2g}".removeprefix("0") if value < 1 else "1"


def decimal(interval: Interval) -> tuple[str, str]:
    """Value and interval with two decimals."""
    return f"{interval.value:.2f}", f"[{interval.low:.2f}, {interval.high:.2f}]"


def share_within(interval: Interval) -> str:
    """A share and its interval: .62 [.50, .75]."""
    return f"{share(interval.value)} [{share(interval.low)}, {share(interval.high)}]"


def percent(interval: Interval) -> tuple[str, str]:
    """Value and interval in per cent."""
    return f"{interval.value:.0%}", f"[{100 * interval.low:.0f}, {100 * interval.high:.0f}]"


def nats(value: float, bits: bool) -> str:
    """An entropy of so many nats, in nats or bits."""
    return f"{value / math.log(2) if bits else value:.2f}"


def unit(bits: bool) -> str:
    """The unit of `nats`."""
    return "bits" if bits else "nats"


def count(number: int) -> str:
    """0.2 M; below 50,000 in full."""
    return f"{number / 1e6:.1f} M" if number >= 50_000 else f"{number:,}"


def size(number: int) -> str:
    """Bytes as MB or GB."""
    return f"{number / 1e6:.1f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"


def duration(seconds: float) -> str:
    """1.4 s, 31 s, 2 min 15 s."""
    whole = round(seconds)
    return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def unlike(heldout: HeldoutSummary | None, redaction: Redaction) -> str:
    """The words by which candidates differ from held-out text, as much of them as may be shown; unsafe as any text."""
    check = None if heldout is None else heldout.fairness
    return ", ".join(filter(None, map(redaction.text, check.words))) if check is not None else ""
