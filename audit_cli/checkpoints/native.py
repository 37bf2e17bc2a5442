"""The native checkpoint: a folder with `config.json`, `model.safetensors` and `tokenizer.json`.

`model.safetensors` holds the raw weights; training with an exponential moving average adds `ema.safetensors`.
Nothing is executed and nothing is unpickled: sizes, names and shapes are checked against the configuration before
any memory is taken.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from audit_cli.checkpoints.config_file import brief, read_json_object
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import LoadedModel, layout_for
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.safetensors_files import read_tensors, tensors_sha256
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer
from audit_cli.checkpoints.whole_files import replace_file
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import Schedule, schedule_config, schedule_from_config
from audit_cli.models.additive import AdditiveConfig, AdditiveTransformer
from audit_cli.models.dense import types
from audit_cli.models.dit import DiT, DiTConfig
from audit_cli.records import ModelInfo

MODEL_TYPE = "uddm-audit"
FORMAT = 1
BACKBONES: dict[str, tuple[type[AdditiveConfig] | type[DiTConfig], type[AdditiveTransformer] | type[DiT]]] = {
    "additive": (AdditiveConfig, AdditiveTransformer),
    "dit": (DiTConfig, DiT),
}
ROWS = ("cut", "pad", "pack")
# Far above any published model; a configuration beyond these is damaged or hostile.
LIMITS = {"vocab_size": 1 << 22, "max_length": 1 << 17, "width": 1 << 16, "layers": 1024, "heads": 1024}


@dataclass(frozen=True)
class NativeConfig:
    """Everything but the weights and the tokenizer. `backbone` is the network's own configuration."""

    backbone_name: str
    backbone: AdditiveConfig | DiTConfig
    schedule: Schedule
    law: Law = Law.LEAVE_ONE_OUT
    rows: str = "cut"
    training: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "model_type": MODEL_TYPE,
            "format": FORMAT,
            "backbone": {"name": self.backbone_name, **asdict(self.backbone)},
            "schedule": schedule_config(self.schedule),
            "law": str(self.law),
            "noise": "uniform",
            "rows": self.rows,
            "training": dict(self.training),
        }


def build_network(config: NativeConfig) -> AdditiveTransformer | DiT:
    """The network of a configuration, with fresh weights."""
    return BACKBONES[config.backbone_name][1](config.backbone)  # type: ignore[arg-type]


def save_native(
    folder: Path,
    config: NativeConfig,
    tokenizer: TextTokenizer,
    weights: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a checkpoint folder; each file is written beside its place and renamed into it."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / "config.json", (json.dumps(config.to_json(), indent=2) + "\n").encode())
    _write(folder / "tokenizer.json", tokenizer.to_json().encode())
    for name, tensors in (("model.safetensors", weights), ("ema.safetensors", ema)):
        if tensors is None:
            # Of an earlier checkpoint in this folder, and preferred to the raw weights when it is loaded.
            (folder / name).unlink(missing_ok=True)
        else:
            copies = {k: v.detach().contiguous().cpu() for k, v in tensors.items()}
            replace_file(folder / name, partial(save_file, copies, metadata={"format": "pt"}))


def _write(path: Path, data: bytes) -> None:
    replace_file(path, lambda file: file.write_bytes(data))


def load_native(
    folder: Path, weights: str | None, device: torch.device, dtype: torch.dtype | None = torch.float32
) -> LoadedModel:
    """Load a checkpoint folder that `save_native` wrote. Raises CheckpointError.

    `weights` is `raw`, `ema` or None, which takes the moving average where there is one.
    """
    config = read_config(folder / "config.json")
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    vocab = config.backbone.vocab_size
    if tokenizer.size != vocab:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.size} tokens and the network {vocab}: they do not belong together"
        )
    if weights == "ema" and not (folder / "ema.safetensors").is_file():
        raise CheckpointError(f"{folder}: there are no EMA weights (ema.safetensors); try --weights raw")
    kind = weights or ("ema" if (folder / "ema.safetensors").is_file() else "raw")
    file = folder / ("ema.safetensors" if kind == "ema" else "model.safetensors")
    with torch.device("meta"):
        network = build_network(config)
    shapes = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    tensors = read_tensors(file, shapes, device, types(network, dtype))
    network.load_state_dict(tensors, assign=True)
    info = ModelInfo(
        name=str(folder),
        family="native",
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=vocab,
        max_length=config.backbone.max_length,
        schedule=config.schedule.name,
        law=str(config.law),
        rows=config.rows,
        weights=kind,
        weights_sha256=tensors_sha256(tensors),
        tokenizer="tokenizer.json",
        tokenizer_sha256=tokenizer.sha256(),
        backbone=config.backbone_name,
    )
    denoiser = NetworkDenoiser(network, config.schedule, config.law)
    return LoadedModel(denoiser, tokenizer, layout_for(config.rows, info.max_length, tokenizer), info)


def read_config(path: Path) -> NativeConfig:
    """Parse and validate `config.json`. Raises CheckpointError naming the field."""
    data = read_json_object(path)
    if data.get("model_type") != MODEL_TYPE:
        found = str(data.get("model_type"))[:60]
        raise CheckpointError(f"{path}: model_type is {found!r}, and a native checkpoint's is {MODEL_TYPE!r}")
    if data.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {brief(data.get('format'))}; this version reads format {FORMAT}")
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)[:300]
        raise CheckpointError(f"{path}: {detail}") from None


def _parse(data: dict[str, Any]) -> NativeConfig:
    backbone = data["backbone"]
    if not isinstance(backbone, dict) or str(backbone.get("name")) not in BACKBONES:
        raise ValueError(f"backbone must be an object whose name is one of {', '.join(BACKBONES)}")
    sizes = {k: v for k, v in backbone.items() if k != "name"}
    for key, value in sizes.items():
        if type(value) is not int or not 1 <= value <= LIMITS.get(key, 1 << 16):
            raise ValueError(f"backbone.{key} must be a whole number from 1 to {LIMITS.get(key, 1 << 16)}")
    if sizes["vocab_size"] < 2:
        raise ValueError("backbone.vocab_size must be at least 2")
    if not isinstance(data["schedule"], dict):
        raise ValueError("schedule must be an object")
    if data.get("noise") != "uniform":
        raise ValueError(f"noise is {brief(data.get('noise'))}; this audit is for uniform-state models")
    if data["rows"] not in ROWS:
        raise ValueError(f"rows must be one of {', '.join(ROWS)}")
    training = data.get("training", {})
    return NativeConfig(
        backbone_name=backbone["name"],
        backbone=BACKBONES[backbone["name"]][0](**sizes),
        schedule=schedule_from_config(data["schedule"]),
        law=Law(data["law"]),
        rows=data["rows"],
        training=training if isinstance(training, dict) else {},
    )


def _check(request: Request) -> None:
    if request.tokenizer is not None:
        raise CheckpointError(f"{request.folder}: a native checkpoint has its own tokenizer; leave out --tokenizer")


def _load(request: Request) -> LoadedModel:
    return load_native(request.folder, request.weights, request.device, request.dtype)


FAMILY = Family(MODEL_TYPE, _check, _load, (MODEL_TYPE,))
