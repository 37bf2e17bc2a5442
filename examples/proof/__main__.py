"""Do the verdicts hold? Trains models of which it is known what they saw, and counts what is found.

    python examples/proof -o proof-runs

trains the models and measures every score of every line (under an hour on two cores; the same command goes on where it
was stopped), then prints, and writes to proof-runs/proof.md: how many findings are false and how many members are
found, over thousands of re-splits; and how well every score tells members from others.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from dynamics import dynamics_tables
from fairness import shares_called_shifted
from measured import Measured, measured
from models import CELLS, REFERENCES, train_all
from power import power_tables
from resplits import (
    FDRS,
    HELDOUT,
    Case,
    Scores,
    all_innocent,
    chosen,
    contaminated,
    documents,
    few_references,
    other_kind,
    plain,
    simulated,
    ties,
    two_lengths,
)

DEFAULT, OF_ENTROPY, CASCADE, DIFFERENCE = (
    "basin-area+excess-surprise", "excess-surprise", "cascade", "surprise-difference",
)  # fmt: skip
Draw = Callable[[np.random.Generator], Case]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("proof-runs"), help="folder of models and tables")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="models trained at once")
    parser.add_argument("--resplits", type=int, default=2000, help="re-splits a scenario, over all models")
    parser.add_argument("--models", default="", help="only those whose name holds this")
    asked = parser.parse_args()
    asked.output.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    cells = [cell for cell in CELLS if asked.models in cell.name]
    for number, cell in enumerate(train_all([*REFERENCES, *cells], asked.output, asked.workers), start=1):
        progress(begun, f"trained {number} of {len(cells) + len(REFERENCES)}: {cell.name}")
    found: list[Measured] = []
    with ThreadPoolExecutor(asked.workers) as pool:
        for one in pool.map(lambda cell: measured(cell, asked.output), cells):
            found.append(one)
            progress(begun, f"measured {len(found)} of {len(cells)}: {one.cell.name}")
    report = asked.output / "proof.md"
    lines: list[str] = []
    for part in (verdicts(found, asked.resplits), power_tables(found, DEFAULT), dynamics_tables(cells, asked.output)):
        lines += [*part, ""]
        report.write_text("\n".join(lines))
        progress(begun, f"a part of {report} is written")
    print("\n".join(lines))
    progress(begun, f"wrote {report}")


def progress(begun: float, what: str) -> None:
    minutes, seconds = divmod(round(time.monotonic() - begun), 60)
    print(f"{minutes:3d}:{seconds:02d}  {what}", file=sys.stderr, flush=True)


def scores(of: Measured, recipe: str) -> Scores:
    return Scores(of.members.score[recipe], of.unseen.score[recipe])


def scenarios(of: Measured) -> Iterator[tuple[str, Draw]]:
    """What is simulated for a model, by name; only what its lines are enough for."""
    if len(of.unseen.text) < HELDOUT + 100:
        return
    mine = scores(of, DEFAULT)
    for name, draw in (
        ("plain: 10 of 50 are members", plain),
        ("no member among 50", all_innocent),
        ("99 references", few_references),
        ("ties at a ceiling", ties),
        ("0.5 % of held-out text seen", contaminated(0.005)),
        ("2 % of held-out text seen", contaminated(0.02)),
        ("documents of 1 window", documents(1)),
        ("documents of 5 windows", documents(5)),
        ("documents of 20 windows", documents(20)),
    ):
        yield name, lambda rng, draw=draw: draw(rng, mine)
    yield "the cascade", lambda rng: plain(rng, scores(of, CASCADE))
    yield "the recipe of entropy", lambda rng: plain(rng, scores(of, OF_ENTROPY))
    if of.short_members is None or of.short_unseen is None or of.others is None:
        return
    long, other = scores(of, OF_ENTROPY), of.others.score[OF_ENTROPY]
    short = Scores(of.short_members.score[OF_ENTROPY], of.short_unseen.score[OF_ENTROPY])
    yield "two lengths, in bands", lambda rng: two_lengths(rng, long, short)
    yield "two lengths, no bands *", lambda rng: two_lengths(rng, long, short, banded=False)
    yield "harder: the other corpus *", lambda rng: other_kind(rng, long, other)
    # How easy an unseen line is by itself, as a model finds that has seen neither.
    difference = scores(of, DIFFERENCE)
    ease = -(of.unseen.score[DIFFERENCE] - of.unseen.score["surprise"])
    yield "easier: the easiest fifth *", lambda rng: chosen(rng, mine, ease, hardest=False)
    yield "the same, --reference-model", lambda rng: chosen(rng, difference, ease, hardest=False)
    yield "harder: the hardest fifth *", lambda rng: chosen(rng, mine, ease, hardest=True)


def verdicts(found: list[Measured], resplits: int) -> Iterator[str]:
    """The table of false discoveries: means over models, each of which is a cluster of re-splits."""
    results: dict[str, list[np.ndarray]] = {}
    number = sum(len(of.unseen.text) >= HELDOUT + 100 for of in found)
    times = -(-resplits // max(1, number))
    for index, of in enumerate(found):
        for name, draw in scenarios(of):
            results.setdefault(name, []).append(simulated(draw, times, seed=index).mean(0))
    yield f"## False discoveries, {times} re-splits of each of {number} models ({len(results)} scenarios)"
    yield ""
    yield "| scenario | models | " + " | ".join(f"FDP at q = {q:g} | power" for q in FDRS) + " | |"
    yield "|---|---|" + "---|" * (2 * len(FDRS) + 1)
    for name, models in results.items():
        means = np.array(models)
        error = means[:, :, 0].std(0, ddof=1) / np.sqrt(len(means)) if len(means) > 1 else np.full(len(FDRS), np.nan)
        mean = means.mean(0)
        holds = bool((mean[:, 0] <= np.array(FDRS) + 2 * np.nan_to_num(error)).all())
        cells = " | ".join(f"{m[0]:.3f} ± {e:.3f} | {m[1]:.2f}" for m, e in zip(mean, error, strict=True))
        yield f"| {name} | {len(means)} | {cells} | {'holds' if holds else '**does not hold**'} |"
    yield ""
    yield "± is the standard error over models; a rule holds if FDP <= q + 2 standard errors at every q. Power is the"
    yield "share of members found. Scenarios with * break the rules' assumption on purpose: candidates are not of the"
    yield "held-out text's kind, or are compared across lengths. What the comparability check says of them:"
    yield ""
    yield from shares_called_shifted(found)


if __name__ == "__main__":
    main()
