"""When does a model memorize, when does it generalize? The rule of `uddm-audit entropy MODEL`, held against models of
which it is known.

    python examples/regime.py runs seeds -o regime.csv          a few seconds a model

takes folders that `uddm-audit sweep` made, with the variants in them. Which regime a model is in is known from what the
sweep measured: it memorizes while the gap in recovery between training and held-out text is at least half of the widest
(at the smallest size), generalizes once that is below .05, and is between the two else. The rule goes by 256 texts that
the model writes by itself. Writes a row a model, and prints how often the rule errs, sweep by sweep.
"""

import argparse
import csv
import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import audit_cli
from audit_cli.audits import Watch
from audit_cli.audits.entropy import EntropySettings, own_samples
from audit_cli.audits.law import checked_law
from audit_cli.audits.sweep import MEASURED
from audit_cli.audits.sweep_report import MEETING
from audit_cli.redaction import Redaction, ShowText

SAMPLES, LEVEL = 256, 0.25
HIDDEN = Redaction(ShowText.FINGERPRINT, b"")
TRUTHS = ("memorizing", "between", "generalizing")
CALLS = ("memorizing", "undecided", "generalizing")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True, help="CSV, a row a model")
    asked = parser.parse_args()
    rows = [row for folder in asked.folders for row in models(folder)]
    with asked.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    print_table(rows)


def models(folder: Path) -> Iterator[dict[str, Any]]:
    """A row a model of the sweeps in a folder."""
    sweeps: dict[Path, dict[tuple[int, int], tuple[Path, float]]] = defaultdict(dict)
    for file in sorted(folder.rglob(f"*{MEASURED}")):
        cell = json.loads(file.read_bytes())["cell"]
        if cell is not None:
            path = file.with_name(file.name.removesuffix(MEASURED))
            sweeps[file.parent][cell["size"], cell["seed"]] = path, gap_of(cell)
    for place, cells in sorted(sweeps.items()):
        smallest = min(size for size, _ in cells)
        for (size, seed), (path, gap) in sorted(cells.items()):
            widest = cells[smallest, seed][1]
            truth = "generalizing" if gap < MEETING else "memorizing" if gap >= widest / 2 else "between"
            name = str(place.relative_to(folder.parent))
            yield {"sweep": name, "lines": size, "seed": seed, "gap": round(gap, 4), "truth": truth} | found(path)


def gap_of(cell: dict[str, Any]) -> float:
    """How much more of training text comes back than of held-out text."""
    k = min(range(len(cell["levels"])), key=lambda k: abs(cell["levels"][k] - LEVEL))
    return float(np.mean(cell["train"]["recovery"][k]) - np.mean(cell["heldout"]["recovery"][k]))


def found(path: Path) -> dict[str, Any]:
    """What the model's own texts say."""
    model = audit_cli.load(path)
    regime = own_samples(model, EntropySettings(samples=SAMPLES), HIDDEN, Watch(), checked_law(model, 0)).regime
    if regime is None:
        raise SystemExit(f"{path}: writes nothing that can be measured")
    share = regime.unigram_share
    return {
        "share": round(share.value, 4),
        "share_low": round(share.low, 4),
        "share_high": round(share.high, 4),
        "vanishing": round(regime.vanishing_share.value, 4),
        "distinct": regime.distinct,
        "called": str(regime.regime or "none"),
    }


def print_table(rows: list[dict[str, Any]]) -> None:
    """Of every sweep, and of all: the shares of each truth, and how often it is called what."""
    print("| models | what it is | models | entropy share | memorizing | undecided | generalizing |")
    print("|---|---|---|---|---|---|---|")
    names = list(dict.fromkeys(row["sweep"] for row in rows))
    for name in [*names, "all"]:
        own = [row for row in rows if name in ("all", row["sweep"])]
        for truth in TRUTHS:
            shares = [row["share"] for row in own if row["truth"] == truth]
            called = Counter(row["called"] for row in own if row["truth"] == truth)
            if shares:
                counts = " | ".join(str(called[call]) for call in CALLS)
                print(f"| {name} | {truth} | {len(shares)} | {min(shares):.2f} to {max(shares):.2f} | {counts} |")


if __name__ == "__main__":
    main()
