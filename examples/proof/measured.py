"""Every score of every line, measured once by `uddm-audit` and read from its tables afterwards."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from models import CORPORA, REFERENCES, Cell, corpus, trained, uddm_audit

OTHERS = 300


@dataclass(frozen=True)
class Lines:
    """Lines of one kind with their scores by recipe (lines,); `repeats` is how often each was trained on."""

    text: list[str]
    score: dict[str, np.ndarray]
    repeats: np.ndarray


@dataclass(frozen=True)
class Measured:
    """What is known of a cell: `members` and `unseen` by all recipes; by the recipe of `entropy` alone also the first
    half of each, and lines of the other corpus."""

    cell: Cell
    members: Lines
    unseen: Lines
    short_members: Lines | None = None
    short_unseen: Lines | None = None
    others: Lines | None = None


def measured(cell: Cell, folder: Path) -> Measured:
    """All scores of the cell's lines, measured if they are not there yet."""
    model, members, unseen, repeats = trained(cell, folder)
    home = folder / cell.name
    files = {"members": members, "unseen": unseen}
    plain = (cell.length, cell.tokenizer) == (32, "char")
    if plain:
        other = next(name for name in CORPORA if name != cell.corpus)
        files["others"] = [line[: cell.length] for line in corpus(other) if len(line) >= cell.length][:OTHERS]
        files["short"] = [line[: cell.length // 2] for line in members + unseen]
    for name, lines in files.items():
        (home / f"{name}.txt").write_text("\n".join(lines) + "\n")
    scores = home / "scores.csv"
    if not scores.exists():
        reference = next((c for c in REFERENCES if plain and c.corpus == cell.corpus), None)
        extra = () if reference is None else ("--reference-model", str(trained(reference, folder)[0]))
        uddm_audit(
            "evaluate", str(model), "--members", str(home / "members.txt"), "--heldout", str(home / "unseen.txt"),
            "--per-text", "-q", "-o", str(scores), *extra,
        )  # fmt: skip
    if not plain:
        return Measured(cell, *_evaluated(home, members, unseen, repeats))
    for name in ("members", "unseen", "others", "short"):
        table = home / f"{name}.csv"
        if not table.exists():
            uddm_audit("entropy", str(model), str(home / f"{name}.txt"), "-q", "-o", str(table))
    short = _scored(home / "short.csv", files["short"])
    first, rest = (_part(short, part) for part in (slice(len(members)), slice(len(members), None)))
    return Measured(
        cell, *_evaluated(home, members, unseen, repeats), first, rest, _scored(home / "others.csv", files["others"])
    )


def _part(lines: Lines, part: slice) -> Lines:
    return Lines(lines.text[part], {name: values[part] for name, values in lines.score.items()}, lines.repeats[part])


def _evaluated(home: Path, members: list[str], unseen: list[str], repeats: dict[str, int]) -> tuple[Lines, Lines]:
    """Both tables of `evaluate` joined with the lines, which they name by their number."""
    found: dict[bool, dict[int, dict[str, float]]] = {True: defaultdict(dict), False: defaultdict(dict)}
    with (home / "scores.per-text.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            if row["value"]:
                found[row["member"] == "True"][int(row["line"]) - 1][row["score"]] = float(row["value"])
    names = {name for lines in found.values() for row in lines.values() for name in row}
    out = []
    for is_member, text in ((True, members), (False, unseen)):
        rows = sorted(found[is_member].items())
        whole = [name for name in names if all(name in row for _, row in rows)]
        out.append(
            Lines(
                [text[i] for i, _ in rows],
                {name: np.array([row[name] for _, row in rows]) for name in whole},
                np.array([repeats.get(text[i], 0) for i, _ in rows]),
            )
        )
    return out[0], out[1]


def _scored(table: Path, text: list[str]) -> Lines:
    """The deciding score of every line of a table of `entropy`, once for each distinct line."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(text), f"{table}: {len(rows)} rows for {len(text)} lines"  # noqa: S101
    recipe = json.loads(table.with_suffix(".meta.json").read_text())["settings"]["recipe"]
    values = np.array([float(row["score"]) for row in rows])
    return Lines(text, {recipe: values}, np.zeros(len(text), dtype=np.int64))
