"""What a network's law allows: which dynamics, where its entropy is sound, and whether verdicts may rest on it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.loaded import ANCESTRAL, ENTROPY_BOUND
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.samplers import Ancestral, Attractor, Finished, OneShot, PosteriorArgmax, Sampler
from audit_cli.diffusion.schedules import time_at_level
from audit_cli.probes.entropy import CONVERTED, EntropyProbe
from audit_cli.probes.law_check import law_of, random_contrast, sound_time, text_contrast
from audit_cli.records import LawCheck, LawCheckResult

SAMPLERS = (ANCESTRAL, Attractor.name, Finished.name, "one-shot", "posterior-argmax", ENTROPY_BOUND)
STEPLESS = ("attractor", "one-shot")
DEFAULT_STEPS = 16
# As many texts return from 4 to 32 of them, if what comes out may settle.
SETTLED_STEPS = 8
# Where a posterior law is looked at as it is, because it converts nowhere.
UNCONVERTED_LEVEL = 0.5

NO_ATTRACTORS = "the network predicts the posterior law, under which every text is a fixed point"


def law_for_verdicts(model: LoadedModel, checked: LawCheckResult) -> LawCheck:
    """The law check's result; a family that declares another law than leave-one-out contradicts it by itself."""
    return checked.check if model.denoiser.law is Law.LEAVE_ONE_OUT else LawCheck.CONTRADICTED


def sampler_for(model: LoadedModel, name: str, steps: int | None, snap: bool = False) -> Sampler:
    """The dynamics of that name, or the family's own where there is none; `steps` None is that dynamics' default.

    `snap` is the paper's grid, which ends in a step that removes the last noise. Raises ValueError where the network
    does not have what the dynamics needs.
    """
    name = name or (ANCESTRAL if snap else model.sampling.dynamics)
    posterior = model.denoiser.law is Law.POSTERIOR
    if name in STEPLESS and steps is not None:
        raise ValueError(f"the {name} dynamics takes no steps")
    if name == ENTROPY_BOUND:
        own = model.sampling.entropy_bound
        if own is None:
            raise ValueError("the entropy-bound loop needs a network that is conditioned on its own last prediction")
        return own if steps is None else replace(own, steps=steps)
    if name in (Attractor.name, Finished.name) and posterior:
        raise ValueError("under a posterior law every text is a fixed point: take another --sampler")
    if name == Attractor.name:
        return Attractor()
    if name == Finished.name:
        return Finished(_ancestral(model, steps or SETTLED_STEPS, snap))
    if name == "one-shot":
        return OneShot()
    if name == "posterior-argmax":
        return PosteriorArgmax(steps or DEFAULT_STEPS, snap or model.sampling.noise_removal, snap)
    return _ancestral(model, steps, snap)


def _ancestral(model: LoadedModel, steps: int | None, snap: bool) -> Ancestral:
    return Ancestral(steps or DEFAULT_STEPS, snap or model.sampling.noise_removal, snap)


def restoring(model: LoadedModel, name: str, steps: int | None) -> Sampler:
    """The dynamics of that name, or what restores a text best where there is none.

    A sample that then settles into a fixed point returns where either alone may not: `examples/proof` has the figures.
    A family with a dynamics of its own, and a posterior law, under which every text is a fixed point, keep to theirs.
    """
    settles = model.denoiser.law is Law.LEAVE_ONE_OUT and model.sampling.dynamics == ANCESTRAL
    return sampler_for(model, name or (Finished.name if settles else ""), steps)


def check_paper(model: LoadedModel) -> None:
    """Raise ValueError where the paper's protocol says nothing of a network."""
    if model.denoiser.law is Law.POSTERIOR:
        raise ValueError("the paper's protocol measures networks of the leave-one-out law, and this one's is posterior")


def clean_look(model: LoadedModel, seed: int, per_token: bool = False, batch_size: int | None = None) -> EntropyProbe:
    """How the entropy and surprise of a text are measured: undamaged under a leave-one-out law.

    A posterior law is certain of an undamaged text, whatever it has learned: it is looked at under the least noise at
    which it converts to the leave-one-out law, or as it is where it converts nowhere.
    """
    if model.denoiser.law is Law.LEAVE_ONE_OUT:
        return EntropyProbe(per_token=per_token, batch_size=batch_size)
    t = _sound_time(model, seed)
    at = time_at_level(model.denoiser.schedule, UNCONVERTED_LEVEL) if t is None else t
    return EntropyProbe(at, 1, seed=seed, per_token=per_token, batch_size=batch_size, convert=t is not None)


def entropy_law(model: LoadedModel, look: EntropyProbe) -> dict[str, object]:
    """What a report says of the law and the time at which entropies were taken; nothing if both are as always."""
    if model.denoiser.law is Law.LEAVE_ONE_OUT:
        return {}
    return {"entropy_law": CONVERTED if look.convert else str(Law.POSTERIOR), "entropy_t": look.t}


def checked_law(model: LoadedModel, seed: int, texts: Sequence[Sequence[int]] = ()) -> LawCheckResult:
    """The law check on random rows, which is remembered between runs, and on rows of `texts`, in this one only."""

    def recalled(find: Callable[[], float], *more: object) -> float:
        decided_by = [*_of(model), seed, *more]
        return model.memory.recall(_Contrast, decided_by, lambda: _Contrast(find()), lasting=not more).median

    medians = [recalled(lambda: random_contrast(model.denoiser, seed))]
    if texts:
        rows = [list(text) for text in texts]
        medians.append(recalled(lambda: text_contrast(model.denoiser, seed, texts), rows))
    return law_of(medians)


def _sound_time(model: LoadedModel, seed: int) -> float | None:
    """`sound_time` of the model, remembered by its weights: a run asks several times."""
    sampler: Any = sampler_for(model, "", None)
    decided_by = [*_of(model), seed, repr(sampler)]
    return model.memory.recall(_SoundTime, decided_by, lambda: _SoundTime(sound_time(model.denoiser, sampler, seed))).t


def _of(model: LoadedModel) -> list[str]:
    """What decides a model's answers."""
    return [model.info.weights_sha256, model.network_sha256, model.denoiser.device.type, model.backend]


@dataclass(frozen=True)
class _Contrast:
    median: float


@dataclass(frozen=True)
class _SoundTime:
    t: float | None
