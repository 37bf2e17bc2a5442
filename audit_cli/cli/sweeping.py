"""What `uddm-audit sweep` does, loaded only when it runs."""

import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from audit_cli import __version__
from audit_cli.audits.sweep import Corpus, Sweep
from audit_cli.audits.sweep_report import remarks, sweep_report
from audit_cli.audits.sweep_settings import SweepError, SweepSettings, changes_of
from audit_cli.audits.watch import Watch
from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.cli import session
from audit_cli.cli.running import usable_device
from audit_cli.cli.training_text import training_text, training_tokenizer
from audit_cli.records import RunInfo, SweepReport, SweepVariant
from audit_cli.reports import sweep as sweep_files
from audit_cli.reports import variants as variant_files
from audit_cli.reports.files import WriteError
from audit_cli.reports.sweep import cell_line, check_folder, sweep_lines, write_sweep
from audit_cli.reports.variants import variant_lines, write_variants
from audit_cli.training import TrainingError, TrainingSettings

SWEEP_FILES = (sweep_files.CSV, *sweep_files.FIGURES)
VARIANT_FILES = (variant_files.CSV, *variant_files.FIGURES)
STAYS = "finished models stay in {folder}, and the same command goes on"


@dataclass(frozen=True)
class _Planned:
    """A sweep that is checked and can begin; `change` is what it differs in from the first."""

    change: str
    sweep: Sweep


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
    quiet: bool = asked["quiet"]
    folder: Path = asked["output"]
    watch: Watch
    try:
        with session.show_progress(quiet) as watch:
            try:
                planned = _planned(asked, settings, folder, watch)
            except ValueError as error:
                session.fail(str(error), session.USAGE)
            if missing := sum(one.sweep.missing() for one in planned):
                watch.whole("models", missing)
            for one in planned:
                one.sweep.folder.mkdir(parents=True, exist_ok=True)
            variants = [SweepVariant(one.change, _done(one, watch, quiet)) for one in planned]
        _report(planned, variants, folder)
    except KeyboardInterrupt as stopped:
        session.fail(f"stopped; {STAYS.format(folder=folder)}", session.stop_code(stopped))
    except TrainingError as error:
        session.fail(f"{error}; finished models stay in {folder}", session.UNAUDITABLE)
    except WriteError as error:
        session.fail(f"{error}; {STAYS.format(folder=folder)}", session.UNAUDITABLE)
    except OSError as error:
        where = error.filename or folder
        session.fail(f"{where}: {error.strerror or error}; {STAYS.format(folder=folder)}", session.UNAUDITABLE)


def _report(planned: list[_Planned], variants: list[SweepVariant], folder: Path) -> None:
    """The first sweep as a whole, and a table over all; every one of them has files of its own."""
    console = session.stdout()
    for part in sweep_lines(variants[0].report, console.width):
        console.print(part)
    written = [write_sweep(found.report, one.sweep.folder) for one, found in zip(planned, variants, strict=True)]
    if len(variants) > 1:
        for part in variant_lines(variants, console.width):
            console.print(part)
        written.append(write_variants(variants, folder))
        session.note(f"wrote the same files for each variant, in {len(variants) - 1} folders in {folder}")
    for file in [*written[0], *(written[-1] if len(variants) > 1 else [])]:
        session.note(f"wrote {file}")


def _planned(asked: Mapping[str, Any], settings: SweepSettings, folder: Path, watch: Watch) -> list[_Planned]:
    """The sweep as it is asked for, and one for each variant, none begun. Raises ValueError where one cannot be."""
    device = usable_device(asked["device"])
    texts = [candidate.text or "" for candidate in training_text(asked["text"])]
    normalize = str(asked["normalize"] or ("letters" if asked["preset"] else "none"))
    tokenizer = training_tokenizer(asked["tokenizer"], texts, "cut", normalize)
    corpus = Corpus.of(texts, lambda line: _encoded(tokenizer, line), settings)
    read = [asked["text"], Path(asked["tokenizer"])]
    check_folder(folder, (*SWEEP_FILES, *VARIANT_FILES), read)
    out = [_Planned("", Sweep(corpus, tokenizer, settings, folder, device, watch))]
    for text in asked["vary"] or ():
        changes = changes_of(text)
        varied = settings.varied(changes)
        if varied == settings:
            raise SweepError(f"{text!r} changes nothing")
        if any(one.sweep.settings == varied for one in out):
            continue
        change = ",".join(f"{name.replace('_', '-')}={value}" for name, value in changes.items())
        place = folder / change.replace("=", "-").replace(",", "_")
        check_folder(place, SWEEP_FILES, read)
        out.append(_Planned(change, Sweep(corpus, tokenizer, varied, place, device, watch)))
    return out


def _encoded(tokenizer: TextTokenizer, line: str) -> tuple[int, ...]:
    """The tokens of a line; none of one that the tokenizer cannot represent."""
    try:
        return tokenizer.encode(line)
    except Untokenizable:
        return ()


def _done(planned: _Planned, watch: Watch, quiet: bool) -> SweepReport:
    begun = time.monotonic()
    sweep, settings = planned.sweep, planned.sweep.settings
    total = len(sweep.places())
    if planned.change and not quiet:
        session.note(planned.change)
    if sweep.missing() < total:
        watch.warn(f"going on: {total - sweep.missing()} of {total} models are there")
    cells = []
    for cell in sweep.cells():
        cells.append(cell)
        if not quiet:
            session.note(cell_line(cell, settings.deciding, settings.seeds > 1))
    info = RunInfo("sweep", __version__, asdict(settings), sweep.sha256(), str(sweep.device), "float32", "",
                   time.monotonic() - begun, 0)  # fmt: skip
    return sweep_report(cells, settings.deciding, info, settings.seed, remarks(sweep.corpus, cells))
