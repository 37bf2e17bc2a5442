"""`uddm-audit sweep`: the same network trained on more and more text, and what each has stored.

A corpus is shuffled once. Some of its lines are held out of every training set; of the rest a training set of N lines
is the first N, so that each holds the smaller ones. Every model takes the same number of steps, whatever its size.
Held-out texts are the same for all, and corruption is drawn by the text, so that sizes differ by the model alone.
"""

import hashlib
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch

from audit_cli import __version__
from audit_cli.audits.sweep_settings import ALL, SweepError, SweepSettings
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel, load_model
from audit_cli.checkpoints.native_config import TRAINED, NativeConfig
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.checkpoints.whole_files import replace_file
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.diffusion.schedules import SCHEDULES, level_at, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.batching import by_length
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.likelihood import nelbo_of
from audit_cli.probes.samples import generate
from audit_cli.records import (
    BasinMeasurement,
    Candidate,
    EntropyMeasurement,
    LevelMeasurement,
    Row,
    SampleMeasures,
    Skipped,
    SplitMeasures,
    SweepCell,
)
from audit_cli.training import TrainingRows, make_folder, train

MEASURED = ".measured.json"
DAMAGED = "is not what the sweep wrote, or {folder} is not; delete both and they are made anew"
NELBO_ROWS = 64


@dataclass(frozen=True)
class Corpus:
    """Lines as token ids, cut to the model's length: those held out, and the pool, both shuffled. `left_out` lines have
    no tokens, or a character that the tokenizer does not know; `repeated` ones occur more than once."""

    heldout: tuple[tuple[int, ...], ...]
    pool: tuple[tuple[int, ...], ...]
    left_out: int
    repeated: frozenset[tuple[int, ...]]

    @classmethod
    def of(cls, lines: Sequence[str], encode: Callable[[str], tuple[int, ...]], settings: SweepSettings) -> "Corpus":
        """Raises SweepError where there are too few lines.

        A line that occurs more than once, or that begins as another where both are cut, is never held out: its copies
        would be trained on.
        """
        every = [ids[: settings.length] for ids in map(encode, lines)]
        usable = [ids for ids in every if ids]
        rows = [usable[i] for i in np.random.default_rng(settings.seed).permutation(len(usable))]
        count = Counter(rows)
        single = [i for i, ids in enumerate(rows) if count[ids] == 1]
        largest = max((size for size in settings.sizes if size != ALL), default=1)
        if len(rows) < settings.texts + largest:
            raise SweepError(
                f"the corpus has {len(rows):,} usable lines: {settings.texts:,} are held out, and the largest training "
                f"set takes {largest:,}; leave that size out, or hold out fewer (--texts)"
            )
        if len(single) < settings.texts:
            raise SweepError(f"only {len(single):,} lines occur once, and {settings.texts:,} are held out (--texts)")
        held = set(single[: settings.texts])
        pool = tuple(ids for i, ids in enumerate(rows) if i not in held)
        repeated = frozenset(ids for ids, times in count.items() if times > 1)
        return cls(tuple(rows[i] for i in sorted(held)), pool, len(every) - len(rows), repeated)

    def training(self, size: int) -> tuple[tuple[int, ...], ...]:
        """The first `size` lines of the pool."""
        return self.pool if size == ALL else self.pool[:size]

    def measured(self, own: Sequence[tuple[int, ...]], most: int) -> list[tuple[int, ...]]:
        """The first so many texts of a training set that are of the held-out texts' kind: those that occur once in the
        corpus. A line that is often repeated is known better by any model. If there is none, any text, once."""
        once = [ids for ids in own if ids not in self.repeated]
        return (once or list(dict.fromkeys(own)))[:most]


