"""Any checkpoint of a supported family as a native folder: the same network, noise, rows, tokenizer and provenance.

Tensors keep the types of their files and are written from views of them, so that a large model is never held twice.
"""

import errno
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from audit_cli.checkpoints import diffusion_gemma, family_of, gidd, load_model, native, sumi
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel
from audit_cli.checkpoints.loaded import LoadedModel, Sampling
from audit_cli.checkpoints.native import load_native, save_description, save_weights
from audit_cli.checkpoints.native_config import BACKBONES, DESCRIPTION, NativeConfig, Network, parse_config
from audit_cli.checkpoints.native_folder import CONFIG, EMA, FILES, WEIGHTS, check_files, make_folder
from audit_cli.checkpoints.safetensors_files import tensors_sha256
from audit_cli.checkpoints.tokenizer import TextTokenizer, parse_tokenizer
from audit_cli.records import ModelInfo

# Of the folder in which files wait until all of them are whole; one that a killed run left is in nobody's way.
STAGING = ".uddm-audit."
# How many ids at the end of a head may have no token, where no tokenizer says it.
SPARE = {"gidd": gidd.SPARE_ROWS, "sumi": sumi.SPARE_ROWS}
CPU = torch.device("cpu")


class NotWritten(CheckpointError):
    """A folder that could not be written; what was in it before is still there, and nothing else."""


@dataclass(frozen=True)
class Conversion:
    """What was written: `info` is that of the new folder, `sets` are its weights, those loaded by default first."""

    info: ModelInfo
    sets: tuple[str, ...]
    notes: tuple[str, ...]


def convert(
    path: str | Path,
    folder: Path,
    tokenizer: Path | None = None,
    weights: str | None = None,
    overwrite: bool = False,
) -> Conversion:
    """Write the checkpoint at `path` into `folder`, in the native format; it is there as a whole or not at all.

    Of a Lightning file with a moving average both sets are written, unless `weights` names one. `tokenizer` takes the
    place of the checkpoint's own. A checkpoint of ours in `folder` is replaced where `overwrite` says so, and nothing
    else ever. Raises CheckpointError, and NotWritten where the disk is full or fails.
    """
    check_target(path, folder, overwrite)
    family = family_of(path)
    if family is native.FAMILY:
        raise CheckpointError(f"{path}: already native: there is nothing to convert")
    if family is diffusion_gemma.FAMILY:
        raise _not_convertible(path, family.name)
    model = load_model(path, weights, CPU, tokenizer, None)
    # Lightning files hold raw weights always, and folders of other families one set.
    averaged = family is None and weights is None and model.info.weights == "ema"
    config = _config(path, model, averaged)
    kept = _kept_tokenizer(path, model.tokenizer)
    try:
        with _staging(folder) as staging:
            save_description(staging, config, kept)
            save_weights(staging / (EMA if averaged else WEIGHTS), _tensors(model))
            notes, found = model.notes, {model.info.weights: model.info}
            # Where tensors were converted they take memory: never those of both sets.
            del model
            if averaged:
                found["raw"] = _add_raw(path, tokenizer, staging)
            info = _read_back(staging, found)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "disk full" if full else error.strerror or type(error).__name__
        raise NotWritten(f"{folder}: {reason}; nothing was written") from None
    # As the folder is loaded by default.
    info = replace(info, name=str(folder), weights_sha256=config.source["sha256"])
    return Conversion(info, tuple(found), notes)


def check_target(path: str | Path, folder: Path, overwrite: bool) -> None:
    """Raise CheckpointError unless a conversion of `path` may be written into `folder`. Makes nothing."""
    present = check_files(folder)
    target = folder.resolve()
    if Path(path).exists() and Path(path).resolve() in (target, *target.parents):
        raise CheckpointError(f"{folder}: in the checkpoint that is converted; give another folder")
    names = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    other = next((name for name in names if name not in FILES and not name.startswith(STAGING)), None)
    if other is not None:
        raise CheckpointError(f"{folder / other}: is there and not of a checkpoint of uddm-audit; move it away")
    if present and not overwrite:
        raise CheckpointError(f"{folder}: holds a checkpoint; --overwrite replaces it")


def _not_convertible(path: str | Path, family: str) -> CheckpointError:
    return CheckpointError(f"{path}: {family} has a network of another library, which the native format cannot hold")


def _tensors(model: LoadedModel) -> dict[str, Tensor]:
    network: Network = model.denoiser.network  # type: ignore[attr-defined]
    return network.state_dict()


