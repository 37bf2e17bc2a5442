"""The audit for programs: a model, the two probes as generators of records, and no files, console or environment."""

import secrets
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, TypeGuard, cast

import torch

from audit_cli.audits import (
    BasinSettings,
    Comparison,
    EntropySettings,
    Journal,
    Slot,
    Watch,
    basins_audit,
    entropy_audit,
    report_basins,
    report_entropy,
)
from audit_cli.audits.law import SAMPLERS
from audit_cli.audits.run import Audit
from audit_cli.audits.stream import Stream
from audit_cli.candidates import GivenTexts, Texts, numbered
from audit_cli.checkpoints import AUTO, LoadedModel, Precision, load_model
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.records import AuditReport, Candidate, Skipped, TextResult
from audit_cli.redaction import Redaction, ShowText

AnyTexts = Iterable[str | Candidate] | Texts
Results = Generator[TextResult, None, None]
Protocol = Literal["default", "paper"]

# Fingerprints of one process can be compared, and nobody else can make them.
_PROCESS_KEY = secrets.token_bytes(32)


def load(
    path: str | Path,
    weights: Literal["raw", "ema"] | None = None,
    device: str | torch.device = "cpu",
    tokenizer: str | Path | None = None,
    dtype: torch.dtype | Literal["float32", "bfloat16", "float16"] | None = None,
    backend: Literal["fused", "chunked"] | None = None,
) -> LoadedModel:
    """The checkpoint at `path` (a folder, a `.ckpt` file, a name on the hub), on a device ("auto": a GPU if there is
    one); of its weights the moving average where there is one. `tokenizer` is a file or folder that takes the place of
    the checkpoint's own; `dtype` the precision of its matrices: float32, of DiffusionGemma that of its files; `backend`
    the kernels: "fused" (Triton, on a GPU), "chunked" (torch), or None for fused ones where they run.

    Raises CheckpointError, which says what was found and what is known, and ValueError on a device that is not there
    and on a backend that does not run on it.
    On a GPU leave TF32 off, as it is by default: rounded products would change which tokens are drawn.
    """
    precision = None if dtype is None else str(dtype).removeprefix("torch.")
    known = ("float32", "bfloat16", "float16")
    _require(precision is None or precision in known, f"dtype is one of {', '.join(known)}, not {precision}")
    _require(weights in (None, "raw", "ema"), f"weights are raw, ema or None, not {weights!r}")
    where: str | torch.device = device
    try:
        if device != AUTO:
            where = torch.device(device)
            torch.ones(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {str(device)!r}: {str(error).splitlines()[0]}") from None
    _require(backend in (None, "fused", "chunked"), f"backend is fused, chunked or None, not {backend!r}")
    kind: Precision = "default" if precision is None else getattr(torch, precision)
    return load_model(path, weights, where, None if tokenizer is None else Path(tokenizer), kind, backend)


def entropy(
    model: LoadedModel,
    texts: AnyTexts,
    heldout: AnyTexts | None = None,
    *,
    twins: int = 0,
    slot: str = "digits",
    reference_model: LoadedModel | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    t: float = T_MIN,
    draws: int = 0,
    context: Literal["all", "prefix"] = "all",
    protocol: Protocol = "default",
    per_token: bool = False,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> Results:
    """How certain the model is of every token of the texts, and how much they surprise it, in nats: a result a text.

    `texts`, what they are compared with, when results come, `key` and errors: see `basins`. The rest is as
    `uddm-audit entropy --help` says: `t` the diffusion time, `draws` the corruptions at that time to average (0: the
    clean text at the smallest time, else one), `context` "prefix" for what a token's own prefix tells of it.
    `per_token` adds every token's numbers, `entropy.per_token`, with ids that `model.tokenizer.piece` spells.
    """
    _require(T_MIN <= t <= 1, f"t is a diffusion time from {T_MIN:g} to 1, not {t}")
    _require(draws >= 0, f"draws must be at least 0, not {draws}")
    _require(context in ("all", "prefix"), f"context is all or prefix, not {context!r}")
    _check_run(protocol, fdr, seed, batch_size)
    settings = EntropySettings(
        t=t,
        # A corruption at a later time is no clean text.
        draws=draws or int(protocol == "paper" or t > T_MIN),
        context=context,
        protocol=protocol,
        seed=seed,
        fdr=fdr,
        per_token=per_token,
        batch_size=batch_size,
    )
    comparison = _comparison(model, heldout, twins, slot, reference_model)
    return _results(entropy_audit, report_entropy, model, _checked(texts), comparison, settings, _redaction(key))


def basins(
    model: LoadedModel,
    texts: AnyTexts,
    heldout: AnyTexts | None = None,
    *,
    twins: int = 0,
    slot: str = "digits",
    reference_model: LoadedModel | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    levels: Sequence[float] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    sampler: Literal["ancestral", "attractor", "one-shot", "posterior-argmax", "entropy-bound"] | None = None,
    protocol: Protocol = "default",
    argmax: bool = False,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> Results:
    """How much of each text can be destroyed before the model no longer restores it: a result a text, in their order.

    `texts` are strings, or candidates, or what `open_texts` gives; also of an iterator, which can be read only once.
    Settings are checked at once; nothing is read or measured before the first result is asked for.

    Without a comparison results come while texts are measured, some at a time, and memory stays flat. Compared with
    `heldout` text, which the model cannot have seen, or with so many `twins` of each text, its `slot` redrawn, a
    result has a `judgement` with p, q and verdict: these need all scores, so the first result comes when everything
    is measured. Measurements wait in an unnamed temporary file. Texts are then read more than once: what `open_texts`
    gives is read again, anything else is kept in memory. `reference_model` (with `heldout`) is a model that has not
    seen the texts. A comparison that can find nothing, or little, is told as a `UserWarning`.

    `levels` (shares of the tokens), `restarts`, `steps`, `sampler` and `protocol` are as `uddm-audit basins --help`
    says, by default those of the model's family; protocol "paper" has its own levels, restarts and steps, and is meant
    for `load(..., weights="raw")`. `argmax` adds the recovery rate of a single argmax to every level.

    `key` is what fingerprints are made with: the bytes of the command line's give the command line's, None those of
    this process alone. A generator that is closed, or forgotten, leaves nothing behind; use it in one thread.

    Raises ValueError on settings that contradict each other or the model, TypeError for texts that are none, and in
    the iteration CandidateError for files that cannot be read or have changed, JournalError where the disk is full,
    MemoryError where a single text is too much.
    """
    paper = protocol == "paper"
    own = (levels, restarts, steps) == (None, None, None)
    _require(own or not paper, 'protocol "paper" has its own levels, restarts and steps')
    shares = BasinSettings.levels if levels is None else tuple(sorted({float(level) for level in levels}))
    _require(bool(shares), "no levels")
    _require(all(0 < level <= 1 for level in shares), "levels are shares of the tokens, above 0 and at most 1")
    _require(restarts is None or restarts > 0, f"restarts must be at least 1, not {restarts}")
    _require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    _require(sampler is None or sampler in SAMPLERS, f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    _check_run(protocol, fdr, seed, batch_size)
    settings = BasinSettings(
        levels=shares,
        restarts=restarts or BasinSettings.restarts,
        steps=steps,
        sampler=sampler or "",
        protocol=protocol,
        seed=seed,
        fdr=fdr,
        argmax=argmax,
        batch_size=batch_size,
    )
    settings.probe(model)
    comparison = _comparison(model, heldout, twins, slot, reference_model)
    return _results(basins_audit, report_basins, model, _checked(texts), comparison, settings, _redaction(key))


def _results(
    build: Callable[[LoadedModel, Any, Comparison, Any, Watch, Journal], Audit[Any]],
    report: Callable[[Audit[Any], Redaction], AuditReport],
    model: LoadedModel,
    texts: AnyTexts,
    comparison: Comparison,
    settings: Any,
    redaction: Redaction,
) -> Results:
    watch = _Warnings()
    with closing(Journal(None, redaction.key)) as journal:
        if comparison.judged:
            audit = build(model, _again(texts), comparison, settings, watch, journal)
            yield from report(audit, redaction).results
        else:
            task = build(model, (), comparison, settings, watch, journal).task
            once = numbered(texts) if _in_memory(texts) else cast(Texts, texts)
            yield from Stream(model, task, journal, redaction, watch).results(once)


class _Warnings(Watch):
    """What a person should know, as Python's own warnings."""

    def warn(self, message: str) -> None:
        """See `Watch`."""
        warnings.warn(message, UserWarning, stacklevel=2)


class _Kept:
    """Texts that can be read only once, kept in memory when they are first read."""

    def __init__(self, texts: Iterable[str | Candidate]) -> None:
        self._texts = texts
        self._kept: GivenTexts | None = None

    def __iter__(self) -> Iterator[Candidate | Skipped]:
        if self._kept is None:
            self._kept = GivenTexts(self._texts)
        return iter(self._kept)


def _again(texts: AnyTexts) -> Iterable[Candidate | Skipped]:
    return _Kept(texts) if _in_memory(texts) else cast(Texts, texts)


def _in_memory(texts: AnyTexts) -> TypeGuard[Iterable[str | Candidate]]:
    """Whether these are no `Texts`, which say so themselves if they change between two passes."""
    return not isinstance(getattr(texts, "names", None), tuple)


def _checked(texts: AnyTexts) -> AnyTexts:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"a list of texts is expected, not a {type(texts).__name__}")
    return texts


def _comparison(
    model: LoadedModel, heldout: AnyTexts | None, twins: int, slot: str, reference: LoadedModel | None
) -> Comparison:
    """What to compare with. Raises ValueError on what is none, or two, or cannot be compared token by token."""
    _require(twins >= 0, f"twins must be at least 0, not {twins}")
    if reference is not None:
        _require(heldout is not None, "reference_model needs heldout text: it shows which difference is ordinary")
        same = reference.info.tokenizer_sha256 == model.info.tokenizer_sha256
        _require(same, "the reference model has another tokenizer than the model")
        one_size = reference.info.vocab_size == model.info.vocab_size
        _require(one_size, "the reference model has a vocabulary of another size than the model")
        _require(reference.info.law == model.info.law, "the reference model predicts another law than the model")
        longest, needed = reference.layout.max_length, model.layout.max_length
        _require(longest >= needed, f"the reference model takes {longest} tokens, and the model {needed}")
    return Comparison(None if heldout is None else _again(_checked(heldout)), twins, Slot(slot), reference)


def _check_run(protocol: str, fdr: float, seed: int, batch_size: int | None) -> None:
    _require(protocol in ("default", "paper"), f"protocol is default or paper, not {protocol!r}")
    _require(0 < fdr < 1, f"fdr is a share between 0 and 1, not {fdr}")
    _require(type(seed) is int, f"seed must be a whole number, not {seed!r}")
    _require(0 <= seed < 1 << 63, f"seed must be from 0 to 2**63 - 1, not {seed}")
    _require(batch_size is None or batch_size > 0, f"batch_size must be at least 1, not {batch_size}")


def _redaction(key: bytes | None) -> Redaction:
    _require(key is None or bool(key), "an empty key protects nothing")
    # Of tokens the ids are enough: who calls has the text, and the model to spell them.
    return Redaction(ShowText.FINGERPRINT, key or _PROCESS_KEY)


def _require(fine: bool, message: str) -> None:
    if not fine:
        raise ValueError(message)
