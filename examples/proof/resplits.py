"""How many findings are false? Verdicts on thousands of re-splits of scores of which the truth is known.

A re-split draws candidates, among them members, and held-out texts from the lines of one model, and judges them with
the program's own rules. Members and unseen lines were chosen by a coin, so an unseen line is what the rules assume it
to be. Scores are read from cache: nothing is measured here.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from audit_cli.verdicts.judge import UNCLEAR, Parts, judge
from audit_cli.verdicts.recipes import SURPRISE

FDRS = (0.01, 0.05, 0.1)
CANDIDATES, MEMBERS, HELDOUT = 50, 10, 600
FEW = 99


@dataclass(frozen=True)
class Scores:
    """One score of every line of a model: `members` and `unseen` (lines,)."""

    members: np.ndarray
    unseen: np.ndarray


@dataclass(frozen=True)
class Case:
    """A re-split, ready to be judged: scores of the parts of every text, whose text each is, its group of references,
    which texts are members, and the references' scores."""

    score: np.ndarray
    text: np.ndarray
    group: np.ndarray
    member: np.ndarray
    references: list[np.ndarray]


def one_part(candidates: np.ndarray, member: np.ndarray, references: np.ndarray) -> Case:
    """Texts of one part each, all compared with the same references."""
    return Case(candidates, np.arange(len(candidates)), np.zeros(len(candidates), dtype=np.int64), member, [references])


def plain(rng: np.random.Generator, scores: Scores, members: int = MEMBERS, heldout: int = HELDOUT) -> Case:
    """CANDIDATES texts, `members` of them trained on, and unseen lines to compare them with."""
    unseen = rng.permutation(scores.unseen)
    innocent = CANDIDATES - members
    seen = rng.choice(scores.members, members, replace=False)
    member = np.arange(CANDIDATES) < members
    return one_part(np.concatenate([seen, unseen[:innocent]]), member, unseen[innocent : innocent + heldout])


def all_innocent(rng: np.random.Generator, scores: Scores) -> Case:
    """No member among the candidates: whatever is found is false."""
    return plain(rng, scores, members=0)


def few_references(rng: np.random.Generator, scores: Scores) -> Case:
    """So few held-out texts that only several findings together can reach q."""
    return plain(rng, scores, heldout=FEW)


def ties(rng: np.random.Generator, scores: Scores) -> Case:
    """A score with a ceiling that a fifth of the unseen lines reach."""
    ceiling = np.quantile(scores.unseen, 0.8)
    return plain(rng, Scores(np.minimum(scores.members, ceiling), np.minimum(scores.unseen, ceiling)))


def contaminated(share: float) -> Callable[[np.random.Generator, Scores], Case]:
    """A share of the held-out texts are members, other ones than the candidates."""

    def draw(rng: np.random.Generator, scores: Scores) -> Case:
        order = rng.permutation(len(scores.members))
        case = plain(rng, Scores(scores.members[order[:MEMBERS]], scores.unseen))
        wrong = max(1, round(share * HELDOUT))
        others = scores.members[order[MEMBERS : MEMBERS + wrong]]
        return one_part(case.score, case.member, np.concatenate([case.references[0][wrong:], others]))

    return draw


def documents(windows: int) -> Callable[[np.random.Generator, Scores], Case]:
    """Documents of so many lines, a member's all trained on; of a held-out document one line is drawn."""

    def draw(rng: np.random.Generator, scores: Scores) -> Case:
        number = min(CANDIDATES, len(scores.unseen) // (2 * windows), 5 * len(scores.members) // windows)
        members = min(MEMBERS, number // 5 or 1)
        unseen = rng.permutation(scores.unseen)
        innocent = number - members
        seen = rng.choice(scores.members, members * windows, replace=False)
        score = np.concatenate([seen, unseen[: innocent * windows]])
        return Case(
            score,
            np.repeat(np.arange(number), windows),
            np.zeros(len(score), dtype=np.int64),
            np.arange(number) < members,
            [unseen[innocent * windows :]],
        )

    return draw


def two_lengths(rng: np.random.Generator, long: Scores, short: Scores, banded: bool = True) -> Case:
    """Half of the candidates are long and half short, each compared with references of its own length, or, not
    `banded`, all with long ones."""
    cases = [plain(rng, scores, heldout=HELDOUT // 2) for scores in (long, short)]
    half = CANDIDATES // 2
    keep = [np.r_[0 : MEMBERS // 2, MEMBERS : MEMBERS + half - MEMBERS // 2] for _ in cases]
    score = np.concatenate([case.score[k] for case, k in zip(cases, keep, strict=True)])
    member = np.concatenate([case.member[k] for case, k in zip(cases, keep, strict=True)])
    group = np.repeat([0, 1 if banded else 0], half)
    return Case(score, np.arange(len(score)), group, member, [case.references[0] for case in cases])


def other_kind(rng: np.random.Generator, scores: Scores, others: np.ndarray) -> Case:
    """Innocent candidates are texts of another kind than the members and the held-out text."""
    seen = rng.choice(scores.members, MEMBERS, replace=False)
    innocent = rng.choice(others, CANDIDATES - MEMBERS, replace=False)
    member = np.arange(CANDIDATES) < MEMBERS
    return one_part(np.concatenate([seen, innocent]), member, rng.permutation(scores.unseen)[:HELDOUT])


def chosen(rng: np.random.Generator, scores: Scores, ease: np.ndarray, hardest: bool, share: float = 0.2) -> Case:
    """Innocent candidates are the easiest, or hardest, share of the unseen lines, and the held-out texts are any."""
    order = np.argsort(ease if hardest else -ease)
    odd = order[: round(share * len(order))]
    picked = rng.choice(odd, CANDIDATES - MEMBERS, replace=False)
    rest = rng.permutation(np.setdiff1d(np.arange(len(scores.unseen)), picked))[:HELDOUT]
    seen = rng.choice(scores.members, MEMBERS, replace=False)
    member = np.arange(CANDIDATES) < MEMBERS
    return one_part(np.concatenate([seen, scores.unseen[picked]]), member, scores.unseen[rest])


def outcome(case: Case) -> Iterator[tuple[float, float]]:
    """For each of FDRS the false discovery proportion and the share of members found."""
    unclear = np.full(len(case.score), UNCLEAR)
    judged = judge(Parts(case.text, case.score, unclear, case.group), case.references, SURPRISE, FDRS[0], None)
    for fdr in FDRS:
        found = judged.q <= fdr
        false = int((found & ~case.member).sum())
        yield false / max(1, int(found.sum())), float(found[case.member].mean()) if case.member.any() else 0.0


def simulated(draw: Callable[[np.random.Generator], Case], times: int, seed: int) -> np.ndarray:
    """(times, FDRS, 2): false discovery proportion and power of so many re-splits."""
    rng = np.random.default_rng(seed)
    return np.array([list(outcome(draw(rng))) for _ in range(times)])
