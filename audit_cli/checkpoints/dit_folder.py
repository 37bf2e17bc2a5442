"""Hub folders whose network is the diffusion transformer: sizes from tensors and configuration, which must agree."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from audit_cli.checkpoints.config_file import brief, whole
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Request
from audit_cli.checkpoints.loaded import OWN, Layout, LoadedModel, Sampling
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.safetensors_files import (
    Stored,
    check_tensors,
    load_tensors,
    stored_tensors,
    tensors_sha256,
)
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.dense import types
from audit_cli.models.dit import DiT, DiTConfig
from audit_cli.records import ModelInfo

PREFIXES = ("_orig_mod.", "module.", "backbone.")
# Saved with some checkpoints, and no weights of the network.
TEACHER, CONSTANTS = "teacher.", ("limiting_distribution",)
FREQUENCIES = "rotary_emb.inv_freq"
# Of the published configurations; far above any published model.
LIMITS = {"vocab_size": 1 << 22, "model_length": 1 << 17, "hidden_dim": 1 << 16, "n_blocks": 1024}
LIMITS |= {"n_heads": 1024, "cond_dim": 1 << 16}


def load_dit(request: Request) -> tuple[DiT, str]:
    """The network of a folder and the hash of its tensors, under the network's own names. Raises CheckpointError."""
    stored = backbone_names(request.folder, stored_tensors(request.folder))
    frequencies = {name: stored.pop(name) for name in [FREQUENCIES] if name in stored}
    try:
        sizes = {key: whole(request.config, key, most) for key, most in LIMITS.items()}
    except ValueError as error:
        raise CheckpointError(f"{request.config_file}: {error}") from None
    shapes = {name: tensor.shape for name, tensor in (stored | frequencies).items()}
    found = sizes_of_tensors(request.folder, shapes)
    for key, value in found.items():
        if sizes.get(key, value) != value:
            raise CheckpointError(f"{request.config_file}: {key} is {sizes[key]}, and the tensors say {value}")
    try:
        config = DiTConfig(
            vocab_size=sizes["vocab_size"],
            max_length=sizes["model_length"],
            width=sizes["hidden_dim"],
            layers=sizes["n_blocks"],
            heads=sizes["n_heads"],
            mlp_ratio=found["mlp_ratio"],
            condition_width=sizes["cond_dim"],
        )
    except ValueError as error:
        raise CheckpointError(f"{request.config_file}: {error}") from None
    with torch.device("meta"):
        network = DiT(config)
    expected = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    check_tensors(request.folder, stored, expected, "network")
    _check_frequencies(frequencies, config)
    chosen = {name: stored[name] for name in expected}
    tensors = load_tensors(chosen, request.device, types(network, request.dtype))
    network.load_state_dict(tensors, assign=True)
    return network, tensors_sha256(tensors)


@dataclass(frozen=True)
class Described:
    """What a family says of its model beside the weights. `source` is where the tokenizer was read from."""

    family: str
    weights: str
    rows: str
    layout: Layout
    tokenizer: TextTokenizer | None
    source: str
    sampling: Sampling = OWN


def as_loaded(request: Request, network: DiT, sha256: str, described: Described) -> LoadedModel:
    """The network under the noise that these families share: log-linear, uniform over all tokens; leave-one-out."""
    schedule, law, tokenizer = LogLinear(), Law.LEAVE_ONE_OUT, described.tokenizer
    info = ModelInfo(
        name=request.name,
        family=described.family,
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=network.config.vocab_size,
        max_length=network.config.max_length,
        schedule=schedule.name,
        law=str(law),
        rows=described.rows,
        weights=described.weights,
        weights_sha256=sha256,
        tokenizer=described.source,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256(),
        backbone="dit",
    )
    return LoadedModel(NetworkDenoiser(network, schedule, law), tokenizer, described.layout, info, described.sampling)


def backbone_names(where: Path, stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """Tensors by the network's own names: prefixes of wrappers are taken off, a teacher and constants left out."""
    out: dict[str, Stored] = {}
    for name, tensor in stored.items():
        own = name
        while prefix := next((p for p in PREFIXES if own.startswith(p)), None):
            own = own.removeprefix(prefix)
        if name.startswith(TEACHER) or own.startswith(TEACHER) or own in CONSTANTS:
            continue
        if own in out:
            raise CheckpointError(f"{where}: tensors {brief(out[own].name)} and {brief(name)} are the same one")
        out[own] = tensor
    return out


def sizes_of_tensors(where: Path, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
    """What the shapes say, under the names of the published configurations, and `mlp_ratio`. Raises CheckpointError.

    The number of heads is known only where the rotary frequencies were saved, half of them a head's width.
    """
    try:
        vocab, width = shapes["vocab_embed.embedding"]
        condition, _ = shapes["sigma_map.mlp.0.weight"]
        hidden, _ = shapes["blocks.0.mlp.0.weight"]
    except KeyError as error:
        raise CheckpointError(f"{where}: not the weights of this family: there is no tensor {error}") from None
    except ValueError:
        raise CheckpointError(f"{where}: the embedding or the first block has tensors of odd dimensions") from None
    blocks = {int(found[1]) for name in shapes if (found := re.match(r"blocks\.(\d{1,6})\.", name))}
    sizes = {
        "vocab_size": vocab,
        "hidden_dim": width,
        "n_blocks": max(blocks) + 1,
        "cond_dim": condition,
        "mlp_ratio": max(1, hidden // max(1, width)),
    }
    pairs = shapes.get(FREQUENCIES)
    if pairs is not None and len(pairs) == 1 and pairs[0]:
        sizes["n_heads"] = width // (2 * pairs[0])
    return sizes


def _check_frequencies(stored: Mapping[str, Stored], config: DiTConfig) -> None:
    """The saved rotary frequencies must be the constants that the network computes."""
    for name, tensor in stored.items():
        head = config.width // config.heads
        if tensor.shape != (head // 2,):
            raise CheckpointError(f"{tensor.file}: tensor {name!r} has shape {tensor.shape}, not {(head // 2,)}")
        expected = 10_000.0 ** -(torch.arange(0, head, 2, dtype=torch.float32) / head)
        found = load_tensors({name: tensor}, torch.device("cpu"))[name]
        # 16-bit files round them to three digits.
        if not torch.allclose(found, expected, rtol=1e-2):
            raise CheckpointError(f"{tensor.file}: its rotary frequencies are not those of the published networks")
