"""Re-makes everything in this folder but the corpus: texts and checkpoints, with the tool's own commands.

python examples/make_examples.py            texts, then the three checkpoints: about ten minutes on two cores
python examples/make_examples.py --texts    the texts only
"""

import argparse
import os
import random
import re
import subprocess
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from secret_lines import LONGEST, TEMPLATES, secrets

FOLDER = Path(__file__).parent
LENGTH = 32
SHORTEST = 26
SHARED_RUN = 24
HELDOUT, UNSEEN, MEMORIZED = 500, 8, 16
# The realistic model: ordinary lines, and how often each of PER_COUNT secrets a template is planted among them.
ORDINARY = 20_000
REPEATS = (0, 1, 4, 16, 64, 256)
PER_COUNT, SECRETS_HELDOUT = 4, 600
REALISTIC = ("--steps", "20000", "--learning-rate", "0.008")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", action="store_true", help="make the texts only")
    texts_only = parser.parse_args().texts
    for name, lines in texts().items():
        (FOLDER / name).write_text("\n".join(lines) + "\n")
        print(f"{name}: {len(lines):,} lines")
    if not texts_only:
        letters_32 = ("train.txt", "--normalize", "letters", "--length", str(LENGTH))
        train("memorizing", *letters_32, "--limit", str(MEMORIZED), "--steps", "2500")
        train("generalizing", *letters_32, "--steps", "12000")
        train("realistic", "realistic-train.txt", "--normalize", "lower", "--length", str(LONGEST), *REALISTIC)


def texts() -> dict[str, list[str]]:
    """Every text file by its name, as lines."""
    verses = (FOLDER / "kjv.txt").read_text().splitlines()
    random.Random(0).shuffle(verses)
    chosen = list(distinct((beginning(verse), verse) for verse in verses))
    lines = [line for line, _ in chosen]
    heldout, unseen, rest = lines[:HELDOUT], lines[HELDOUT : HELDOUT + UNSEEN], lines[HELDOUT + UNSEEN :]
    candidates = rest[:MEMORIZED] + unseen
    random.Random(1).shuffle(candidates)
    # A longer beginning may run into a stock phrase that is held out: "On the first day of the first".
    kept_back = [letters(line) for line in heldout + unseen]
    longer = (whole_words(verse, LONGEST) for _, verse in chosen[HELDOUT + UNSEEN :])
    ordinary = [line for line in longer if not holds_any(kept_back, letters(line))]
    return {"train.txt": rest, "heldout.txt": heldout, "candidates.txt": candidates} | secret_texts(ordinary[:ORDINARY])


def secret_texts(ordinary: list[str]) -> dict[str, list[str]]:
    """Training text of the realistic model, what to audit it with, and the key: how often a line was planted."""
    source = secrets()
    planted = [
        (line, template, repeats)
        for repeats in REPEATS
        for template, line in islice(source, PER_COUNT * len(TEMPLATES))
    ]
    training = ordinary + [line for line, _, repeats in planted for _ in range(repeats)]
    random.Random(2).shuffle(training)
    random.Random(3).shuffle(planted)
    key = [f"{number},{template},{repeats}" for number, (_, template, repeats) in enumerate(planted, start=1)]
    return {
        "realistic-train.txt": training,
        "secrets.txt": [line for line, _, _ in planted],
        "secrets-heldout.txt": [line for _, line in islice(source, SECRETS_HELDOUT)],
        "secrets-key.csv": ["line,template,repeats", *key],
    }


def letters(text: str) -> str:
    """The text as `--normalize letters` sees it."""
    return re.sub(r"[^a-z]+", " ", text.lower().replace("'", "")).strip()


def beginning(verse: str) -> str:
    """As many whole words of a verse as fit into a row of letters."""
    words = verse.split()
    while len(letters(" ".join(words))) > LENGTH:
        words.pop()
    return " ".join(words).rstrip(" ,:;-(")


def whole_words(verse: str, length: int) -> str:
    """As many whole words of a verse as fit into a row, punctuation included."""
    return verse if len(verse) <= length else verse[: length + 1].rpartition(" ")[0]


def holds_any(phrases: Iterable[str], text: str) -> bool:
    return any(phrase in text for phrase in phrases)


def distinct(lines: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Lines of a sensible length, each with its verse, that share no long run of letters with an earlier one."""
    seen: set[str] = set()
    for line, verse in lines:
        text = letters(line)
        run = min(SHARED_RUN, len(text))
        runs = {text[i : i + run] for i in range(len(text) - run + 1)}
        if len(text) >= SHORTEST and not runs & seen:
            seen |= runs
            yield line, verse


def train(name: str, text: str, *options: str) -> None:
    command = ("uddm-audit", "train", str(FOLDER / text), "-o", str(FOLDER / name), "--overwrite", "--no-manifest")
    # One thread: sums split among several are rounded otherwise in every run.
    subprocess.run([*command, *options], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})


if __name__ == "__main__":
    main()
