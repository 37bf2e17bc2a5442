"""The audit for programs: a model, the two probes as generators of records, and no files, console or environment."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch

from audit_cli.api.parts import (
    AnyCalibration,
    AnyTexts,
    AsWarnings,
    Dynamics,
    Protocol,
    Results,
    basin_settings,
    check_run,
    checked,
    comparison_of,
    entropy_settings,
    read_again,
    recipe_name,
    redaction_of,
    require,
    results_of,
)
from audit_cli.audits import (
    Comparison,
    ExtractionSettings,
    Journal,
    basins_audit,
    entropy_audit,
    extraction_audit,
    report_basins,
    report_entropy,
    report_extraction,
)
from audit_cli.audits.calibrate import Calibrator
from audit_cli.audits.evaluate import EvaluateSettings, Evaluator
from audit_cli.audits.law import SAMPLERS
from audit_cli.audits.run import Audit
from audit_cli.checkpoints import AUTO, LoadedModel, Precision, load_model
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.records import Evaluation
from audit_cli.verdicts.calibration import Calibration
from audit_cli.verdicts.recipes import OF_BASINS, OF_ENTROPY


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
    require(precision is None or precision in known, f"dtype is one of {', '.join(known)}, not {precision}")
    require(weights in (None, "raw", "ema"), f"weights are raw, ema or None, not {weights!r}")
    where: str | torch.device = device
    try:
        if device != AUTO:
            where = torch.device(device)
            torch.ones(1, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ValueError(f"device {str(device)!r}: {str(error).splitlines()[0]}") from None
    require(backend in (None, "fused", "chunked"), f"backend is fused, chunked or None, not {backend!r}")
    kind: Precision = "default" if precision is None else getattr(torch, precision)
    return load_model(path, weights, where, None if tokenizer is None else Path(tokenizer), kind, backend)


def entropy(
    model: LoadedModel,
    texts: AnyTexts,
    heldout: AnyTexts | None = None,
    *,
    calibration: AnyCalibration | None = None,
    twins: int = 0,
    slot: str = "digits",
    reference_model: LoadedModel | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    t: float = T_MIN,
    draws: int = 0,
    context: Literal["all", "prefix"] = "all",
    recipe: str | None = None,
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
    check_run(protocol, fdr, seed, batch_size)
    name = recipe_name(recipe, OF_ENTROPY, twins, reference_model)
    settings = entropy_settings(t, draws, context, protocol, name, seed=seed, fdr=fdr, batch_size=batch_size)
    settings = replace(settings, per_token=per_token)
    comparison = comparison_of(model, heldout, twins, slot, reference_model, calibration)
    return results_of(entropy_audit, report_entropy, model, checked(texts), comparison, settings, redaction_of(key))


def basins(
    model: LoadedModel,
    texts: AnyTexts,
    heldout: AnyTexts | None = None,
    *,
    calibration: AnyCalibration | None = None,
    twins: int = 0,
    slot: str = "digits",
    reference_model: LoadedModel | None = None,
    fdr: float = 0.05,
    seed: int = 0,
    levels: Sequence[float] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    sampler: Dynamics | None = None,
    pattern: Literal["uniform", "span", "prefix"] = "uniform",
    recipe: str | None = None,
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
    seen the texts. A `calibration`, or the path of its file, stands for held-out text that `calibrate` has measured, of
    the same model, by the same settings, and under the same `key`. A comparison that can find nothing, or little, is
    told as a `UserWarning`.

    `levels` (shares of the tokens), `restarts`, `steps`, `sampler`, `pattern` and `protocol` are as `uddm-audit basins
    --help` says, by default those of the model's family; protocol "paper" has its own levels, restarts and steps,
    corrupts uniformly, and is meant for `load(..., weights="raw")`. By pattern "uniform" a level destroys each token
    independently, by "span" one contiguous run of that share, by "prefix" the last tokens, so that the beginning is the
    cue; networks were trained on the first alone. `argmax` adds the recovery rate of a single argmax to every level.

    `key` is what fingerprints are made with: the bytes of the command line's give the command line's, None those of
    this process alone. A generator that is closed, or forgotten, leaves nothing behind; use it in one thread.

    Raises ValueError on settings that contradict each other or the model, TypeError for texts that are none, and in
    the iteration CandidateError for files that cannot be read or have changed, JournalError where the disk is full,
    CalibrationError for a calibration of something else, MemoryError where a single text is too much.
    """
    check_run(protocol, fdr, seed, batch_size)
    name = recipe_name(recipe, OF_BASINS, twins, reference_model)
    asked = {"seed": seed, "fdr": fdr, "batch_size": batch_size}
    settings = basin_settings(levels, restarts, steps, sampler, pattern, protocol, name, argmax=argmax, **asked)
    settings.probe(model)
    comparison = comparison_of(model, heldout, twins, slot, reference_model, calibration)
    return results_of(basins_audit, report_basins, model, checked(texts), comparison, settings, redaction_of(key))


