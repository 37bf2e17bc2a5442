"""How often does a model that stored nothing of the texts fail the gate by chance?

    python examples/chance.py            about four minutes on two cores

measures 3,000 lines that `examples/generalizing` has never seen, once each, and judges 20,000 audits drawn from them by
the rules of `uddm-audit check` at its --fdr of .01: each with candidates and held-out text, and no member among them.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from make_examples import FOLDER, SHARED_RUN, letters

import audit_cli
from audit_cli.records import Verdict
from audit_cli.verdicts.judge import Parts, judge
from audit_cli.verdicts.recipes import BASIN_EXCESS

LINES, LETTERS, SKIPPED = 3000, 28, 40
FDR = 0.01
AUDITS = ((1, 100), (10, 999), (50, 999), (10, 2000), (50, 2000))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--audits", type=int, default=20_000, help="of each kind")
    parser.add_argument("--model", type=Path, default=FOLDER / "generalizing")
    asked = parser.parse_args()
    model = audit_cli.load(asked.model)
    results = list(audit_cli.basins(model, unseen_lines()))
    score = np.array([result.judgement.score for result in results if result.judgement])
    back = np.array([{None: -1, False: 0, True: 1}[result.returns] for result in results if result.judgement])
    print(f"{len(score):,} lines measured, {(back == 1).sum()} return")
    print("| candidates | held-out texts | a text is memorized (exit 1) | familiar or above | inconclusive (exit 4) |")
    print("|---|---|---|---|---|")
    for candidates, references in AUDITS:
        ends = np.array(list(ends_of(score, back, candidates, references, asked.audits)))
        shares = " | ".join(f"{share:.2%} ± {np.sqrt(share * (1 - share) / len(ends)):.2%}" for share in ends.mean(0))
        print(f"| {candidates} | {references:,} | {shares} |")


def ends_of(
    score: np.ndarray, back: np.ndarray, candidates: int, references: int, audits: int
) -> Iterator[tuple[bool, bool, bool]]:
    """Of every audit whether it names a text memorized, names one at all, or ends inconclusive."""
    rng = np.random.default_rng((candidates, references))
    for _ in range(audits):
        drawn = rng.permutation(len(score))[: candidates + references]
        own = drawn[:candidates]
        parts = Parts(np.arange(candidates), score[own], back[own], np.zeros(candidates, dtype=np.int64))
        found = set(judge(parts, [score[drawn[candidates:]].tolist()], BASIN_EXCESS, FDR, None).verdicts())
        named = bool(found & {Verdict.MEMORIZED, Verdict.FAMILIAR})
        yield Verdict.MEMORIZED in found, named, not named and Verdict.INCONCLUSIVE in found


def unseen_lines() -> list[str]:
    """Words from the middle of verses, of which the model saw the beginnings; none shares a long run of letters with
    these, or with another."""
    seen = set()
    for line in (FOLDER / "train.txt").read_text().splitlines():
        seen |= runs(letters(line))
    out = []
    for verse in (FOLDER / "kjv.txt").read_text().splitlines():
        text = letters(verse)[SKIPPED:].partition(" ")[2][:LETTERS]
        if len(text) == LETTERS and not runs(text) & seen:
            seen |= runs(text)
            out.append(text)
    rng = np.random.default_rng(0)
    return [out[i] for i in rng.permutation(len(out))[:LINES]]


def runs(text: str) -> set[str]:
    return {text[i : i + SHARED_RUN] for i in range(max(1, len(text) - SHARED_RUN + 1))}


if __name__ == "__main__":
    main()
