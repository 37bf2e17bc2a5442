"""The model's memory for programs: what it writes by itself, what a cue brings back, and which texts are attractors."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import replace

from audit_cli.api.parts import AnyTexts, AsWarnings, Dynamics, check_run, checked, read_again, redaction_of, require
from audit_cli.audits import (
    AttractorSettings,
    GenerationSettings,
    Journal,
    RetrievalSettings,
    generation,
    measure_attractors,
    retrieval,
)
from audit_cli.audits.law import SAMPLERS
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import AttractorReport, Candidate, GeneratedText, RetrievedText, Skipped


def generate(
    model: LoadedModel,
    n: int = 20,
    *,
    nearest: AnyTexts | None = None,
    steps: int | None = None,
    sampler: Dynamics | None = None,
    length: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> list[GeneratedText]:
    """The distinct ones of `n` texts that the model writes by itself, the most frequent first.

    Each is a row of `length` tokens (the longest by default) from pure noise, without what surrounds the text in it.
    With `nearest` texts each has the one that is most similar, and an `origin`; of texts longer than the model their
    windows are compared. `steps` (32) and `sampler` are those of `uddm-audit generate --help`, `key` as in `basins`.

    Raises ValueError on settings that do not fit the model, CorpusError if none of the `nearest` texts has tokens.
    """
    require(n > 0, f"n must be at least 1, not {n}")
    require(length is None or length > 0, f"length must be at least 1, not {length}")
    _check(steps, sampler, seed, batch_size)
    settings = GenerationSettings(n, steps, sampler or "", length, seed, batch_size)
    return list(generation(model, settings, _corpus(nearest), redaction_of(key), AsWarnings()).texts)


def retrieve(
    model: LoadedModel,
    cue: str | Candidate,
    *,
    corpus: AnyTexts | None = None,
    freeze: bool = False,
    level: float | None = None,
    restarts: int = 64,
    steps: int | None = None,
    sampler: Dynamics | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> list[RetrievedText]:
    """The attractors that a cue falls into from so many `restarts`, the most frequent first.

    In a cue `_` is an unknown position: of a tokenizer whose tokens are characters one character, else one token, and
    what stands between is tokenized by itself. Unknown positions start as noise. Known ones are free too, unless
    `freeze` keeps them; `level` corrupts them until so much of the cue is noise. With a `corpus` each attractor has
    the nearest of its texts, and a `storage`. The rest is as in `generate` and `basins`.

    Raises ValueError on a cue by which nothing can be retrieved and on settings that do not fit the model,
    UnauditableModel on a network of the posterior law, CorpusError if no text of the corpus has tokens.
    """
    require(restarts > 0, f"restarts must be at least 1, not {restarts}")
    require(level is None or 0 < level < 1, f"level is a share between 0 and 1, not {level}")
    _check(steps, sampler, seed, batch_size)
    if not isinstance(cue, str | Candidate):
        raise TypeError(f"a cue is a text, not a {type(cue).__name__}")
    asked = cue if isinstance(cue, Candidate) else Candidate("cue", 1, "cue:1", cue)
    settings = RetrievalSettings(restarts, steps, sampler or "", freeze, level, seed, batch_size)
    result, *_ = retrieval(model, [asked], settings, _corpus(corpus), redaction_of(key), AsWarnings()).cues
    require(not result.reason, result.reason)
    return list(result.attractors)


def attractors(
    model: LoadedModel,
    texts: AnyTexts,
    *,
    heldout: AnyTexts | None = None,
    restarts: int = 16,
    seed: int = 0,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> AttractorReport:
    """Whether each text is an attractor of the model, and how deep it lies: `results` is a tuple, a result a text.

    `given` has the texts together, and `heldout` the held-out ones, which are measured alike. From so many `restarts`
    draws it is told whether a text survives a number of flips. `key` is as in `basins`.

    Raises ValueError on settings that do not fit, UnauditableModel on a network of the posterior law.
    """
    require(restarts > 0, f"restarts must be at least 1, not {restarts}")
    check_run("default", 0.05, seed, batch_size)
    redaction, settings = redaction_of(key), AttractorSettings(restarts, seed, batch_size)
    given, held = read_again(checked(texts)), None if heldout is None else read_again(checked(heldout))
    with closing(Journal(None, redaction.key)) as journal:
        found = measure_attractors(model, given, held, settings, redaction, AsWarnings(), journal)
        # Read while the journal is open.
        return replace(found, results=tuple(found.results))


def _corpus(texts: AnyTexts | None) -> Iterable[Candidate | Skipped] | None:
    return None if texts is None else read_again(checked(texts))


def _check(steps: int | None, sampler: str | None, seed: int, batch_size: int | None) -> None:
    require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    require(sampler is None or sampler in SAMPLERS, f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    check_run("default", 0.05, seed, batch_size)