class Sweep:
    """The cells of a sweep, in a folder: a checkpoint each, and beside it what was measured."""

    def __init__(
        self,
        corpus: Corpus,
        tokenizer: TextTokenizer,
        settings: SweepSettings,
        folder: Path,
        device: torch.device,
        watch: Watch,
    ) -> None:
        """Raises ValueError on a network that cannot be, and SweepError where the folder has something else in it."""
        self.corpus, self.tokenizer, self.settings = corpus, tokenizer, settings
        self.folder, self.device, self.watch = folder, device, watch
        backbone = TRAINED[settings.backbone](
            tokenizer.size, settings.length, settings.width, settings.layers, settings.heads
        )
        self.config = NativeConfig(
            backbone_name=settings.backbone,
            backbone=backbone,
            schedule=SCHEDULES[settings.schedule](),
            rows="cut",
            training={},
        )
        self._identity = {place: self.identity(*place) for place in self.places()}
        self._kept = {place: self._read(*place) for place in self.places()}

    def places(self) -> list[tuple[int, int]]:
        """Size and seed of every cell, each once, small ones first."""
        sizes = dict.fromkeys(sorted({len(self.corpus.training(size)) for size in self.settings.sizes}))
        return [(size, seed) for size in sizes for seed in range(self.settings.seeds)]

    def path(self, size: int, seed: int) -> Path:
        """The checkpoint of a cell."""
        return self.folder / (str(size) if self.settings.seeds == 1 else f"{size}-seed{seed}")

    def cells(self) -> Iterator[SweepCell]:
        """Train and measure what is missing; each cell as it is done."""
        for place, kept in self._kept.items():
            yield kept if kept is not None else self._made(*place)

    def missing(self) -> int:
        """How many cells were still to be made when the folder was looked at."""
        return sum(kept is None for kept in self._kept.values())

    def identity(self, size: int, seed: int) -> str:
        """A hash of everything that decides a cell."""
        training = asdict(self.settings.training) | {"seed": seed}
        settings = asdict(self.settings) | {"sizes": size, "seeds": seed, "training": training}
        text = hashlib.sha256(repr((self.corpus.heldout, self.corpus.training(size))).encode()).hexdigest()
        made_of = [settings, text, self.tokenizer.sha256(), __version__]
        return hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()

    def sha256(self) -> str:
        """A hash of everything that decides the sweep."""
        return hashlib.sha256("".join(self._identity.values()).encode()).hexdigest()

    def _read(self, size: int, seed: int) -> SweepCell | None:
        """What was measured of a cell; None of one that is still to be made. Raises SweepError where something else is
        in its place, which is never written over."""
        folder, file = self.path(size, seed), self._file(size, seed)
        try:
            kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
        except FileNotFoundError:
            if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
                raise SweepError(f"{folder}: is there, and no sweep made it; give another folder (-o)") from None
            return None
        except OSError as error:
            raise SweepError(f"{file}: {error.strerror}") from None
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise SweepError(f"{file}: {DAMAGED.format(folder=folder)}") from None
        if kept.identity != self._identity[size, seed]:
            raise SweepError(
                f"{folder}: was made of another corpus, with other settings, or by another version; give another "
                "folder (-o), or delete it"
            )
        if kept.cell is not None and kept.sha256 != _sha256(kept.cell, folder):
            raise SweepError(f"{file}: {DAMAGED.format(folder=folder)}")
        return kept.cell

    def _file(self, size: int, seed: int) -> Path:
        path = self.path(size, seed)
        return path.with_name(path.name + MEASURED)

    def _made(self, size: int, seed: int) -> SweepCell:
        begun = time.monotonic()
        own = self.corpus.training(size)
        folder = self.path(size, seed)
        self._keep(size, seed, None)
        loss = self._trained(folder, own, seed)
        model = load_model(folder, "raw", self.device)
        cell = self._measured(model, own, size, seed, loss)
        cell = replace(cell, seconds=time.monotonic() - begun)
        self._keep(size, seed, cell)
        self.watch.part_done()
        return cell

    def _keep(self, size: int, seed: int, cell: SweepCell | None) -> None:
        made = "" if cell is None else _sha256(cell, self.path(size, seed))
        content = msgspec.json.encode(_Kept(self._identity[size, seed], made, cell))
        replace_file(self._file(size, seed), lambda path: Path(path).write_bytes(content))

    def _trained(self, folder: Path, own: Sequence[tuple[int, ...]], seed: int) -> float:
        """Train the cell's network; its last loss."""
        settings = replace(self.settings.training, seed=seed, save_every=self.settings.training.steps + 1)
        rows = _rows_of(own)
        config = replace(self.config, training={"rows": len(own), "steps": settings.steps, "loss": settings.loss})
        make_folder(folder)
        self.watch.stage(f"training on {len(own):,}", settings.steps)
        loss = float("nan")
        for step in train(config, rows, self.tokenizer, settings, folder, self.device):
            loss = step.loss
            self.watch.advance(1)
        return loss

    def _measured(
        self, model: LoadedModel, own: Sequence[tuple[int, ...]], size: int, seed: int, loss: float
    ) -> SweepCell:
        settings = self.settings
        denoiser = model.denoiser
        times = tuple(time_at_level(denoiser.schedule, level) for level in settings.levels)
        probe = BasinProbe(
            times, settings.deciding, settings.restarts, Ancestral(settings.sampling_steps), settings.seed
        )
        seen = self.corpus.measured(own, settings.texts)
        heldout = list(self.corpus.heldout)
        look = watched(
            denoiser, self.watch, f"measuring {len(own):,}", (len(seen) + len(heldout)) * probe.evaluations()
        )
        train_split, held_split = (
            _split(list(probe.measure(look, _placed(model, texts)))) for texts in (seen, heldout)
        )
        rows = _placed(model, heldout)
        nelbo = self._nelbo(model, rows)
        return SweepCell(
            size=size,
            seed=seed,
            tokens=sum(map(len, own)),
            duplicates=len(own) - len(set(own)),
            parameters=model.info.parameters,
            loss=loss,
            levels=tuple(level_at(denoiser.schedule, t) for t in times),
            train=train_split,
            heldout=held_split,
            samples=self._samples(model, set(own)),
            nelbo=nelbo,
            seconds=0.0,
        )

    def _nelbo(self, model: LoadedModel, rows: list[Row]) -> tuple[float, ...]:
        out = np.full(len(rows), np.nan)
        for indices, tokens, own in by_length(rows, NELBO_ROWS):
            found = nelbo_of(model.denoiser, tokens.to(self.device), own.to(self.device), self.settings.seed)
            for i, values, mine in zip(indices, found, own.cpu(), strict=True):
                out[i] = float(values[mine].mean())
        return tuple(out.tolist())

    def _samples(self, model: LoadedModel, own: set[tuple[int, ...]]) -> SampleMeasures:
        sampler = Ancestral(2 * self.settings.sampling_steps)
        written = list(generate(model.denoiser, self.settings.samples, sampler, self.settings.seed))
        measured = EntropyProbe().measure(model.denoiser, written)
        entropies = tuple(m.entropy_mean for m in measured if isinstance(m, EntropyMeasurement))
        # A line that is shorter than the model ends somewhere in what it writes.
        short = {len(ids) for ids in own}
        copy = tuple(any(row.tokens[:length] in own for length in short) for row in written)
        return SampleMeasures(entropies, copy)


