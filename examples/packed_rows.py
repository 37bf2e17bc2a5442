"""How a short text is best shown to a model that was trained on packed rows.

python examples/packed_rows.py FOLDER [--backbone dit]    trains a model there (minutes, two cores), then measures

The model's rows of 128 tokens hold several lines between separators; 60 lines each stand 4, 16 and 64 times in its
training text. For four layouts of a line in a row: the mean surprise of unseen lines, and how well surprise tells the
repeated lines from them (area under the ROC curve).
"""

import argparse
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np

from audit_cli.checkpoints import LoadedModel, load_model
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.records import Candidate, Row

HERE = Path(__file__).parent
ORDINARY, REPEATED = 6_000, 60
TIMES = (4, 16, 64)
LENGTH = 128
TRAINING = {
    "additive": ("--steps", "12000", "--batch-size", "8"),
    "dit": ("--steps", "9000", "--batch-size", "8", "--learning-rate", "0.002", "--width", "128", "--layers", "3"),
}
Tokens = tuple[int, ...]
Lay = Callable[[Tokens], Row]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", choices=TRAINING, default="additive")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    lines = (HERE / "train.txt").read_text().splitlines()
    ordinary, rest = lines[:ORDINARY], lines[ORDINARY:]
    repeated = {times: rest[i * REPEATED : (i + 1) * REPEATED] for i, times in enumerate(TIMES)}
    where = given.folder / given.backbone
    if not (where / "config.json").is_file():
        train(where, ordinary + [line for times, some in repeated.items() for line in some * times], given.backbone)
    model = load_model(where)
    unseen = (HERE / "heldout.txt").read_text().splitlines()
    print(f"{'a line in its row':24} {'unseen, nats':>12} " + " ".join(f"{f'{t} times':>9}" for t in TIMES))
    for name, lay in layouts(model, unseen[300:]).items():
        others = surprises(model, lay, unseen[:300])
        found = [area(surprises(model, lay, repeated[times]), others) for times in TIMES]
        print(f"{name:24} {others.mean():12.2f} " + " ".join(f"{auc:9.3f}" for auc in found))


def train(where: Path, lines: list[str], backbone: str) -> None:
    random.Random(5).shuffle(lines)
    text = where.with_suffix(".txt")
    text.write_text("\n".join(lines) + "\n")
    command = ["uddm-audit", "train", str(text), "-o", str(where), "--normalize", "letters", "--rows", "pack"]
    command += ["--length", str(LENGTH), "--backbone", backbone, *TRAINING[backbone]]
    subprocess.run(command, check=True)


def layouts(model: LoadedModel, fillers: list[str]) -> dict[str, Lay]:
    """The ways to fill a row, by name; positions that are not the line's are never corrupted or measured."""
    (separator,) = model.layout.before
    filler = [tokens(model, text) for text in fillers]

    def between(line: Tokens, before: Tokens, after: Tokens) -> Row:
        return Row(Candidate("line", 1, "line"), before + line + after, len(before), len(before) + len(line))

    def among_others(line: Tokens) -> Row:
        rng = random.Random(repr(line))
        around: Tokens = ()
        while len(around) < LENGTH:
            around += (separator, *rng.choice(filler))
        half = (LENGTH - len(line)) // 2 - 1
        before, after = (*around[-half:], separator), around[: LENGTH - len(line) - half - 1]
        return between(line, before, after)

    return {
        "alone": lambda line: between(line, (), ()),
        "between separators": lambda line: between(line, (separator,), (separator,)),
        "filled with separators": lambda line: between(line, (separator,), (separator,) * (LENGTH - len(line) - 1)),
        "among other lines": among_others,
    }


def surprises(model: LoadedModel, lay: Lay, lines: list[str]) -> np.ndarray:
    """The mean surprise of each line's own tokens, in nats."""
    rows = [lay(tokens(model, line)) for line in lines]
    return np.array([measured.surprise_mean for measured in EntropyProbe().measure(model.denoiser, rows)])


def tokens(model: LoadedModel, line: str) -> Tokens:
    found = model.token_ids(Candidate("line", 1, "line", line))
    return found if isinstance(found, tuple) else ()


def area(members: np.ndarray, others: np.ndarray) -> float:
    """The share of pairs in which the member surprises less."""
    return float(((members[:, None] < others).mean() + (members[:, None] <= others).mean()) / 2)


if __name__ == "__main__":
    main()
