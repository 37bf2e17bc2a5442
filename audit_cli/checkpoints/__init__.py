"""A path or hub name in; a denoiser with tokenizer, layout and provenance out. One file a family."""

from collections.abc import Mapping
from dataclasses import replace
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any, Literal

import torch
from uddm_kernels.backend import check as check_backend

from audit_cli.checkpoints import diffusion_gemma, duo, gidd, hub, native, refused, sumi, udlm
from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel, Untokenizable
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import Layout, LoadedModel

__all__ = ["CheckpointError", "Layout", "LoadedModel", "UnauditableModel", "Untokenizable", "load_model"]

AUTO = "auto"
Precision = torch.dtype | Literal["default"] | None
CODE_IGNORED = "its config.json names code of its own (auto_map), which is ignored: no code of a checkpoint runs"
FAMILIES: tuple[Family, ...] = (
    native.FAMILY,
    udlm.FAMILY,
    duo.FAMILY,
    gidd.FAMILY,
    diffusion_gemma.FAMILY,
    sumi.FAMILY,
    *refused.FAMILIES,
)


def load_model(
    path: str | Path,
    weights: str | None = None,
    device: str | torch.device = "cpu",
    tokenizer: Path | None = None,
    dtype: Precision = "default",
    backend: str | None = None,
) -> LoadedModel:
    """Load the checkpoint at `path`: a folder, a Lightning file, or a name on the hub.

    `weights` is `raw`, `ema` or None, the family's default; `tokenizer` a file or folder that takes the place of the
    checkpoint's own. Matrices are held as `dtype`, everything else as float32; None keeps all as the files have it.
    By default it is float32, but for what is too large for that. `device` "auto" is a GPU if there is one, and all of
    them for what is too large for one. `backend` names the implementation of the kernels, None the best there is.
    Code that a checkpoint brings along (`auto_map`) never runs. Raises CheckpointError, which says what was found and
    what is known, and ValueError on a backend that does not run on the device.
    """
    where = best_device() if device == AUTO else torch.device(device)
    check_backend(backend, where)
    loaded = _load(path, weights, where, tokenizer, dtype, device == AUTO)
    denoiser = loaded.denoiser
    denoiser.head = replace(denoiser.head, backend=backend)
    return loaded


def _load(
    path: str | Path,
    weights: str | None,
    where: torch.device,
    tokenizer: Path | None,
    dtype: Precision,
    spread: bool,
) -> LoadedModel:
    local = Path(path)
    name = None if local.exists() else _hub_name(str(path))
    if name is None:
        return _load_local(local, str(local), weights, where, tokenizer, dtype, spread)
    if not name.is_file:
        # What is not audited, or not known, is said before gigabytes are fetched.
        _recognised(Request(hub.fetch(name, hub.CONFIG), str(name), weights, where, tokenizer))
    local = hub.fetch(name)
    return _load_local(local, hub.shown_name(name, local), weights, where, tokenizer, dtype, spread)


def family_of(path: str | Path) -> Family | None:
    """The family of a folder here or on the hub, by its configuration alone; None of a file, or where there is nothing.

    Raises CheckpointError where it is none that is known.
    """
    local = Path(path)
    name = None if local.exists() else _hub_name(str(path))
    if name is not None and not name.is_file:
        local = hub.fetch(name, hub.CONFIG)
    if not local.is_dir():
        return None
    request = Request(local, str(name or path), None, torch.device("cpu"), None)
    return recognise(request.config, request.name)


def best_device() -> torch.device:
    """A GPU, if there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _hub_name(text: str) -> hub.HubName | None:
    """The name on the hub, unless `text` looks like a path here of which the last part was mistyped."""
    name = hub.hub_name(text)
    return None if name is None or (not name.explicit and Path(text).parent.exists()) else name


def _load_local(
    path: Path,
    name: str,
    weights: str | None,
    device: torch.device,
    tokenizer: Path | None,
    asked: Precision,
    spread: bool,
) -> LoadedModel:
    dtype = torch.float32 if asked == "default" else asked
    if path.is_dir():
        request = Request(path, name, weights, device, tokenizer, dtype, spread)
        family = _recognised(request)
        if family.stored and asked == "default":
            dtype = None
        loaded = family.load(replace(request, dtype=dtype))
        notes = (CODE_IGNORED,) if request.config.get("auto_map") else ()
        return _named(replace(loaded, notes=loaded.notes + notes), name, dtype)
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or folder")
    if path.suffix in (".json", ".safetensors"):
        raise CheckpointError(f"{path}: not a checkpoint folder; give the folder that holds it")
    # Folders need nothing of what reads pickles as data.
    from audit_cli.checkpoints.lightning import load_lightning

    return _named(load_lightning(path, weights, device, tokenizer, dtype), name, dtype)


def _named(loaded: LoadedModel, name: str, dtype: torch.dtype | None) -> LoadedModel:
    precision = loaded.info.precision if dtype is None else str(dtype).removeprefix("torch.")
    return replace(loaded, info=replace(loaded.info, name=name, precision=precision))


def _recognised(request: Request) -> Family:
    """The family of a folder, once its configuration has passed the family's check. Raises CheckpointError."""
    family = recognise(request.config, request.name)
    family.check(request)
    return family


def recognise(config: Mapping[str, Any], where: str) -> Family:
    """The family of a configuration, by its classes, else its model type, else its keys.

    Raises CheckpointError, with the known families, if it is none.
    """
    for matches in (Family.has_architecture, Family.has_model_type, Family.has_keys):
        found = next((family for family in FAMILIES if matches(family, config)), None)
        if found is not None:
            return found
    given = config.get("model_type")
    file = next(iter(sorted(Path(where).glob("*.ckpt"))), None) if given is None else None
    if file is not None:
        raise CheckpointError(f"{where}/config.json: no model_type; give the checkpoint beside it, {brief(file.name)}")
    near = str(given).lower()[:60]
    known = sorted(
        (family.name for family in FAMILIES if family.supported),
        key=lambda name: -SequenceMatcher(None, near, name).ratio(),
    )
    raise CheckpointError(
        f"{where}/config.json: model_type is {brief(given)}, and the model types known are {', '.join(known)}"
    )