class _Kept(msgspec.Struct, frozen=True):
    """Written without a cell before it is made: the folder is then known to be the sweep's. `sha256` is of the cell and
    of the checkpoint that it was measured of."""

    identity: str
    sha256: str
    cell: SweepCell | None


def _sha256(cell: SweepCell, folder: Path) -> str:
    """A hash of what was measured and of every file of the checkpoint."""
    found = hashlib.sha256(msgspec.json.encode(cell))
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        found.update(path.name.encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()


def _rows_of(texts: Sequence[tuple[int, ...]]) -> TrainingRows:
    lengths = np.array([len(ids) for ids in texts], dtype=np.int32)
    tokens = np.zeros((len(texts), int(lengths.max())), dtype=np.int32)
    for i, ids in enumerate(texts):
        tokens[i, : len(ids)] = ids
    return TrainingRows(tokens, lengths, len(texts), 0, (), lengths)


def _placed(model: LoadedModel, texts: Sequence[tuple[int, ...]]) -> list[Row]:
    rows = [model.place(Candidate(token_ids=ids), ids) for ids in texts]
    return [row for row in rows if row is not None]


def _split(measured: Sequence[BasinMeasurement | Skipped]) -> SplitMeasures:
    """Raises FloatingPointError where a text could not be measured: the network's numbers are none."""
    bad = next((m for m in measured if isinstance(m, Skipped)), None)
    if bad is not None:
        raise FloatingPointError(f"a text could not be measured: {bad.reason}")
    found = [m for m in measured if isinstance(m, BasinMeasurement)]
    levels = range(len(found[0].levels))

    def by_level(value: Callable[[LevelMeasurement], float]) -> tuple[tuple[float, ...], ...]:
        return tuple(tuple(value(m.levels[k]) if m.levels[k].restarts else 0.0 for m in found) for k in levels)

    return SplitMeasures(
        recovery=by_level(lambda at: float(np.mean(at.recovery_rates))),
        unstable=by_level(lambda at: float(np.mean(at.unstable_rates))),
        returned=by_level(lambda at: at.returned / at.restarts),
        exact=by_level(lambda at: at.exact / at.restarts),
        entropy=tuple(m.entropy.entropy_mean for m in found),
        surprise=tuple(m.entropy.surprise_mean for m in found),
    )
