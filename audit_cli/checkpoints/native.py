"""The native checkpoint: a folder with `config.json`, `model.safetensors` and `tokenizer.json`.

`model.safetensors` holds the raw weights, or the only ones; a moving average of them is in `ema.safetensors`. Where the
configuration says so there is no tokenizer. Nothing is executed and nothing is unpickled: sizes, names and shapes are
checked against the configuration before any memory is taken.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.gidd import GiddDenoiser
from audit_cli.checkpoints.loaded import LoadedModel, Sampling, layout_for
from audit_cli.checkpoints.native_config import BACKBONES, MODEL_TYPE, NativeConfig, Network, read_config
from audit_cli.checkpoints.native_folder import CONFIG, EMA, TOKENIZER, WEIGHTS
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.safetensors_files import read_tensors, tensors_sha256, write_tensors
from audit_cli.checkpoints.sumi import SumiDenoiser
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer
from audit_cli.checkpoints.tokenizer_files import read_tokenizer
from audit_cli.checkpoints.whole_files import replace_file
from audit_cli.models.dense import types
from audit_cli.models.gidd import Gidd
from audit_cli.models.sumi import Sumi
from audit_cli.records import ModelInfo

__all__ = [
    "FAMILY",
    "NativeConfig",
    "build_network",
    "from_network",
    "load_native",
    "save_description",
    "save_native",
    "save_weights",
]

NO_TOKENIZER = "none; texts must be given as input_ids"


def build_network(config: NativeConfig) -> Network:
    """The network of a configuration, with fresh weights."""
    return BACKBONES[config.backbone_name][1](config.backbone)  # type: ignore[arg-type]


def save_native(
    folder: Path,
    config: NativeConfig,
    tokenizer: TextTokenizer | None,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint folder; each file is written beside its place and renamed into it."""
    save_description(folder, config, tokenizer)
    for name, tensors in ((WEIGHTS, weights), (EMA, ema)):
        if tensors is None:
            # Of an earlier checkpoint in this folder, and preferred to the raw weights when it is loaded.
            (folder / name).unlink(missing_ok=True)
        else:
            save_weights(folder / name, tensors)


def save_description(folder: Path, config: NativeConfig, tokenizer: TextTokenizer | None) -> None:
    """Write all of a checkpoint folder but its weights. A `tokenizer` is there where the configuration has one."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / CONFIG, (json.dumps(config.to_json(), indent=2) + "\n").encode())
    if tokenizer is None:
        (folder / TOKENIZER).unlink(missing_ok=True)
    else:
        _write(folder / TOKENIZER, tokenizer.to_json().encode())


def save_weights(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a set of weights, one tensor after the other."""
    replace_file(file, partial(write_tensors, tensors=tensors))


def _write(path: Path, data: bytes) -> None:
    replace_file(path, lambda file: file.write_bytes(data))


def load_native(
    folder: Path,
    weights: str | None,
    device: torch.device,
    dtype: torch.dtype | None = torch.float32,
    tokenizer: Path | None = None,
) -> LoadedModel:
    """Load a checkpoint folder that `save_native` wrote. Raises CheckpointError.

    `weights` is `raw`, `ema` or None, which takes the moving average where there is one. A folder without a tokenizer
    takes that of a file or folder `tokenizer`.
    """
    config = read_config(folder / CONFIG)
    text_tokenizer, source = _tokenizer(folder, config, tokenizer)
    kind, file = _chosen(folder, config, weights)
    with torch.device("meta"):
        network = build_network(config)
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    tensors = read_tensors(file, shapes, device, types(network, dtype))
    network.load_state_dict(tensors, assign=True)
    made = Made(str(folder), kind, tensors_sha256(tensors), source)
    return _loaded(network, config, text_tokenizer, made)


def from_network(
    network: torch.nn.Module, config: NativeConfig, tokenizer: TextTokenizer | None, name: str = "network"
) -> LoadedModel:
    """A copy in float32 of a network that is in memory, in the midst of its training say, as a model that can be
    audited.

    `config` is the one that it was built by, `tokenizer` that of its text. The network itself stays as it is. Raises
    ValueError where its tensors are not those of the configuration, or are nowhere.
    """
    with torch.device("meta"):
        copied = build_network(config)
    if any(value.is_meta for value in network.state_dict().values()):
        raise ValueError(f"{name}: its tensors have no values yet")
    tensors = {key: value.detach().clone().float() for key, value in network.state_dict().items()}
    if {k: v.shape for k, v in tensors.items()} != {k: v.shape for k, v in copied.state_dict().items()}:
        raise ValueError(f"{name}: its tensors are not those of its configuration")
    copied.load_state_dict(tensors, assign=True)
    source = NO_TOKENIZER if tokenizer is None else "given"
    return _loaded(copied, config, tokenizer, Made(name, config.weights, tensors_sha256(tensors), source))