def _config(path: str | Path, model: LoadedModel, averaged: bool) -> NativeConfig:
    """The configuration under which a native folder is this model. Raises CheckpointError where there is none."""
    info, denoiser = model.info, model.denoiser
    network = getattr(denoiser, "network", None)
    backbone = next((name for name, (_, kind) in BACKBONES.items() if type(network) is kind), None)
    if backbone is None:
        raise _not_convertible(path, info.family)
    never = tuple(sorted(set(range(info.vocab_size)) - set(denoiser.noise_tokens.tolist())))
    out = NativeConfig(
        backbone_name=backbone,
        backbone=network.config,  # type: ignore[union-attr]
        schedule=denoiser.schedule,
        law=denoiser.law,
        rows=info.rows,
        layout=model.layout,
        never_noise=never,
        noise_removal=model.sampling.noise_removal,
        family=info.family,
        weights="raw" if averaged else info.weights,
        tokenizer=model.tokenizer is not None,
        tokens_without_text=_without_text(model, backbone, never),
        source={"name": _source_name(path, info), "family": info.family, "sha256": _sha256(model)},
    )
    try:
        same = parse_config(out.to_json()) == out
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"{path}: the native format cannot hold it: {error}") from None
    if not same or model.sampling != Sampling(noise_removal=model.sampling.noise_removal):
        raise CheckpointError(f"{path}: the native format cannot hold how {info.family} lays out or samples its rows")
    return out


def _without_text(model: LoadedModel, backbone: str, never_noise: tuple[int, ...]) -> int:
    """How many ids at the end of the head have no token; without a tokenizer, how many may have none."""
    vocab = model.info.vocab_size
    if model.tokenizer is not None:
        return vocab - model.tokenizer.size
    return min(SPARE.get(backbone, len(never_noise)), vocab - 1)


def _source_name(path: str | Path, info: ModelInfo) -> str:
    """The name on the hub, or that of the file or folder without what it stands in, which is nobody's business."""
    name = Path(path).resolve().name if Path(path).exists() else info.name
    return (name if name.isprintable() else ascii(name))[:DESCRIPTION]


def _sha256(model: LoadedModel) -> str:
    """The hash of the weights as they are loaded by default, in float32."""
    tensors = _tensors(model)
    narrow = any(tensor.dtype != torch.float32 for tensor in tensors.values())
    return tensors_sha256(tensors, torch.float32) if narrow else model.info.weights_sha256


def _kept_tokenizer(path: str | Path, tokenizer: TextTokenizer | None) -> TextTokenizer | None:
    """The tokenizer, which was read from other files or a pickle, if a `tokenizer.json` of it is the same one."""
    if tokenizer is None:
        return None
    try:
        again = parse_tokenizer(tokenizer.to_json().encode())
    except ValueError as error:
        raise CheckpointError(f"{path}: its tokenizer makes no tokenizer.json that can be used: {error}") from None
    if again.sha256() != tokenizer.sha256():
        raise CheckpointError(f"{path}: its tokenizer is another one as a tokenizer.json; give one with --tokenizer")
    return tokenizer


def _add_raw(path: str | Path, tokenizer: Path | None, staging: Path) -> ModelInfo:
    """Write the raw weights of a Lightning file beside its moving average."""
    try:
        raw = load_model(path, "raw", CPU, tokenizer, None)
    except UnauditableModel as error:
        raise UnauditableModel(f"{error}; --weights ema converts the moving average alone") from None
    save_weights(staging / WEIGHTS, _tensors(raw))
    return raw.info


def _read_back(staging: Path, expected: Mapping[str, ModelInfo]) -> ModelInfo:
    """What the new folder holds, by default; raises NotWritten unless all of it is what was to be written."""
    infos = []
    for kind, info in expected.items():
        found = load_native(staging, kind, CPU, None).info
        if replace(found, name=info.name, tokenizer=info.tokenizer) != info:
            raise NotWritten(f"{staging.parent}: what was written is not what is read; nothing was left")
        infos.append(found)
    return infos[0]


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """A new folder in `folder`, whose files take the places of those in `folder` at the end.

    At an error they do not, and all is as it was before.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        make_folder(folder)
        with tempfile.TemporaryDirectory(prefix=STAGING, dir=folder) as name:
            yield Path(name)
            # Between two checkpoints there is none: files of both would be a third.
            (folder / CONFIG).unlink(missing_ok=True)
            for file in (*(file for file in FILES if file != CONFIG), CONFIG):
                if (Path(name) / file).exists():
                    (Path(name) / file).replace(folder / file)
                else:
                    (folder / file).unlink(missing_ok=True)
    except BaseException:
        for place in made:
            with suppress(OSError):
                place.rmdir()
        raise
