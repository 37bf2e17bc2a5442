"""What the functions of the API have in common: types, checks, settings."""

import secrets
import sys
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, TypeGuard, cast

from audit_cli.audits import (
    BasinSettings,
    Comparison,
    EntropySettings,
    Journal,
    Slot,
    Watch,
)
from audit_cli.audits.law import SAMPLERS
from audit_cli.audits.run import Audit
from audit_cli.audits.stream import Stream
from audit_cli.candidates import GivenTexts, Texts, numbered
from audit_cli.checkpoints import LoadedModel
from audit_cli.diffusion.corruption import Pattern
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.records import AuditReport, Candidate, Skipped, TextResult
from audit_cli.redaction import Redaction, ShowText
from audit_cli.verdicts.calibration import Calibration, read
from audit_cli.verdicts.recipes import Recipe, named

AnyTexts = Iterable[str | Candidate] | Texts
AnyCalibration = Calibration | str | Path
Results = Generator[TextResult, None, None]
Protocol = Literal["default", "paper"]
Dynamics = Literal["ancestral", "attractor", "ancestral+attractor", "one-shot", "posterior-argmax", "entropy-bound"]

# Fingerprints of one process can be compared, and nobody else can make them.
_PROCESS_KEY = secrets.token_bytes(32)


def results_of(
    build: Callable[[LoadedModel, Any, Comparison, Any, Watch, Journal], Audit[Any]],
    report: Callable[[Audit[Any], Redaction], AuditReport],
    model: LoadedModel,
    texts: AnyTexts,
    comparison: Comparison,
    settings: Any,
    redaction: Redaction,
) -> Results:
    watch = AsWarnings()
    with closing(Journal(None, redaction.key)) as journal:
        if comparison.judged:
            audit = build(model, read_again(texts), comparison, settings, watch, journal)
            yield from report(audit, redaction).results
        else:
            task = build(model, (), comparison, settings, watch, journal).task
            once = numbered(texts) if in_memory(texts) else cast(Texts, texts)
            yield from Stream(model, task, journal, redaction, watch).results(once)


class AsWarnings(Watch):
    """What a person should know, as Python's own warnings."""

    def warn(self, message: str) -> None:
        """See `Watch`."""
        frame, level = sys._getframe(1), 2
        while frame.f_back is not None and str(frame.f_globals.get("__name__")).startswith("audit_cli."):
            frame, level = frame.f_back, level + 1
        # The line that is shown is the caller's, not one of ours.
        warnings.warn(message, UserWarning, stacklevel=level)


class Kept:
    """Texts that can be read only once, kept in memory when they are first read."""

    def __init__(self, texts: Iterable[str | Candidate]) -> None:
        self._texts = texts
        self._kept: GivenTexts | None = None

    def __iter__(self) -> Iterator[Candidate | Skipped]:
        if self._kept is None:
            self._kept = GivenTexts(self._texts)
        return iter(self._kept)


def read_again(texts: AnyTexts) -> Iterable[Candidate | Skipped]:
    return Kept(texts) if in_memory(texts) else cast(Texts, texts)


def in_memory(texts: AnyTexts) -> TypeGuard[Iterable[str | Candidate]]:
    """Whether these are no `Texts`, which say so themselves if they change between two passes."""
    return not isinstance(getattr(texts, "names", None), tuple)


def checked(texts: AnyTexts) -> AnyTexts:
    if isinstance(texts, str) or not isinstance(texts, Iterable):
        raise TypeError(f"a list of texts is expected, not a {type(texts).__name__}")
    return texts


