"""`uddm-audit track`: one training, checkpoint by checkpoint: when does it know given text better than unseen text?

Every checkpoint is asked about the same rows under the same random numbers, so that rows of the report differ by the
weights alone. One statistic is tested, named before: the surprise of the clean text. Its p at each look is held against
its part of the allowed error, so that looking often makes no finding out of nothing.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from jaxtyping import Float

from audit_cli.audits.comparison import Texts
from audit_cli.audits.generation import STEPS, measured
from audit_cli.audits.law import checked_law, clean_look, entropy_law, law_for_verdicts, restoring, sampler_for
from audit_cli.audits.provenance import run_info
from audit_cli.audits.track_texts import TrackError, TrackTexts
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.loaded import ENTROPY_BOUND
from audit_cli.diffusion.schedules import level_at, time_at_level
from audit_cli.probes.basins import BasinProbe
from audit_cli.probes.samples import generate
from audit_cli.records import (
    BasinMeasurement,
    LawCheck,
    ModelInfo,
    Row,
    RunInfo,
    Skipped,
    TrackReport,
    TrackRow,
)
from audit_cli.statistics.intervals import bootstrap_mean
from audit_cli.statistics.looks import Sample, allowed, gap, smaller_p
from audit_cli.verdicts.returns import DECIDING_LEVEL

UNLIKE = "the texts are unlike the held-out text"
COPIES = "the network copies its input, so that surprise says nothing"
# What checkpoints of one training have in common, in words with one's and the other's.
COMMON = (
    ("family", "are of the families {} and {}"),
    ("backbone", "have the backbones {} and {}"),
    ("vocab_size", "have vocabularies of {:,} and {:,} tokens"),
    ("max_length", "take {:,} and {:,} tokens"),
    ("parameters", "have {:,} and {:,} parameters"),
    ("tokenizer_sha256", "have different tokenizers"),
    ("schedule", "have the schedules {} and {}"),
    ("law", "predict the laws {} and {}"),
    ("rows", "were trained on rows of the kinds {} and {}"),
    ("weights", "have {} and {} weights, and --weights raw may take the same kind of both"),
    ("precision", "are held in {} and {}"),
)


@dataclass(frozen=True)
class TrackSettings:
    """How to look: at `samples` texts of the model's own, and at most so many `texts` of each kind, each restored from
    `restarts` corruptions. `looks` is how many are planned, None where nobody knows; `alpha` the chance of any false
    finding over all of them."""

    samples: int = 64
    texts: int = 512
    restarts: int = 4
    alpha: float = 0.05
    looks: int | None = None
    seed: int = 0
    batch_size: int | None = None


@dataclass(frozen=True)
class _Seen:
    """What was measured of some texts, a value a text."""

    entropy: Float[np.ndarray, " texts"]
    surprise: Float[np.ndarray, " texts"]
    recovery: Float[np.ndarray, " texts"]
    evaluations: int


@dataclass(frozen=True)
class _First:
    """What is known of the first checkpoint that was looked at: its name, itself, how it was, the corruption level."""

    name: str
    info: ModelInfo
    run: RunInfo
    level: float


class Track:
    """The looks at one training, in the order in which they are taken; `rows` are those so far.

    Texts are read by the first checkpoint's tokenizer. A `reference` model, which has not seen them, is asked once.
    """

    def __init__(
        self,
        texts: Texts,
        heldout: Texts,
        settings: TrackSettings,
        reference: Callable[[LoadedModel], LoadedModel | None] | None = None,
        watch: Watch | None = None,
    ) -> None:
        """`reference` gives the reference model once the first checkpoint is there."""
        self.settings, self.watch = settings, watch or Watch()
        self.rows: list[TrackRow] = []
        self._given, self._reference = (texts, heldout), reference
        self._reference_info: ModelInfo | None = None
        self._texts: TrackTexts | None = None
        self._harder: tuple[Float[np.ndarray, " texts"], Float[np.ndarray, " heldout"]] | None = None
        self._first: _First | None = None
        self._begun = time.monotonic()

    @property
    def looks(self) -> int:
        """How many looks were taken."""
        return sum(row.look > 0 for row in self.rows)

    def check(self, model: LoadedModel, name: str) -> None:
        """Raise TrackError, which names both, unless the model is of the training of those before it."""
        if self._first is not None:
            check_same(self._first.info, self._first.name, model.info, name)

    def look(self, model: LoadedModel, name: str) -> TrackRow:
        """The next row: what this checkpoint knows. One that is no number has a reason in it, and is no look.

        Raises TrackError on a model of another training, where nothing can be compared, and on a look too many.
        """
        begun = time.monotonic()
        self.check(model, name)
        if self.settings.looks is not None and self.looks >= self.settings.looks:
            raise TrackError(f"{name}: only {self.settings.looks:,} looks were planned, and all are taken")
        texts = self._prepared(model, name)
        try:
            row = self._measured(model, name, texts)
        except FloatingPointError as error:
            return self.missed(name, str(error), time.monotonic() - begun)
        row = replace(row, look=self.looks + 1, seconds=time.monotonic() - begun)
        if row.p_value is not None:
            row = replace(row, bound=allowed(self.settings.alpha, row.look, self.settings.looks))
        self.rows.append(row)
        return row

    def missed(self, name: str, reason: str, seconds: float = 0.0) -> TrackRow:
        """A row of a checkpoint that cannot be measured; the looks count without it."""
        row = TrackRow(name, reason=reason, seconds=seconds)
        self.rows.append(row)
        return row

    def seen(self, model: LoadedModel) -> TrackRow | None:
        """The row of a checkpoint with the same weights."""
        return next((row for row in self.rows if row.look and row.weights_sha256 == model.info.weights_sha256), None)

    def report(self) -> TrackReport:
        """All rows so far. Raises TrackError before any checkpoint was looked at."""
        texts, first = self._texts, self._first
        if texts is None or first is None:
            raise TrackError("no checkpoint was measured")
        run = replace(
            first.run, seconds=time.monotonic() - self._begun, evaluations=sum(row.evaluations for row in self.rows)
        )
        return TrackReport(
            model=first.info,
            run=run,
            rows=tuple(self.rows),
            alpha=self.settings.alpha,
            planned=self.settings.looks,
            texts=len(texts.text),
            heldout=len(texts.held),
            level=first.level,
            fairness=texts.fairness,
            reference_model=self._reference_info,
            warnings=texts.warnings,
        )

    def _prepared(self, model: LoadedModel, name: str) -> TrackTexts:
        """The texts, read when the first checkpoint is there."""
        if self._texts is None or self._first is None:
            self.watch.stage("reading", 0)
            texts = TrackTexts.read(model, *self._given, self.settings.texts, self._reference is not None)
            for warning in texts.warnings:
                self.watch.warn(warning)
            other = self._asked(model, texts)
            more: dict[str, object] = {
                "heldout_sha256": texts.sha256(),
                "reference_model_sha256": None if other is None else other.weights_sha256,
            }
            more |= entropy_law(model, clean_look(model, self.settings.seed))
            level = level_at(model.denoiser.schedule, _time(model))
            run = run_info("track", self.settings, model, more, 0.0, 0)
            self._texts, self._first = texts, _First(name, model.info, run, level)
        return self._texts

    def _asked(self, model: LoadedModel, texts: TrackTexts) -> ModelInfo | None:
        """Ask the reference model, where there is one, and let it go: checkpoints need the memory."""
        other = None if self._reference is None else self._reference(model)
        if other is None:
            return None
        try:
            self._harder = (_under(other, texts.text, self.settings, self.watch),
                            _under(other, texts.held, self.settings, self.watch))  # fmt: skip
        except FloatingPointError as error:
            raise TrackError(f"{other.info.name}: the reference model: {error}") from None
        self._reference_info = other.info
        return other.info

    def _measured(self, model: LoadedModel, name: str, texts: TrackTexts) -> TrackRow:
        settings, seed = self.settings, self.settings.seed
        look = clean_look(model, seed, batch_size=settings.batch_size)
        probe = BasinProbe(
            (_time(model),), 0, settings.restarts, restoring(model, "", None), seed, entropy=look,
            batch_size=settings.batch_size,
        )  # fmt: skip
        expected = (len(texts.text) + len(texts.held)) * probe.evaluations()
        denoiser = watched(model.denoiser, self.watch, PurePath(name).name, expected)
        own, held = (_seen(list(probe.measure(denoiser, rows))) for rows in (texts.text, texts.held))
        law = law_for_verdicts(model, checked_law(model, seed, texts.law_rows))
        entropies, spent = self._samples(model)
        harder = (0.0, 0.0) if self._harder is None else self._harder
        excess = _sample(texts, own.surprise - harder[0], held.surprise - harder[1])
        known = gap(_sample(texts, own.surprise, held.surprise), seed)
        entropy = gap(_sample(texts, own.entropy, held.entropy), seed)
        # Higher is better known: with its sign turned the gap has the direction of the others.
        recovery = gap(_sample(texts, -own.recovery, -held.recovery), seed)
        untested = UNLIKE if texts.unlike else COPIES if law is LawCheck.CONTRADICTED else ""
        return TrackRow(
            name=name,
            untested=untested,
            weights_sha256=model.info.weights_sha256,
            entropy=bootstrap_mean(entropies, seed) if len(entropies) else None,
            entropy_text=entropy.text,
            entropy_heldout=entropy.held,
            surprise_text=known.text,
            surprise_heldout=known.held,
            gap=gap(excess, seed).difference,
            recovery_text=0.0 - recovery.text,
            recovery_heldout=0.0 - recovery.held,
            recovery_gap=recovery.difference,
            p_value=None if untested else smaller_p(excess),
            evaluations=own.evaluations + held.evaluations + spent,
        )

    def _samples(self, model: LoadedModel) -> tuple[Float[np.ndarray, " samples"], int]:
        """The mean entropy of each text that the model writes by itself, and the evaluations that took."""
        settings = self.settings
        own_loop = model.sampling.dynamics == ENTROPY_BOUND
        sampler = sampler_for(model, "", None if own_loop else STEPS)
        spent = settings.samples * sampler.evaluations(1.0)
        denoiser = watched(model.denoiser, self.watch, "samples", spent)
        written = generate(denoiser, settings.samples, sampler, settings.seed, batch_size=settings.batch_size)
        look = clean_look(model, settings.seed, batch_size=settings.batch_size)
        found = measured(model, look, [model.layout.unframed(row) for row in written], self.watch)
        return np.array([m.entropy_mean for m in found if m is not None]), spent + settings.samples


def check_same(first: ModelInfo, first_name: str, other: ModelInfo, name: str) -> None:
    """Raise TrackError, which names both and what differs, unless both may be checkpoints of one training."""
    differences = [
        said.format(getattr(first, field), getattr(other, field))
        for field, said in COMMON
        if getattr(first, field) != getattr(other, field)
    ]
    if differences:
        raise TrackError(f"{first_name} and {name} are no checkpoints of one training: they {', '.join(differences)}")


def _time(model: LoadedModel) -> float:
    """The time at which texts are corrupted."""
    return time_at_level(model.denoiser.schedule, DECIDING_LEVEL)


def _seen(found: Sequence[BasinMeasurement | Skipped]) -> _Seen:
    """Raises FloatingPointError where a text could not be measured: the network's numbers are none."""
    bad = next((m for m in found if isinstance(m, Skipped)), None)
    if bad is not None:
        raise FloatingPointError(bad.reason)
    each = [m for m in found if isinstance(m, BasinMeasurement)]
    return _Seen(
        np.array([m.entropy.entropy_mean for m in each]),
        np.array([m.entropy.surprise_mean for m in each]),
        # Nothing was destroyed of a text that is too short for it: nothing came back either.
        np.array([np.mean(m.deciding.recovery_rates) if m.deciding.restarts else 0.0 for m in each]),
        sum(m.evaluations for m in each),
    )


def _under(
    reference: LoadedModel, rows: Sequence[Row], settings: TrackSettings, watch: Watch
) -> Float[np.ndarray, " texts"]:
    """The mean surprise of each text under the reference model. Raises FloatingPointError on what is no number."""
    own = [reference.place(row.candidate, row.own, row.offset) or row for row in rows]
    found = measured(reference, clean_look(reference, settings.seed, batch_size=settings.batch_size), own, watch)
    return np.array([m.surprise_mean for m in found if m is not None])


def _sample(texts: TrackTexts, own: Float[np.ndarray, " texts"], held: Float[np.ndarray, " heldout"]) -> Sample:
    return Sample(own, texts.text_group, held, texts.held_group)