@dataclass(frozen=True)
class Made:
    """What a model's network was made of, as its description tells."""

    name: str
    weights: str
    weights_sha256: str
    tokenizer: str


def _loaded(network: Network, config: NativeConfig, tokenizer: TextTokenizer | None, made: Made) -> LoadedModel:
    length = config.backbone.max_length
    info = ModelInfo(
        name=made.name,
        family=config.family,
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=config.backbone.vocab_size,
        max_length=length,
        schedule=config.schedule.name,
        law=str(config.law),
        rows=config.rows,
        weights=made.weights,
        weights_sha256=made.weights_sha256,
        tokenizer=made.tokenizer,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256(),
        backbone=config.backbone_name,
    )
    layout = config.layout or layout_for(config.rows, length, tokenizer)
    sampling = Sampling(noise_removal=config.noise_removal)
    return LoadedModel(_denoiser(network, config), tokenizer, layout, info, sampling)


def _denoiser(network: Network, config: NativeConfig) -> NetworkDenoiser | GiddDenoiser | SumiDenoiser:
    if isinstance(network, Gidd):
        (mask,) = config.never_noise
        return GiddDenoiser(network, config.schedule, mask)
    if isinstance(network, Sumi):
        return SumiDenoiser(network, config.schedule)
    out = NetworkDenoiser(network, config.schedule, config.law)
    if config.never_noise:
        drawn = torch.ones(out.vocab_size, dtype=torch.bool, device=out.device)
        drawn[list(config.never_noise)] = False
        out.noise_tokens = out.noise_tokens[drawn]
    return out


def _chosen(folder: Path, config: NativeConfig, weights: str | None) -> tuple[str, Path]:
    """Which weights are read, and their file: the average before the raw ones, or the only set by its own name."""
    averaged = (folder / EMA).is_file()
    if config.weights != "raw":
        if averaged:
            raise CheckpointError(f"{folder}: weights is {config.weights!r}, the only set, and there is {EMA} as well")
        if weights not in (None, config.weights):
            raise CheckpointError(
                f"{folder}: there are no {weights} weights, only one set ({config.weights}); leave out --weights"
            )
        return config.weights, folder / WEIGHTS
    if weights == "ema" and not averaged:
        raise CheckpointError(f"{folder}: there are no EMA weights ({EMA}); try --weights raw")
    kind = weights or ("ema" if averaged else "raw")
    return kind, folder / (EMA if kind == "ema" else WEIGHTS)


def _tokenizer(folder: Path, config: NativeConfig, given: Path | None) -> tuple[TextTokenizer | None, str]:
    """The folder's tokenizer, the one that was given where it has none, or None; and the name of its file."""
    own = folder / TOKENIZER
    if config.tokenizer:
        _check_given(folder, given)
        path, (tokenizer, source) = folder, (load_tokenizer(own), own.name)
    elif own.is_file():
        raise CheckpointError(f"{own}: is there, and {CONFIG} says that there is none: take out one of the two")
    elif given is None:
        return None, NO_TOKENIZER
    else:
        path, (tokenizer, source) = given, read_tokenizer(given)
    vocab = config.backbone.vocab_size
    if not vocab - config.tokens_without_text <= tokenizer.size <= vocab:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.size} tokens and the network {vocab}: they do not belong together"
        )
    return tokenizer, source


def _check_given(folder: Path, tokenizer: Path | None) -> None:
    if tokenizer is not None:
        raise CheckpointError(f"{folder}: a native checkpoint has its own tokenizer; leave out --tokenizer")


def _check(request: Request) -> None:
    if read_config(request.config_file).tokenizer:
        _check_given(request.folder, request.tokenizer)


def _load(request: Request) -> LoadedModel:
    return load_native(request.folder, request.weights, request.device, request.dtype, request.tokenizer)


FAMILY = Family(MODEL_TYPE, _check, _load, (MODEL_TYPE,))
