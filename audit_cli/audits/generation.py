"""`uddm-audit generate`: what a model writes by itself, and how much of it is a copy of a corpus."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from audit_cli.audits.comparison import Texts
from audit_cli.audits.corpus import nearest_in
from audit_cli.audits.law import checked_law, clean_look, entropy_law, sampler_for
from audit_cli.audits.plan import RunsPlan, peak_bytes, seconds_of_runs
from audit_cli.audits.provenance import run_info
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.loaded import ENTROPY_BOUND, Layout
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Sampler
from audit_cli.probes.entropy import EntropyProbe
from audit_cli.probes.samples import generate
from audit_cli.records import EntropyMeasurement, GeneratedText, Generation, Nearest, Origin, Row, Skipped
from audit_cli.redaction import Redaction
from audit_cli.statistics.intervals import wilson
from audit_cli.statistics.nearest import NEAR

# As many as the regime of a model is judged by.
STEPS = 32


@dataclass(frozen=True)
class GenerationSettings:
    """How to write `samples` texts. Without a `sampler` it is the family's own, without a `length` the longest row."""

    samples: int = 20
    steps: int | None = None
    sampler: str = ""
    length: int | None = None
    seed: int = 0
    batch_size: int | None = None

    def dynamics(self, model: LoadedModel) -> Sampler:
        """The dynamics of these settings. Raises ValueError on one that the network does not allow."""
        name = self.sampler or model.sampling.dynamics
        takes_steps = name not in ("attractor", "one-shot", ENTROPY_BOUND)
        return sampler_for(model, name, STEPS if self.steps is None and takes_steps else self.steps)

    def settled(self, model: LoadedModel) -> "GenerationSettings":
        """The same with all that is done by name. Raises ValueError on what the model cannot do."""
        sampler, longest = self.dynamics(model), model.denoiser.max_length
        if self.length is not None and self.length > longest:
            raise ValueError(f"{self.length:,} tokens are more than the {longest:,} that the model takes")
        steps = getattr(sampler, "steps", None)
        return replace(self, sampler=sampler.name, steps=steps, length=self.length or longest)


def generation_plan(model: LoadedModel, settings: GenerationSettings) -> RunsPlan:
    """What `generation` would take but for the search in a corpus, from writing a few texts.

    Raises ValueError on settings that do not fit the model.
    """
    settings = settings.settled(model)
    sampler = settings.dynamics(model)
    each = sampler.evaluations(1.0)

    def write(denoiser: Denoiser, count: int) -> None:
        for _ in generate(denoiser, count, sampler, settings.seed, settings.length, settings.batch_size):
            pass

    return RunsPlan(
        given=settings.samples,
        skipped=0,
        run_evaluations=settings.samples * each,
        entropy_evaluations=settings.samples,
        seconds_an_evaluation=seconds_of_runs(model, settings.samples, each, write),
        peak_bytes=peak_bytes(),
    )


def generation(
    model: LoadedModel,
    settings: GenerationSettings,
    corpus: Texts | None,
    redaction: Redaction,
    watch: Watch | None = None,
) -> Generation:
    """Write, measure, and compare with the texts of a corpus, if there is one.

    Raises ValueError on settings that do not fit the model, CorpusError on a corpus without tokens, FloatingPointError
    where the network's output is not a number.
    """
    begun, watch = time.monotonic(), watch or Watch()
    settings = settings.settled(model)
    sampler = settings.dynamics(model)
    law = checked_law(model, settings.seed)
    denoiser = watched(model.denoiser, watch, "samples", settings.samples * sampler.evaluations(1.0))
    first: dict[tuple[int, ...], Row] = {}
    counts: dict[tuple[int, ...], int] = {}
    for written in generate(denoiser, settings.samples, sampler, settings.seed, settings.length, settings.batch_size):
        row = unpadded(model.layout, model.layout.unframed(written))
        first.setdefault(row.own, row)
        counts[row.own] = counts.get(row.own, 0) + 1
    # A sort keeps the order of equals: the first to come.
    own = sorted(counts, key=lambda tokens: -counts[tokens])
    look = clean_look(model, settings.seed, batch_size=settings.batch_size)
    entropies = measured(model, look, [first[tokens] for tokens in own], watch)
    compared = None
    if corpus is not None:
        watch.stage("nearest texts", 0)
        compared = nearest_in(model, corpus, [whole_part(model.layout, tokens) for tokens in own])
    texts = []
    for i, tokens in enumerate(own):
        text = None if model.tokenizer is None else model.tokenizer.decode(tokens)
        nearest = None if compared is None else compared.nearest[i]
        texts.append(
            GeneratedText(
                rank=i + 1,
                count=counts[tokens],
                samples=settings.samples,
                share=wilson(counts[tokens], settings.samples),
                token_ids=tokens,
                text=text,
                fingerprint=redaction.fingerprint(text, tokens),
                entropy=entropies[i],
                nearest=nearest,
                origin=None if compared is None else origin_of(nearest),
            )
        )
    copied = sum(text.count for text in texts if text.origin is Origin.COPY)
    more: dict[str, object] = {"corpus_sha256": None if compared is None else compared.sha256}
    more |= entropy_law(model, look)
    spent = settings.samples * sampler.evaluations(1.0) + len(own)
    return Generation(
        model=model.info,
        law=law,
        run=run_info("generate", settings, model, more, time.monotonic() - begun, spent),
        texts=tuple(texts),
        samples=settings.samples,
        copies=None if compared is None else wilson(copied, settings.samples),
        corpus=None if compared is None else compared.summary,
    )


def measured(
    model: LoadedModel, look: EntropyProbe, rows: Sequence[Row], watch: Watch
) -> list[EntropyMeasurement | None]:
    """Entropy and surprise of each row; None of one without tokens. Raises FloatingPointError on what is no number."""
    some = [row for row in rows if row.own]
    denoiser = watched(model.denoiser, watch, "entropy", len(some) * max(1, look.draws))
    found = iter(look.measure(denoiser, some))
    out: list[EntropyMeasurement | None] = []
    for row in rows:
        entropy = next(found) if row.own else None
        if isinstance(entropy, Skipped):
            raise FloatingPointError(entropy.reason)
        out.append(entropy)
    return out


def unpadded(layout: Layout, row: Row) -> Row:
    """The row without the pad tokens at the end of its text."""
    stop = row.stop
    while layout.pad_id is not None and stop > row.start and row.tokens[stop - 1] == layout.pad_id:
        stop -= 1
    return replace(row, stop=stop)


def whole_part(layout: Layout, tokens: tuple[int, ...]) -> tuple[int, ...]:
    """What is held against the texts of a corpus: the tokens, and of a packed row, which holds several texts, the
    longest of those that it holds whole, or the longest part where there is none between two separators."""
    if not layout.packed or not layout.before:
        return tokens
    ends = [-1, *(i for i, token in enumerate(tokens) if token == layout.before[0]), len(tokens)]
    parts = [tokens[a + 1 : b] for a, b in pairwise(ends)]
    return max(parts[1:-1] if any(parts[1:-1]) else parts, key=len)


def origin_of(nearest: Nearest | None) -> Origin:
    """What is said of a text whose nearest one is this."""
    if nearest is None or nearest.similarity < NEAR:
        return Origin.NEW
    return Origin.COPY if nearest.copy else Origin.NEAR
