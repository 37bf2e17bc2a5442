"""The native checkpoint: a folder with `config.json`, `model.safetensors` and `tokenizer.json`.

`model.safetensors` holds the raw weights; training with an exponential moving average adds `ema.safetensors`.
Nothing is executed and nothing is unpickled: sizes, names and shapes are checked against the configuration before
any memory is taken.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel
from audit_cli.checkpoints.loaded import LoadedModel, layout_for
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import Schedule, schedule_config, schedule_from_config
from audit_cli.models.additive import AdditiveConfig, AdditiveTransformer
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
CONFIG_BYTES = 1 << 20


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
            partial = folder / (name + ".part")
            save_file(
                {k: v.detach().contiguous().cpu() for k, v in tensors.items()}, partial, metadata={"format": "pt"}
            )
            partial.replace(folder / name)


def _write(path: Path, data: bytes) -> None:
    partial = path.with_name(path.name + ".part")
    partial.write_bytes(data)
    partial.replace(path)


def load_native(folder: Path, weights: str | None, device: torch.device) -> LoadedModel:
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
    tensors = read_tensors(file, {name: tuple(p.shape) for name, p in network.state_dict().items()}, device)
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
    try:
        if path.stat().st_size > CONFIG_BYTES:
            raise CheckpointError(f"{path}: larger than {CONFIG_BYTES} bytes: not a model configuration")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(data, dict) or data.get("model_type") != MODEL_TYPE:
        found = data.get("model_type") if isinstance(data, dict) else None
        raise CheckpointError(f"{path}: model_type is {str(found)[:60]!r}, and this version knows {MODEL_TYPE!r}")
    if data.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {data.get('format')!r}; this version reads format {FORMAT}")
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
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
        raise ValueError(f"noise is {data.get('noise')!r}; this audit is for uniform-state models")
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


def read_tensors(file: Path, expected: Mapping[str, tuple[int, ...]], device: torch.device) -> dict[str, Tensor]:
    """The tensors of a safetensors file, exactly those expected, finite, as float32. Raises CheckpointError."""
    if not file.is_file():
        raise CheckpointError(f"{file}: no such file")
    try:
        with safe_open(file, framework="pt", device=str(device)) as opened:
            _check_names_and_shapes(file, opened, expected)
            tensors = {name: opened.get_tensor(name).float() for name in expected}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{file}: damaged or not a safetensors file ({error})") from None
    for name, tensor in tensors.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UnauditableModel(f"{file}: tensor {name!r} holds NaN or infinity")
    return tensors


def _check_names_and_shapes(file: Path, opened: Any, expected: Mapping[str, tuple[int, ...]]) -> None:
    names = set(opened.keys())
    for what, odd in (("is missing", expected.keys() - names), ("does not belong", names - expected.keys())):
        if odd:
            more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
            raise CheckpointError(f"{file}: tensor {min(odd)[:100]!r} {what}{more}")
    for name, shape in expected.items():
        piece = opened.get_slice(name)
        if tuple(piece.get_shape()) != shape:
            raise CheckpointError(
                f"{file}: tensor {name!r} has shape {tuple(piece.get_shape())}, and the configuration says {shape}"
            )
        if piece.get_dtype() not in ("F64", "F32", "F16", "BF16"):
            raise CheckpointError(f"{file}: tensor {name!r} has type {piece.get_dtype()}, not floating point")


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes of tensors, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        if math.prod(tensor.shape):
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
