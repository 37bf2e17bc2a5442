"""What `uddm-audit sweep` does, loaded only when it runs."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from audit_cli import __version__
from audit_cli.audits.sweep import Corpus, Sweep, SweepError, SweepSettings
from audit_cli.audits.sweep_report import sweep_report
from audit_cli.audits.watch import Watch
from audit_cli.candidates import open_texts
from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer, train_tokenizer
from audit_cli.cli import session
from audit_cli.cli.running import usable_device
from audit_cli.records import Candidate, RunInfo, Skipped, SweepCell
from audit_cli.reports.sweep import sweep_lines, write_sweep
from audit_cli.training import TrainingSettings


def run(asked: Mapping[str, Any], sizes: tuple[int, ...]) -> None:
    """Train and measure what is missing, then say what all of it says."""
    settings = SweepSettings(
        sizes=sizes,
        seeds=asked["seeds"],
        texts=asked["texts"],
        samples=asked["samples"],
        restarts=asked["restarts"],
        length=asked["length"],
        backbone=str(asked["backbone"]),
        width=asked["width"],
        layers=asked["layers"],
        heads=asked["heads"],
        schedule=str(asked["schedule"]),
        training=TrainingSettings(
            steps=asked["steps"],
            batch_size=asked["batch_size"],
            learning_rate=asked["learning_rate"],
            loss=str(asked["loss"]),
        ),
        seed=asked["seed"],
    )
    begun = time.monotonic()
    device = usable_device(asked["device"])
    normalize = str(asked["normalize"] or ("letters" if asked["preset"] else "none"))
    lines = _lines(asked["text"])
    folder: Path = asked["output"]
    try:
        tokenizer = _tokenizer(asked["tokenizer"], lines, normalize)
        corpus = Corpus.of(lines, lambda line: _encoded(tokenizer, line), settings)
        folder.mkdir(parents=True, exist_ok=True)
        watch: Watch
        with session.show_progress(asked["quiet"]) as watch:
            sweep = Sweep(corpus, tokenizer, settings, folder, device, watch)
            if len(sweep.places()) > sweep.missing():
                watch.warn(f"going on: {len(sweep.places()) - sweep.missing()} of {len(sweep.places())} are there")
            cells = []
            for cell in sweep.cells():
                cells.append(cell)
                if not asked["quiet"]:
                    session.note(_told(cell, sweep))
    except (SweepError, ValueError) as error:
        session.fail(str(error), session.USAGE)
    info = RunInfo("sweep", __version__, asdict(settings), "", str(device), "float32", "",
                   time.monotonic() - begun, 0)  # fmt: skip
    report = sweep_report(cells, settings.deciding, info, settings.seed, _warnings(corpus, cells))
    console = session.stdout()
    for part in sweep_lines(report, console.width):
        console.print(part)
    for file in write_sweep(report, folder):
        session.note(f"wrote {file}")


def _lines(path: Path) -> list[str]:
    """The texts of a corpus, duplicates too."""
    out = []
    for text in open_texts([path]):
        if isinstance(text, Skipped):
            session.fail(f"{text.candidate.id}: {text.reason}", session.USAGE)
        assert isinstance(text, Candidate)  # noqa: S101 - else it was skipped
        if text.text is None:
            session.fail(f"{text.id}: input_ids cannot be trained on; give the text", session.USAGE)
        out.append(text.text)
    return out


def _tokenizer(name: str, lines: list[str], normalize: str) -> TextTokenizer:
    if name == "char" or name.startswith("bpe:"):
        return train_tokenizer(name, lines, "cut", normalize)
    return load_tokenizer(Path(name))


def _encoded(tokenizer: TextTokenizer, line: str) -> tuple[int, ...]:
    """The tokens of a line; none of one that the tokenizer cannot represent."""
    try:
        return tokenizer.encode(line)
    except Untokenizable:
        return ()


def _told(cell: SweepCell, sweep: Sweep) -> str:
    """A line a cell, as it is done."""
    k = sweep.settings.deciding
    train, held = (sum(split.recovery[k]) / len(split.recovery[k]) for split in (cell.train, cell.heldout))
    seed = f" seed {cell.seed}" if sweep.settings.seeds > 1 else ""
    return (
        f"{cell.size:>9,} lines{seed}: recovery {train:.2f} of training text, {held:.2f} of held-out text, "
        f"in {cell.seconds:.0f} s"
    )


def _warnings(corpus: Corpus, cells: list[SweepCell]) -> tuple[str, ...]:
    told = []
    if corpus.left_out:
        told.append(f"{corpus.left_out:,} lines have no tokens, or a character outside the vocabulary: left out")
    twice = max(cell.duplicates for cell in cells)
    if twice:
        told.append(f"up to {twice:,} lines of a training set occur in it before: kept, as the corpus has them")
    few = min(len(cell.train.entropy) for cell in cells)
    if few < len(cells[0].heldout.entropy):
        told.append(f"the smallest training set has {few:,} texts to measure: those that occur once")
    return tuple(told)
