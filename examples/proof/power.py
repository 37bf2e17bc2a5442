"""How well does every score tell members from others? Means over the models of a corpus, by the size of training."""

from collections.abc import Iterator

import numpy as np
from measured import Measured
from models import CORPORA, SIZES, TUNED_ON

from audit_cli.statistics.membership import auc, tpr_at
from audit_cli.verdicts.recipes import ALL

# They ask a second model.
WITH_REFERENCE = ("surprise-difference", "noisy-surprise-difference", "votes")
RESAMPLES = 200


def power_tables(found: list[Measured], default: str) -> Iterator[str]:
    """A table a corpus: AUC, and the share of members at 10 % and 1 % false positives, by size."""
    for corpus in CORPORA:
        plain = [m for m in found if m.cell.corpus == corpus and (m.cell.tokenizer, m.cell.length) == ("char", 32)]
        other = [m for m in found if m.cell.corpus == corpus and m not in plain]
        said = "on which the default was chosen" if corpus == TUNED_ON else "on which it was not"
        if plain:
            yield f"## Scores on {corpus}, {said}: letters, 32 tokens"
            yield ""
            yield from _table([(f"{size} lines", [m for m in plain if m.cell.size == size]) for size in SIZES])
            yield ""
            yield _best(plain, default)
            yield ""
        if other:
            yield f"### {corpus}: word pieces (V 2,000, 16 tokens), and lines of 128 letters"
            yield ""
            yield from _table([(f"{m.cell.tokenizer} {m.cell.length}, {m.cell.size} lines", [m]) for m in other])
            yield ""


def _table(columns: list[tuple[str, list[Measured]]]) -> Iterator[str]:
    columns = [(name, models) for name, models in columns if models]
    yield "| score | " + " | ".join(name for name, _ in columns) + " |"
    yield "|---|" + "---|" * len(columns)
    for recipe in ALL:
        cells = []
        for _, models in columns:
            if not all(recipe.name in m.members.score and recipe.name in m.unseen.score for m in models):
                cells.append("")
                continue
            pairs = [(m.members.score[recipe.name], m.unseen.score[recipe.name]) for m in models]
            mean = [np.mean([measure(*pair) for pair in pairs]) for measure in (auc, _at(0.1), _at(0.01))]
            cells.append(f"{mean[0]:.3f}  {mean[1]:.2f}  {mean[2]:.2f}")
        if any(cells):
            yield f"| {recipe.name} | " + " | ".join(cells) + " |"
    yield ""
    yield "AUC, then the share of members above 10 % and above 1 % of unseen lines, means over the models of a column."


def _at(rate: float):
    return lambda members, others: tpr_at(members, others, rate)


def _best(models: list[Measured], default: str) -> str:
    """Is the default the best, or tied with it? By the mean AUC, paired over the same resampled lines."""
    names = [r.name for r in ALL if r.name not in WITH_REFERENCE and all(r.name in m.members.score for m in models)]
    means = {name: np.mean([auc(m.members.score[name], m.unseen.score[name]) for m in models]) for name in names}
    best = max(names, key=lambda name: means[name])
    if best == default:
        return f"`{default}` has the highest mean AUC, {means[best]:.3f}."
    rng = np.random.default_rng(0)
    differences = []
    for _ in range(RESAMPLES):
        each = []
        for m in models:
            i = rng.integers(0, len(m.members.text), len(m.members.text))
            j = rng.integers(0, len(m.unseen.text), len(m.unseen.text))
            each.append(
                auc(m.members.score[best][i], m.unseen.score[best][j])
                - auc(m.members.score[default][i], m.unseen.score[default][j])
            )
        differences.append(np.mean(each))
    gap, error = means[best] - means[default], float(np.std(differences, ddof=1))
    tied = "tied: within two standard errors" if gap <= 2 * error else "not tied"
    return (
        f"`{default}` has a mean AUC of {means[default]:.3f}; the highest is `{best}`, {means[best]:.3f} "
        f"(difference {gap:.3f} ± {error:.3f}: {tied})."
    )
