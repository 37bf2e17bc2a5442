"""A trajectory as a picture: entropy, certainty and the two norms over time, and the entropy of every position."""

from typing import Any, BinaryIO

import numpy as np

from audit_cli.records import Trajectory
from audit_cli.reports import words
from audit_cli.reports.trajectory import factor


def write_figure(kind: str, found: Trajectory, bits: bool, file: BinaryIO) -> None:
    """The picture as "svg" or "png"; the same bytes every time. Raises ModuleNotFoundError without matplotlib."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # Text stays text, and no ids or dates that change from run to run.
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "uddm-audit", "font.size": 9}):
        figure = Figure(figsize=(9, 6.5), layout="constrained")
        panels = figure.subplots(2, 2).ravel()
        _lines(panels[0], found, f"entropy, {words.unit(bits)} a token", {"": "entropy"}, factor(bits))
        certain = {"top probability": "top_probability", "lead over the second": "spectral_gap"}
        _lines(panels[1], found, "certainty", certain)
        norms = {"Σp(1-p)": "stability_sum", "|p(1-p)|": "stability_norm", "pairs": "interaction_norm"}
        _lines(panels[2], found, "diagonal stability and interaction", norms)
        _heat(figure, panels[3], found, bits)
        for panel in panels:
            panel.set_xlabel("diffusion time t")
        made = {"Date": None, "Creator": "uddm-audit"} if kind == "svg" else {"Software": "uddm-audit"}
        figure.savefig(file, format=kind, dpi=150, metadata=made)


def _lines(panel: Any, found: Trajectory, title: str, names: dict[str, str], times: float = 1.0) -> None:
    """Means over the times, from noise on the left to text on the right, with their intervals."""
    at = [step.t for step in found.steps]
    for label, name in names.items():
        means = [getattr(step, name) for step in found.steps]
        panel.plot(at, [times * mean.value for mean in means], label=label, linewidth=1.4)
        panel.fill_between(at, [times * mean.low for mean in means], [times * mean.high for mean in means], alpha=0.2)
    panel.set_title(title, fontsize=10)
    panel.set_xlim(found.start, 0)
    panel.set_ylim(bottom=0)
    panel.grid(alpha=0.3)
    if len(names) > 1:
        panel.legend(fontsize=8)


def _heat(figure: Any, panel: Any, found: Trajectory, bits: bool) -> None:
    """The entropy of every position at every step."""
    positions = 1 + max(at.position for at in found.positions)
    grid = np.zeros((positions, len(found.steps)))
    for at in found.positions:
        grid[at.position, at.step] = at.entropy * factor(bits)
    edges = [step.t for step in found.steps]
    mesh = panel.pcolormesh(edges, range(positions), grid, vmin=0, shading="nearest", rasterized=True)
    panel.set_xlim(found.start, 0)
    panel.set_title(f"entropy by position, {words.unit(bits)}", fontsize=10)
    panel.set_ylabel("position")
    figure.colorbar(mesh, ax=panel)
