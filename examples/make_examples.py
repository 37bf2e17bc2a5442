"""Re-makes everything in this folder but the corpus: texts and checkpoints, with the tool's own commands.

python examples/make_examples.py            texts, then both checkpoints: about five minutes on two cores
python examples/make_examples.py --texts    the texts only
"""

import argparse
import random
import re
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent
LENGTH = 32
SHORTEST = 26
SHARED_RUN = 24
HELDOUT, UNSEEN, MEMORIZED = 500, 8, 16
TRAIN = ("uddm-audit", "train", str(FOLDER / "train.txt"), "--normalize", "letters", "--length", str(LENGTH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", action="store_true", help="make the texts only")
    texts_only = parser.parse_args().texts
    make_texts()
    if not texts_only:
        train("memorizing", "--limit", str(MEMORIZED), "--steps", "2500")
        train("generalizing", "--steps", "12000")


def make_texts() -> None:
    """train.txt, heldout.txt and candidates.txt, from the beginnings of the verses in kjv.txt."""
    verses = (FOLDER / "kjv.txt").read_text().splitlines()
    random.Random(0).shuffle(verses)
    lines = list(distinct(beginning(verse) for verse in verses))
    heldout, unseen, rest = lines[:HELDOUT], lines[HELDOUT : HELDOUT + UNSEEN], lines[HELDOUT + UNSEEN :]
    candidates = rest[:MEMORIZED] + unseen
    random.Random(1).shuffle(candidates)
    for name, content in (("train", rest), ("heldout", heldout), ("candidates", candidates)):
        (FOLDER / f"{name}.txt").write_text("\n".join(content) + "\n")
        print(f"{name}.txt: {len(content):,} lines")


def letters(text: str) -> str:
    """The text as `--normalize letters` sees it."""
    return re.sub(r"[^a-z]+", " ", text.lower().replace("'", "")).strip()


def beginning(verse: str) -> str:
    """As many whole words of a verse as fit into a row."""
    words = verse.split()
    while len(letters(" ".join(words))) > LENGTH:
        words.pop()
    return " ".join(words).rstrip(" ,:;-(")


def distinct(lines):
    """Lines of a sensible length that share no long run of letters with an earlier one."""
    seen: set[str] = set()
    for line in lines:
        text = letters(line)
        run = min(SHARED_RUN, len(text))
        runs = {text[i : i + run] for i in range(len(text) - run + 1)}
        if len(text) >= SHORTEST and not runs & seen:
            seen |= runs
            yield line


def train(name: str, *options: str) -> None:
    subprocess.run([*TRAIN, "-o", str(FOLDER / name), "--overwrite", *options], check=True)


if __name__ == "__main__":
    main()
