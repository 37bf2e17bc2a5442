"""Bars and histograms out of block characters."""

from collections.abc import Sequence

import numpy as np

EIGHTHS = " ▏▎▍▌▋▊▉█"
HEIGHTS = " ▁▂▃▄▅▆▇█"


def bar(share: float, cells: int) -> str:
    """A horizontal bar of `cells` characters, filled to `share` in eighths; anything above zero shows."""
    eighths = max(round(share * cells * 8), 1 if share > 0 else 0)
    full, rest = divmod(eighths, 8)
    return (EIGHTHS[8] * full + (EIGHTHS[rest] if rest else "")).ljust(cells)


def histogram(values: Sequence[float], scale: float, unit: str, cells: int = 48) -> str:
    """A one-line histogram over [0, scale] under its axis."""
    counts, _ = np.histogram(np.clip(values, 0, scale), bins=cells, range=(0, scale))
    tallest = max(1, int(counts.max()))
    line = "".join(HEIGHTS[0 if c == 0 else max(1, round(8 * c / tallest))] for c in counts)
    ticks = [scale * i / 4 for i in range(5)]
    axis = "".join(f"{tick:.1f}".ljust(cells // 4) for tick in ticks)
    return f"        {axis.rstrip()} {unit}\n        |{line}|"