def calibrate(
    model: LoadedModel,
    heldout: AnyTexts,
    command: Literal["basins", "entropy"] = "basins",
    *,
    lengths: tuple[int, int] | None = None,
    seed: int = 0,
    levels: Sequence[float] | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    sampler: Dynamics | None = None,
    pattern: Literal["uniform", "span", "prefix"] = "uniform",
    t: float = T_MIN,
    draws: int = 0,
    context: Literal["all", "prefix"] = "all",
    recipe: str | None = None,
    protocol: Protocol = "default",
    batch_size: int | None = None,
    key: bytes | None = None,
) -> Calibration:
    """Held-out text measured once, for many audits of one model by `command`: `encoded()` gives the file's bytes.

    `lengths` are the least and most tokens of the texts to come, by default those of the held-out texts; every band of
    lengths within a quarter takes the time of all held-out texts. The settings are those of `basins` or of `entropy`,
    each for its command alone, and later runs must have the same. Under another `key` candidates that are among the
    held-out texts are not recognized. Measures before it returns.

    Raises ValueError on settings that contradict each other or the model, and where nothing can be measured.
    """
    require(command in ("basins", "entropy"), f"command is basins or entropy, not {command!r}")
    fine = lengths is None or (len(lengths) == 2 and 1 <= lengths[0] <= lengths[1])
    require(fine, f"lengths are the least and the most tokens of a text, not {lengths!r}")
    check_run(protocol, 0.05, seed, batch_size)
    redaction = redaction_of(key)
    name = recipe_name(recipe, OF_BASINS if command == "basins" else OF_ENTROPY, 0, None)
    asked = {"seed": seed, "batch_size": batch_size}
    with closing(Journal(None, redaction.key)) as journal:
        audit: Audit[Any]
        if command == "basins":
            require((t, draws, context) == (T_MIN, 0, "all"), "t, draws and context are settings of entropy")
            basins = basin_settings(levels, restarts, steps, sampler, pattern, protocol, name, **asked)
            audit = basins_audit(model, (), Comparison(), basins, AsWarnings(), journal)
        else:
            own = (levels, restarts, steps, sampler, pattern) == (None, None, None, None, "uniform")
            require(own, "levels, restarts, steps, sampler and pattern are settings of basins")
            settings = entropy_settings(t, draws, context, protocol, name, **asked)
            audit = entropy_audit(model, (), Comparison(), settings, AsWarnings(), journal)
        return Calibrator[Any](audit, read_again(checked(heldout)), lengths).made()


def extract(
    model: LoadedModel,
    texts: AnyTexts,
    *,
    slot: str = "digits",
    twins: int = 199,
    fdr: float = 0.05,
    seed: int = 0,
    restarts: int = 64,
    steps: int | None = None,
    sampler: Dynamics | None = None,
    fillings: bool = False,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> Results:
    """Whether the secret in each text's slot comes back to who knows the rest of it: a result a text, in their order.

    `slot` is "digits", "letters", "alphanumeric", or a template such as "card {} pin {}"; a text without one, or longer
    than the model, is skipped. A token that holds a part of the slot is free as a whole. Every text is compared with
    so many `twins`, its slot redrawn; with 0 there is no verdict. `fillings` keeps of each text the tokens with the
    filling that came back most often, `extraction.filling`, and spells them, `recovered_text`: it may be the secret of
    somebody else. `restarts` is how often each slot is filled; `steps`, `sampler`, `texts`, when results come, `key`
    and errors are as in `basins`.
    """
    require(restarts > 0, f"restarts must be at least 1, not {restarts}")
    require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    require(sampler is None or sampler in SAMPLERS, f"unknown sampler {sampler!r}; known: {', '.join(SAMPLERS)}")
    check_run("default", fdr, seed, batch_size)
    settings = ExtractionSettings(slot, restarts, steps, sampler or "", seed, fdr, fillings, batch_size)
    settings.probe(model)
    comparison = comparison_of(model, None, twins, slot, None)
    return results_of(
        extraction_audit, report_extraction, model, checked(texts), comparison, settings, redaction_of(key)
    )


def evaluate(
    model: LoadedModel,
    members: AnyTexts,
    heldout: AnyTexts,
    *,
    reference_model: LoadedModel | None = None,
    restarts: int = EvaluateSettings.restarts,
    steps: int | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> Evaluation:
    """How well every score tells `members`, which the model was trained on, from `heldout` text, which it was not.

    Of a long text one window is measured. `reference_model` adds the scores that ask a second model; the rest is as
    in `basins`. Raises ValueError where there is nothing to compare.
    """
    require(restarts > 0, f"restarts must be at least 1, not {restarts}")
    require(steps is None or steps > 0, f"steps must be at least 1, not {steps}")
    check_run("default", 0.05, seed, batch_size)
    comparison_of(model, heldout, 0, "digits", reference_model)
    settings = EvaluateSettings(restarts=restarts, steps=steps, seed=seed, batch_size=batch_size)
    redaction = redaction_of(key)
    with closing(Journal(None, redaction.key)) as journal:
        texts = read_again(checked(members)), read_again(checked(heldout))
        return Evaluator(model, *texts, settings, reference_model, AsWarnings(), journal).report(redaction)
