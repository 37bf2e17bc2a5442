"""Which dynamics brings stored text back and no other, in how many steps, from how many restarts?"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from models import CORPORA, Cell, trained

import audit_cli
from audit_cli.diffusion.samplers import Ancestral, Attractor, Finished, Sampler
from audit_cli.diffusion.schedules import time_at_level
from audit_cli.probes.basins import RETURN_KEPT, RETURN_RECOVERED, BasinProbe
from audit_cli.records import Candidate
from audit_cli.statistics.membership import auc
from audit_cli.verdicts.returns import DECIDING_LEVEL

LEVELS = (0.1, DECIDING_LEVEL, 0.5)
LINES, RESTARTS = 40, 32
FEWER = (1, 2, 4, 8, 16, 32)
# Models that store some of their lines and not all: where nothing or everything returns, nothing can be told.
CHOSEN = (
    *(Cell(corpus, size, 0) for corpus in CORPORA for size in (64, 128)),
    *(Cell(corpus, 128, 0, 16, "bpe:2000") for corpus in CORPORA),
    Cell(CORPORA[0], 64, 0, 128, unseen=300),
)


def samplers() -> dict[str, Sampler]:
    """What is compared, by name."""
    named: dict[str, Sampler] = {f"ancestral, {steps} steps": Ancestral(steps) for steps in (4, 8, 16, 32, 64)}
    named["attractor"] = Attractor()
    for steps, iterations in ((8, 1), (8, 2), (8, 4), (8, 16), (4, 4), (16, 4), (32, 4)):
        name = f"ancestral, {steps} steps, then attractor, {iterations} iteration{'s' * (iterations > 1)}"
        named[name] = Finished(Ancestral(steps), Attractor(iterations))
    return named


def dynamics_tables(cells: Sequence[Cell], folder: Path) -> Iterator[str]:
    """Shares of restarts that return, over the chosen models among `cells`; measured once."""
    names = {cell.name for cell in cells}
    chosen = [cell for cell in CHOSEN if cell.name in names]
    if not chosen:
        return
    tables = [_measured(cell, folder) for cell in chosen]
    yield f"## What returns: {len(chosen)} models, {LINES} stored and {LINES} unseen lines each, {RESTARTS} restarts"
    yield ""
    header = [f"stored, from {level:.0%}" for level in LEVELS] + ["unseen, from any", "evaluations a restart"]
    yield "| dynamics | " + " | ".join(header) + " |"
    yield "|---|" + "---|" * len(header)
    for name in samplers():
        stored, unseen, spent = (
            np.mean([t[name][key] for t in tables], axis=0) for key in ("stored", "unseen", "spent")
        )
        shares = " | ".join(f"{share:.3f}" for share in stored)
        yield f"| {name} | {shares} | {np.max(unseen):.4f} | {spent:.1f} |"
    yield ""
    yield "| restarts | " + " | ".join(str(n) for n in FEWER) + " |"
    yield "|---|" + "---|" * len(FEWER)
    for name in ("ancestral, 8 steps", "ancestral, 8 steps, then attractor, 4 iterations"):
        areas = np.mean([t[name]["auc"] for t in tables], axis=0)
        yield (
            f"| AUC of the share that returns from {DECIDING_LEVEL:.0%}: {name} | "
            + " | ".join(f"{area:.3f}" for area in areas)
            + " |"
        )


def _measured(cell: Cell, folder: Path) -> dict[str, dict[str, list[float]]]:
    cache = folder / cell.name / "dynamics.json"
    if cache.exists():
        return json.loads(cache.read_text())
    path, members, unseen, _ = trained(cell, folder)
    model = audit_cli.load(path)
    texts = members[:LINES] + unseen[:LINES]
    rows = [model.rows(Candidate(text=text))[0] for text in texts]
    times = tuple(time_at_level(model.denoiser.schedule, level) for level in LEVELS)
    out: dict[str, dict[str, list[float]]] = {}
    for name, sampler in samplers().items():
        found = list(BasinProbe(times, 1, RESTARTS, sampler).measure(model.denoiser, rows))
        share = np.array([[level.returned / level.restarts for level in m.levels] for m in found])
        # One restart after the other, of the deciding level.
        each = np.array(
            [[r >= RETURN_RECOVERED and u <= 1 - RETURN_KEPT for r, u in zip(*_rates(m), strict=True)] for m in found]
        )
        out[name] = {
            "stored": share[:LINES].mean(0).tolist(),
            "unseen": share[LINES:].mean(0).tolist(),
            "spent": float(np.mean([m.evaluations - 1 for m in found]) / len(LEVELS) / RESTARTS),
            "auc": [auc(each[:LINES, :n].mean(1), each[LINES:, :n].mean(1)) for n in FEWER],
        }
    cache.write_text(json.dumps(out))
    return out


def _rates(measured: object) -> tuple[Sequence[float], Sequence[float]]:
    return measured.deciding.recovery_rates, measured.deciding.unstable_rates
