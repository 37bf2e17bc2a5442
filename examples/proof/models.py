"""Models whose training text was chosen by a coin: what they were trained on, and what they might have been."""

import json
import os
import random
import shutil
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

EXAMPLES = Path(__file__).parent.parent
# Lines of a corpus share no run of so many letters, so that no unseen line is known from a seen one.
SHARED_RUN = 24
STEPS = 3500
# One line in so many is set aside for the reference model.
SET_ASIDE = 8
# Every eighth line is trained on twice, and every sixteenth four times.
REPEATS = (4, 2, 2) + (1,) * 13

_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Cell:
    """A model: `size` distinct lines of a corpus, cut to `length` tokens, and the coin's `seed`."""

    corpus: str
    size: int
    seed: int
    length: int = 32
    tokenizer: str = "char"
    unseen: int = 1000

    @property
    def name(self) -> str:
        """A name for files."""
        kind = (
            "" if (self.length, self.tokenizer) == (32, "char") else f"-{self.tokenizer.replace(':', '')}-{self.length}"
        )
        return f"{self.corpus}{kind}-{self.size}-{self.seed}"

    @property
    def kind(self) -> str:
        """What its models have in common besides the size."""
        return f"{self.corpus}, {'letters' if self.tokenizer == 'char' else self.tokenizer}, {self.length} tokens"


# The default recipe was chosen on the first corpus; the other is where it must hold.
CORPORA = TUNED_ON, NOT_TUNED_ON = "kjv", "glosses"
SIZES = (64, 128, 256, 512)
CELLS = (
    *(Cell(corpus, size, seed) for corpus in CORPORA for size in SIZES for seed in ((0,) if size == 64 else (0, 1))),
    *(Cell(corpus, size, 0, 16, "bpe:2000") for corpus in CORPORA for size in (128, 512)),
    *(Cell(TUNED_ON, size, 0, 128, unseen=300) for size in (64, 128)),
)
# Models of all that is set aside, which know the language and none of the lines.
REFERENCES = tuple(Cell(corpus, 0, 0) for corpus in CORPORA)


def trained(cell: Cell, folder: Path) -> tuple[Path, list[str], list[str], dict[str, int]]:
    """The cell's model, trained if it is not there yet, the lines it saw and those that it might have seen, and how
    often it saw each."""
    home = folder / cell.name
    lines = home / "lines.json"
    if not lines.exists():
        home.mkdir(parents=True, exist_ok=True)
        pool = list(distinct(corpus(cell.corpus), cutter(cell, folder)))
        aside = cell.size == 0
        pool = [line for line in pool if (zlib.crc32(line.encode()) % SET_ASIDE == 0) is aside]
        random.Random(cell.name).shuffle(pool)
        members, unseen = (pool, []) if aside else (pool[: cell.size], pool[cell.size : cell.size + cell.unseen])
        repeats = {line: 1 if aside else REPEATS[i % len(REPEATS)] for i, line in enumerate(members)}
        temporary = lines.with_suffix(".part")
        temporary.write_text(json.dumps({"members": members, "unseen": unseen, "repeats": repeats}))
        temporary.replace(lines)
    stored = json.loads(lines.read_text())
    members, unseen, repeats = stored["members"], stored["unseen"], stored["repeats"]
    model = home / "model"
    if not (home / "trained").exists():
        text = home / "train.txt"
        planted = [line for line in members for _ in range(repeats[line])]
        random.Random(cell.name).shuffle(planted)
        text.write_text("\n".join(planted) + "\n")
        shutil.rmtree(model, ignore_errors=True)
        uddm_audit(
            "train", str(text), "-o", str(model), "--normalize", "letters", "--length", str(cell.length),
            "--tokenizer", str(tokenizer(cell, folder)), "--steps", str(STEPS), "--learning-rate", "0.008",
            "--seed", str(cell.seed), "--overwrite", "--no-manifest",
        )  # fmt: skip
        (home / "trained").touch()
    return model, members, unseen, repeats


def train_all(cells: Iterable[Cell], folder: Path, workers: int) -> Iterator[Cell]:
    """Train what is missing, so many at a time, each on one thread; the cells as they are done."""
    with ThreadPoolExecutor(workers) as pool:
        for cell, _ in zip(cells, pool.map(lambda cell: trained(cell, folder), cells), strict=True):
            yield cell


def uddm_audit(*arguments: str) -> None:
    """Run a command of the tool on one thread."""
    program = shutil.which("uddm-audit", path=Path(sys.executable).parent) or "uddm-audit"
    done = subprocess.run(
        (program, *arguments), env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    if done.returncode:
        sys.exit(f"uddm-audit {' '.join(arguments)}: {done.stderr[-500:]}")


def corpus(name: str) -> list[str]:
    """The lines of a corpus as the models see them: lower case letters and spaces."""
    sys.path.insert(0, str(EXAMPLES))
    from make_examples import letters

    return [letters(line) for line in (EXAMPLES / f"{name}.txt").read_text().splitlines()]


def distinct(lines: Iterable[str], cut: Callable[[str], str]) -> Iterator[str]:
    """The beginning of every line that is long enough and shares no long run of letters with an earlier one."""
    seen: set[str] = set()
    for line in lines:
        text = cut(line)
        run = min(SHARED_RUN, len(text))
        runs = {text[i : i + run] for i in range(len(text) - run + 1)}
        if text and not runs & seen:
            seen |= runs
            yield text


def cutter(cell: Cell, folder: Path) -> Callable[[str], str]:
    """What makes a line a row of the cell's length, and empty if it is too short.

    With word pieces the row ends where a word does, so that its text has these tokens and no others.
    """
    if cell.tokenizer == "char":
        return lambda line: line[: cell.length] if len(line) >= cell.length else ""
    pieces = Tokenizer.from_file(str(tokenizer(cell, folder)))

    def whole_words(line: str) -> str:
        found = pieces.encode(line)
        if len(found.ids) <= cell.length:
            return ""
        text = line[: found.offsets[cell.length - 1][1]]
        return text if pieces.encode(text).ids == found.ids[: cell.length] else ""

    return whole_words


def tokenizer(cell: Cell, folder: Path) -> Path:
    """The letters of both corpora, or word pieces of the cell's: of seen and unseen lines alike, so that a vocabulary
    tells nothing, and models can be compared."""
    letters = cell.tokenizer == "char"
    home = folder / ("char" if letters else f"{cell.corpus}-{cell.tokenizer.replace(':', '')}")
    with _ONE_AT_A_TIME:
        if not (home / "trained").exists():
            home.mkdir(parents=True, exist_ok=True)
            lines = [line for name in (CORPORA if letters else (cell.corpus,)) for line in corpus(name)]
            (home / "corpus.txt").write_text("\n".join(lines) + "\n")
            uddm_audit(
                "train", str(home / "corpus.txt"), "-o", str(home / "model"), "--tokenizer", cell.tokenizer,
                "--normalize", "letters", "--steps", "1", "--overwrite", "--no-manifest",
            )  # fmt: skip
            (home / "trained").touch()
    return home / "model" / "tokenizer.json"