def basin_settings(
    levels: Sequence[float] | None,
    restarts: int | None,
    steps: int | None,
    sampler: str | None,
    pattern: str,
    protocol: str,
    recipe: str,
    **more: Any,
) -> BasinSettings:
    paper = protocol == "paper"
    own = (levels, restarts, steps) == (None, None, None)
    require(own or not paper, 'protocol "paper" has its own levels, restarts and steps')
    shares = BasinSettings.levels if levels is None else tuple(sorted({float(level) for level in levels}))
    require(bool(shares), "no levels")
    require(all(0 < level <= 1 for level in shares), "levels are shares of the tokens, above 0 and at most 1")
    require(restarts is None or restarts > 0, f"restarts must be at least 1, not {restarts}")
    require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    require(sampler is None or sampler in SAMPLERS, f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    require(pattern in list(Pattern), f"unknown pattern {pattern!r}; known: {', '.join(Pattern)}")
    require(pattern == Pattern.UNIFORM or not paper, 'protocol "paper" corrupts uniformly')
    restarts = restarts or BasinSettings.restarts
    return BasinSettings(shares, restarts, steps, sampler or "", recipe, protocol, pattern=pattern, **more)


def entropy_settings(t: float, draws: int, context: str, protocol: str, recipe: str, **more: Any) -> EntropySettings:
    require(T_MIN <= t <= 1, f"t is a diffusion time from {T_MIN:g} to 1, not {t}")
    require(draws >= 0, f"draws must be at least 0, not {draws}")
    require(context in ("all", "prefix"), f"context is all or prefix, not {context!r}")
    # A corruption at a later time is no clean text.
    draws = draws or int(protocol == "paper" or t > T_MIN)
    return EntropySettings(t, draws, context, protocol=protocol, recipe=recipe, **more)


def comparison_of(
    model: LoadedModel,
    heldout: AnyTexts | None,
    twins: int,
    slot: str,
    reference: LoadedModel | None,
    calibration: AnyCalibration | None = None,
) -> Comparison:
    """What to compare with. Raises ValueError on what is none, or two, or cannot be compared token by token."""
    require(twins >= 0, f"twins must be at least 0, not {twins}")
    if calibration is not None:
        alone = heldout is None and not twins and reference is None
        require(alone, "a calibration is a comparison of its own: give no heldout text, twins or reference_model")
        return Comparison(calibration=calibration if isinstance(calibration, Calibration) else read(Path(calibration)))
    if reference is not None:
        require(heldout is not None, "reference_model needs heldout text: it shows which difference is ordinary")
        check_reference(model, reference)
    return Comparison(None if heldout is None else read_again(checked(heldout)), twins, Slot(slot), reference)


def check_reference(model: LoadedModel, reference: LoadedModel) -> None:
    """Raise ValueError unless both can be compared token by token."""
    same = reference.info.tokenizer_sha256 == model.info.tokenizer_sha256
    require(same, "the reference model has another tokenizer than the model")
    one_size = reference.info.vocab_size == model.info.vocab_size
    require(one_size, "the reference model has a vocabulary of another size than the model")
    require(reference.info.law == model.info.law, "the reference model predicts another law than the model")
    longest, needed = reference.layout.max_length, model.layout.max_length
    require(longest >= needed, f"the reference model takes {longest} tokens, and the model {needed}")


def recipe_name(name: str | None, known: tuple[Recipe, ...], twins: int, reference: LoadedModel | None) -> str:
    """The name of a deciding score, empty for the default. Raises ValueError on one that cannot decide here."""
    require(name is None or not (twins or reference), "twins and reference_model compare by a score of their own")
    return "" if name is None else named(name, known).name


def check_run(protocol: str, fdr: float, seed: int, batch_size: int | None) -> None:
    require(protocol in ("default", "paper"), f"protocol is default or paper, not {protocol!r}")
    require(0 < fdr < 1, f"fdr is a share between 0 and 1, not {fdr}")
    require(type(seed) is int, f"seed must be a whole number, not {seed!r}")
    require(0 <= seed < 1 << 63, f"seed must be from 0 to 2**63 - 1, not {seed}")
    require(batch_size is None or batch_size > 0, f"batch_size must be at least 1, not {batch_size}")


def redaction_of(key: bytes | None) -> Redaction:
    require(key is None or bool(key), "an empty key protects nothing")
    # Of tokens the ids are enough: who calls has the text, and the model to spell them.
    return Redaction(ShowText.FINGERPRINT, key or _PROCESS_KEY)


def require(fine: bool, message: str) -> None:
    if not fine:
        raise ValueError(message)
