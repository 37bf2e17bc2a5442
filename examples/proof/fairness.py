"""What the comparability check says where candidates are, and are not, of the held-out text's kind."""

from collections.abc import Iterator

import numpy as np
from measured import Measured
from resplits import CANDIDATES, HELDOUT, MEMBERS

from audit_cli.records import Comparability
from audit_cli.verdicts.comparability import Compared, Fairness

DRAWS = 20


def shares_called_shifted(found: list[Measured]) -> Iterator[str]:
    """A table: of the innocent candidates, and of the members beside them, the share that is called shifted."""
    yield "| candidates | innocent ones called shifted | members called shifted | audits with any |"
    yield "|---|---|---|---|"
    models = [of for of in found if of.others is not None and len(of.unseen.text) >= HELDOUT + 100]
    for name in ("of the held-out text's kind", "the other corpus", "the easiest fifth", "the hardest fifth"):
        rows = [
            _shifted(of, name, np.random.default_rng((index, draw)))
            for index, of in enumerate(models)
            for draw in range(DRAWS)
        ]
        if rows:
            innocent, members, anything = np.array(rows).mean(0)
            yield f"| {name} | {innocent:.1%} | {members:.1%} | {anything:.0%} |"


def _shifted(of: Measured, name: str, rng: np.random.Generator) -> tuple[float, float, bool]:
    unseen = np.array(of.unseen.text, dtype=object)
    if name == "the other corpus":
        assert of.others is not None  # noqa: S101 - the caller has looked
        innocent = list(rng.choice(np.array(of.others.text, dtype=object), CANDIDATES - MEMBERS, replace=False))
        rest = rng.permutation(len(unseen))[:HELDOUT]
    else:
        ease = of.unseen.score["surprise"] - of.unseen.score["surprise-difference"]
        order = {"the easiest fifth": np.argsort(-ease), "the hardest fifth": np.argsort(ease)}.get(name)
        among = rng.permutation(len(unseen)) if order is None else order[: len(unseen) // 5]
        picked = rng.choice(among, CANDIDATES - MEMBERS, replace=False)
        innocent = list(unseen[picked])
        rest = rng.permutation(np.setdiff1d(np.arange(len(unseen)), picked))[:HELDOUT]
    members = list(rng.choice(np.array(of.members.text, dtype=object), MEMBERS, replace=False))
    candidates = [Compared(text, 0) for text in members + innocent]
    check = Fairness(candidates, [Compared(text, 0) for text in unseen[rest]])
    out = np.array([grade.grade is Comparability.SHIFTED for grade in check.grades(candidates)])
    return float(out[MEMBERS:].mean()), float(out[:MEMBERS].mean()), bool(out.any())
