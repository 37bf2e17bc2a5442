"""`uddm-audit retrieve`: which attractors does a cue fall into, and are they texts of a corpus?"""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from audit_cli.audits.comparison import Texts
from audit_cli.audits.corpus import nearest_in
from audit_cli.audits.cues import Cue, cue_of
from audit_cli.audits.generation import measured
from audit_cli.audits.law import NO_ATTRACTORS, checked_law, clean_look, entropy_law, restoring
from audit_cli.audits.plan import RunsPlan, peak_bytes, seconds_of_runs
from audit_cli.audits.provenance import run_info
from audit_cli.audits.watch import Watch, watched
from audit_cli.checkpoints import LoadedModel, UnauditableModel
from audit_cli.diffusion.denoiser import Denoiser, Law
from audit_cli.probes.retrieval import RetrievalProbe
from audit_cli.records import Candidate, CueResult, Nearest, Retrieval, RetrievedText, Skipped, Storage
from audit_cli.redaction import Redaction
from audit_cli.statistics.intervals import wilson
from audit_cli.statistics.nearest import NEAR


@dataclass(frozen=True)
class RetrievalSettings:
    """How to run cues; see `RetrievalProbe`. Without a `sampler` it is the family's own, settled into a fixed point."""

    restarts: int = 64
    steps: int | None = None
    sampler: str = ""
    freeze: bool = False
    level: float | None = None
    seed: int = 0
    batch_size: int | None = None

    def probe(self, model: LoadedModel) -> RetrievalProbe:
        """The probe of these settings.

        Raises UnauditableModel on a network without attractors, ValueError on a dynamics that it does not allow and on
        a level where the known positions are kept.
        """
        if model.denoiser.law is Law.POSTERIOR:
            raise UnauditableModel(f"{NO_ATTRACTORS}: it has no attractors to run a cue to")
        if self.freeze and self.level is not None:
            raise ValueError("a level corrupts known positions, and freeze keeps them: leave one of both out")
        return RetrievalProbe(
            restarts=self.restarts,
            sampler=restoring(model, self.sampler, self.steps),
            freeze=self.freeze,
            level=self.level,
            seed=self.seed,
            batch_size=self.batch_size,
        )

    def settled(self, model: LoadedModel) -> "RetrievalSettings":
        """The same with all that is done by name."""
        sampler = self.probe(model).sampler
        return replace(self, sampler=sampler.name, steps=getattr(sampler, "steps", None))


def retrieval_plan(
    model: LoadedModel, cues: Iterable[Candidate | Skipped], settings: RetrievalSettings
) -> tuple[RunsPlan, tuple[str, ...]]:
    """What `retrieval` would take but for the search in a corpus, from running the first cue a few times; and why cues
    cannot be run, in their order. Raises as `RetrievalSettings.probe`."""
    probe = settings.probe(model)
    asked = [cue for _, cue in _asked(model, cues, settings.settled(model))]
    useful = [cue for cue in asked if isinstance(cue, Cue)]
    seconds = 0.0
    if useful:
        first = useful[0]

        def run(denoiser: Denoiser, count: int) -> None:
            replace(probe, restarts=count).measure(denoiser, first.row, first.unknown)

        # Of each end it is asked whether it is a fixed point.
        seconds = seconds_of_runs(model, settings.restarts, _evaluations(probe, first) + 1, run)
    ends = settings.restarts * len(useful)
    plan = RunsPlan(
        given=len(asked),
        skipped=len(asked) - len(useful),
        run_evaluations=settings.restarts * sum(_evaluations(probe, cue) for cue in useful) + ends,
        entropy_evaluations=ends,
        seconds_an_evaluation=seconds,
        peak_bytes=peak_bytes(),
    )
    return plan, tuple(cue.reason for cue in asked if isinstance(cue, Skipped))


def _evaluations(probe: RetrievalProbe, cue: Cue) -> int:
    """At most how many network evaluations a restart of a cue takes."""
    return probe.sampler.evaluations(1.0 if probe.freeze else probe.level_of(cue.row, cue.unknown))


