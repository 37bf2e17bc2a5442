"""What `uddm-audit train` does, loaded only when it runs."""

import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from audit_cli.checkpoints.native_config import TRAINED, NativeConfig
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.cli import session
from audit_cli.cli.running import usable_device
from audit_cli.cli.training_text import training_text, training_tokenizer
from audit_cli.diffusion.schedules import SCHEDULES
from audit_cli.records import Candidate
from audit_cli.redaction import Redaction, ShowText
from audit_cli.training import (
    TrainingError,
    TrainingRows,
    TrainingSettings,
    check_folder,
    check_manifest,
    make_folder,
    make_rows,
    manifest_path,
    train,
    write_manifest,
)

Advance = Callable[[int, float], None]
# Of an order's fields those that decide nothing about the weights, or that only say where things are.
UNDECISIVE = frozenset({"text", "folder", "resume", "overwrite", "manifest", "device", "quiet", "save_every"})


@dataclass(frozen=True)
class TrainingOrder:
    """The options of the command."""

    text: Path
    folder: Path
    tokenizer: str
    normalize: str
    length: int
    rows: str
    skip: int
    limit: int | None
    backbone: str
    width: int
    layers: int
    heads: int
    schedule: str
    steps: int
    batch_size: int
    learning_rate: float
    clip: float
    loss: str
    ema: float | None
    seed: int
    save_every: int
    resume: bool
    overwrite: bool
    manifest: bool
    device: str
    quiet: bool


def run(order: TrainingOrder) -> None:
    """Train, and say what became of the text and of the weights."""
    check_folder(order.folder, order.resume, order.overwrite)
    if order.manifest:
        check_manifest(manifest_path(order.folder), replace=order.resume or order.overwrite)
    device = usable_device(order.device)
    try:
        tokenizer, texts, rows = _data(order)
        backbone = TRAINED[order.backbone](tokenizer.size, order.length, order.width, order.layers, order.heads)
    except ValueError as error:
        session.fail(str(error), session.USAGE)
    config = NativeConfig(
        backbone_name=order.backbone,
        backbone=backbone,
        schedule=SCHEDULES[order.schedule](),
        rows=order.rows,
        training={"rows": len(rows.tokens), "steps": order.steps, "loss": order.loss, "seed": order.seed},
    )
    settings = TrainingSettings(
        steps=order.steps,
        batch_size=order.batch_size,
        learning_rate=order.learning_rate,
        clip=order.clip,
        loss=order.loss,
        ema=order.ema,
        seed=order.seed,
        save_every=order.save_every,
    )
    session.note(
        f"{rows.lines:,} lines, {len(rows.tokens):,} rows of up to {order.length} tokens, V {tokenizer.size:,}"
        + (f"; {rows.shortened:,} lines lost their end" if rows.shortened else "")
        + (f"; {len(rows.skipped):,} lines left out" if rows.skipped else "")
    )
    for number, reason in rows.skipped[:5]:
        session.note(f"  line {number}: {reason}")
    make_folder(order.folder)
    begun, last = time.monotonic(), None
    # An interruption waits for the end of its step, so that the state that is saved is whole, and for the manifest.
    with _stops() as asked:
        with _bar(order) as advance:
            steps = train(config, rows, tokenizer, settings, order.folder, device, order.resume)
            for last in steps:
                advance(last.step, last.loss)
                if asked and last.step < order.steps:
                    steps.close()
                    break
        if asked and last is not None and last.step < order.steps:
            _manifest(order, last.step, texts, rows)
            session.fail(
                f"interrupted and saved at step {last.step:,}; the same command with --resume goes on",
                session.stop_code(asked[0]),
            )
        loss = f", loss {last.loss:.3f}" if last else ""
        session.note(f"wrote {order.folder}: {order.steps:,} steps in {time.monotonic() - begun:.0f} s{loss}")
        _manifest(order, order.steps, texts, rows)
    session.note(f"next: uddm-audit entropy {order.folder}")


@contextmanager
def _stops() -> Iterator[list[KeyboardInterrupt]]:
    """Ctrl-C and SIGTERM end nothing while this is open; those that came are in the list."""
    asked: list[KeyboardInterrupt] = []
    before: dict[signal.Signals, Any] = {}
    kinds = {signal.SIGINT: KeyboardInterrupt, signal.SIGTERM: session.Terminated}
    try:
        for number, kind in kinds.items():
            # Only a program's main thread may; a test, or a service, may call from another.
            with suppress(ValueError):
                before[number] = signal.signal(number, lambda *_, kind=kind: asked.append(kind()))
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _manifest(order: TrainingOrder, step: int, texts: Sequence[Candidate], rows: TrainingRows) -> None:
    """Write the manifest of the checkpoint that was saved at a step, unless it is not wanted."""
    if not order.manifest:
        with suppress(TrainingError):
            if (old := manifest_path(order.folder)).exists():
                session.note(f"{old} is of an earlier checkpoint")
        return
    path = manifest_path(order.folder)
    kinds = ["raw"] if order.ema is None else ["raw", "ema"]
    settings = {name: value for name, value in asdict(order).items() if name not in UNDECISIVE}
    made = {"steps_done": step, "settings": settings}
    redaction = Redaction(ShowText.FINGERPRINT, session.fingerprint_key())
    distinct = write_manifest(path, order.folder, kinds, texts, rows, made, redaction)
    session.note(f"wrote {path}: {distinct:,} distinct texts, as fingerprints")


def _data(order: TrainingOrder) -> tuple[TextTokenizer, list[Candidate], TrainingRows]:
    """The tokenizer, the texts that are trained on, and their rows. Raises ValueError on text that cannot be."""
    read = training_text(order.text, order.skip)
    texts = [candidate.text or "" for candidate in read]
    tokenizer = training_tokenizer(order.tokenizer, texts, order.rows, order.normalize)
    chosen = read[: order.limit]
    return tokenizer, chosen, make_rows(texts[: order.limit], tokenizer, order.length, order.rows)


@contextmanager
def _bar(order: TrainingOrder) -> Iterator[Advance]:
    if order.quiet or not sys.stderr.isatty():
        yield _log_line(order)
        return
    columns = (TextColumn("training"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.3f}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("left"))
    with Progress(*columns, *times, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("training", total=order.steps, loss=float("nan"))
        yield lambda step, loss: progress.update(task, completed=step, loss=loss)


def _log_line(order: TrainingOrder) -> Advance:
    """Without a terminal, a line every tenth of the run."""
    every = max(1, order.steps // 10)

    def advance(step: int, loss: float) -> None:
        if step % every == 0 and not order.quiet:
            session.note(f"step {step:,} of {order.steps:,}, loss {loss:.3f}")

    return advance