def retrieval(
    model: LoadedModel,
    cues: Iterable[Candidate | Skipped],
    settings: RetrievalSettings,
    corpus: Texts | None,
    redaction: Redaction,
    watch: Watch | None = None,
) -> Retrieval:
    """Run every cue, measure where it ends, and look for that in a corpus, if there is one.

    A cue by which nothing can be retrieved has a reason in place of attractors. Raises as `RetrievalSettings.probe`,
    CorpusError on a corpus without tokens, FloatingPointError where the network's output is not a number.
    """
    begun, watch = time.monotonic(), watch or Watch()
    probe = settings.probe(model)
    settings = settings.settled(model)
    asked = list(_asked(model, cues, settings))
    useful = [cue for _, cue in asked if isinstance(cue, Cue)]
    law = checked_law(model, settings.seed)
    expected = settings.restarts * sum(_evaluations(probe, cue) for cue in useful)
    denoiser = watched(model.denoiser, watch, "cues", expected)
    runs = [probe.measure(denoiser, cue.row, cue.unknown) for cue in useful]
    endings = [ending for ends, _ in runs for ending in ends]
    look = clean_look(model, settings.seed, batch_size=settings.batch_size)
    entropies = iter(measured(model, look, [ending.row for ending in endings], watch))
    compared = None
    if corpus is not None and endings:
        watch.stage("corpus", 0)
        compared = nearest_in(model, corpus, [ending.row.own for ending in endings])
    nearest = iter([None] * len(endings) if compared is None else compared.nearest)
    results, ran = [], iter(runs)
    for candidate, cue in asked:
        fingerprint = redaction.fingerprint(candidate.text, candidate.token_ids)
        if isinstance(cue, Skipped):
            results.append(CueResult(candidate, fingerprint, reason=cue.reason))
            continue
        ends, _ = next(ran)
        found = []
        for rank, ending in enumerate(ends, start=1):
            text = model.tokenizer.decode(ending.row.own) if model.tokenizer else None
            near, entropy = next(nearest), next(entropies)
            assert entropy is not None  # noqa: S101 - a cue without tokens is no cue
            found.append(
                RetrievedText(
                    cue=candidate,
                    rank=rank,
                    count=ending.count,
                    restarts=settings.restarts,
                    share=wilson(ending.count, settings.restarts),
                    token_ids=ending.row.own,
                    text=text,
                    fingerprint=redaction.fingerprint(text, ending.row.own),
                    fixed_point=ending.fixed_point,
                    entropy=entropy,
                    nearest=near,
                    storage=None if compared is None else storage_of(near),
                )
            )
        level = probe.level_of(cue.row, cue.unknown)
        results.append(CueResult(candidate, fingerprint, len(cue.row.own), len(cue.unknown), level, tuple(found)))
    more: dict[str, object] = {"corpus_sha256": None if compared is None else compared.sha256}
    more |= entropy_law(model, look)
    spent = sum(evaluations for _, evaluations in runs) + len(endings)
    return Retrieval(
        model=model.info,
        law=law,
        run=run_info("retrieve", settings, model, more, time.monotonic() - begun, spent),
        cues=tuple(results),
        corpus=None if compared is None else compared.summary,
    )


def storage_of(nearest: Nearest | None) -> Storage:
    """What is said of an attractor whose nearest text is this: only the text itself is stored."""
    if nearest is None or nearest.similarity < NEAR:
        return Storage.UNSEEN
    return Storage.STORED if nearest.similarity == 1 else Storage.NEAR


def _asked(
    model: LoadedModel, cues: Iterable[Candidate | Skipped], settings: RetrievalSettings
) -> Iterator[tuple[Candidate, Cue | Skipped]]:
    for given in cues:
        if isinstance(given, Skipped):
            yield given.candidate, given
        else:
            yield given, cue_of(model, given, settings.freeze, settings.level)
