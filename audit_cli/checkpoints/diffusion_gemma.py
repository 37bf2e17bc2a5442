"""DiffusionGemma (google/diffusiongemma-26B-A4B-it): blocks of text under a prompt, through transformers' own class.

A causal encoder reads the prompt and the blocks before; a bidirectional decoder denoises a canvas of 256 tokens whose
noise is uniform over the vocabulary. Training is cross-entropy at every position of a canvas with a share t of its
tokens redrawn, t uniform in (0, 1): the law is the posterior, the schedule linear. The network is not told of t.
"""

import copy
import importlib.util
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from uddm_kernels import LinearHead

from audit_cli.checkpoints.config_file import brief, read_json_object, real, whole
from audit_cli.checkpoints.diffusion_gemma_config import settings
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.family import Family, Request
from audit_cli.checkpoints.loaded import ENTROPY_BOUND, Layout, LoadedModel, Sampling
from audit_cli.checkpoints.safetensors_files import (
    FLOATS,
    INDEX,
    SINGLE,
    Stored,
    load_tensors,
    stored_tensors,
    tensors_sha256,
)
from audit_cli.checkpoints.tokenizer_files import model_tokenizer
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.entropy_bound import EntropyBound
from audit_cli.diffusion.schedules import Linear, Schedule
from audit_cli.records import ModelInfo

CLASS = "DiffusionGemmaForBlockDiffusion"
TOWER: dict[str, Any] = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
TOWER |= {"num_key_value_heads": 1, "head_dim": 8, "position_embedding_size": 4}
# Above every level of Python's logging: what transformers says quotes the file.
SILENT = 100
# The head may be padded to a round number.
SPARE_ROWS = 1023
# Pictures are no part of a text audit.
UNUSED = ("model.encoder.vision_tower.", "model.encoder.embed_vision.")
# The embeddings, under whichever of their names: their type is that of the network.
TABLE = "embed_tokens.weight"
MOST_STEPS = 10_000
# The network is told nothing of time.
T_ANY = torch.zeros(1, dtype=torch.float64)
# Where accelerate puts the network under `--device auto`.
PLACEMENT: Any = "auto"


class DiffusionGemmaDenoiser:
    """The decoder over the encoder's cache of a prompt. Without a prompt the encoder reads the first token alone."""

    law = Law.POSTERIOR
    # `hidden` is: only the entropy-bound loop, through `hidden_after`, hands a prediction on to the next step.
    stateless = True

    def __init__(self, network: Any, first_token: int) -> None:
        self.network = network.eval().requires_grad_(False)
        text = network.config.text_config
        self.first_token = first_token
        self.schedule: Schedule = Linear()
        self.vocab_size = text.vocab_size
        self.max_length = network.config.canvas_length
        self.head = LinearHead(network.lm_head.weight, soft_cap=network.final_logit_softcapping)
        self.device = network.lm_head.weight.device
        self.noise_tokens = torch.arange(self.vocab_size, device=self.device)
        self._decoder = network.model.decoder
        self._unprompted: Any = None

    @torch.inference_mode()
    def prepare(self, prompt: Tensor | None) -> Any:
        """The encoder's keys and values of a prompt, which begins with the first token whether it says so or not."""
        from transformers import DynamicCache

        first = torch.tensor([self.first_token], device=self.device)
        tokens = first if prompt is None else prompt
        if prompt is not None and (not len(prompt) or int(prompt[0]) != self.first_token):
            tokens = torch.cat([first, prompt])
        cache = DynamicCache(config=self.network.config.get_text_config(decoder=True))
        self.network.model.encoder(input_ids=tokens[None], past_key_values=cache)
        return cache, len(tokens)

    def hidden(self, tokens: Tensor, t: Tensor, context: Any = None) -> Tensor:
        return self._decode(tokens, context)

    def hidden_after(self, tokens: Tensor, t: Tensor, soft: Tensor, context: Any = None) -> Tensor:
        """`hidden` after a step that predicted `soft`."""
        # The class takes all logits of the last step instead, a tensor of the size of the vocabulary a position.
        hook = self._decoder.self_conditioning.register_forward_pre_hook(
            lambda _, given: (given[0], soft.to(given[0].dtype))
        )
        try:
            return self._decode(tokens, context)
        finally:
            hook.remove()

    @torch.inference_mode()
    def soften(self, probabilities: Tensor) -> Tensor:
        """Σ_v p_v E_v, scaled as the network's embeddings are."""
        table = self._decoder.embed_tokens
        out: Tensor = probabilities.to(table.weight.dtype) @ table.weight
        return out * table.embed_scale.to(table.weight.dtype)

    @torch.inference_mode()
    def _decode(self, tokens: Tensor, context: Any) -> Tensor:
        if context is None:
            self._unprompted = self._unprompted or self.prepare(None)
            context = self._unprompted
        cache, length = context
        rows = copy.copy(cache)
        rows.layers = [_for_rows(layer, len(tokens)) for layer in cache.layers]
        positions = torch.arange(length, length + tokens.shape[1], device=self.device)[None]
        out: Tensor = self._decoder(
            decoder_input_ids=tokens, past_key_values=rows, decoder_position_ids=positions
        ).last_hidden_state
        # Spread over devices, the last layer may be on another one than the head.
        return out.to(self.device)


def _for_rows(layer: Any, rows: int) -> Any:
    """The keys and values of one prompt, seen by so many rows."""
    out = copy.copy(layer)
    out.keys, out.values = (kept.expand(rows, -1, -1, -1) for kept in (layer.keys, layer.values))
    return out


def check_diffusion_gemma(request: Request) -> None:
    """Raise CheckpointError at a configuration that is damaged, quantised, or larger than anything published."""
    settings(request)


def load_diffusion_gemma(request: Request) -> LoadedModel:
    """Load a DiffusionGemma folder. Raises CheckpointError."""
    weights = request.one_set_of_weights("published")
    network, tensors = _network(request)
    text = network.config.text_config
    first = text.bos_token_id
    if type(first) is not int or not 0 <= first < text.vocab_size:
        raise CheckpointError(f"{request.config_file}: bos_token_id must be a token, not {brief(first)}")
    tokenizer, source = model_tokenizer(request.folder, request.tokenizer, text.vocab_size, SPARE_ROWS)
    denoiser = DiffusionGemmaDenoiser(network, first)
    try:
        denoiser.head.logits(denoiser.hidden(torch.zeros(1, 1, dtype=torch.int64, device=denoiser.device), T_ANY)[0])
    except Exception as error:
        raise CheckpointError(f"{request.config_file}: the network does not run ({_said(error)})") from None
    canvas = denoiser.max_length
    info = ModelInfo(
        name=request.name,
        family="diffusion_gemma",
        parameters=sum(t.numel() for t in tensors.values()),
        vocab_size=denoiser.vocab_size,
        max_length=canvas,
        schedule=denoiser.schedule.name,
        law=str(denoiser.law),
        rows=f"blocks of up to {canvas} after a prompt",
        weights=weights,
        weights_sha256=tensors_sha256(tensors),
        tokenizer=source,
        tokenizer_sha256=None if tokenizer is None else tokenizer.sha256(),
        backbone="transformers",
        precision=str(network.dtype).removeprefix("torch."),
    )
    sampling = Sampling(ENTROPY_BOUND, entropy_bound=_loop(request))
    layout = Layout(canvas, beside=text.max_position_embeddings - canvas - 1)
    return LoadedModel(denoiser, tokenizer, layout, info, sampling)


def _network(request: Request) -> tuple[Any, dict[str, Tensor]]:
    """The network of text, and its stored tensors. Raises CheckpointError."""
    stored = {n: tensor for n, tensor in stored_tensors(request.folder).items() if not n.startswith(UNUSED)}
    names = _check(request, stored)
    given = load_tensors(stored, torch.device("cpu"), request.dtype)
    for among in names:
        first, *others = (name for name in among if name in given)
        if any(not torch.equal(given[first], given[name]) for name in others):
            raise CheckpointError(f"{request.folder}: {brief(first)} and {brief(others[0])} are one tensor, and differ")
    dtype = request.dtype or next((t.dtype for name, t in given.items() if name.endswith(TABLE)), torch.float32)
    network = _spread(request, stored, dtype) if request.spread and _has_accelerate() else _plain(request, given, dtype)
    if network.lm_head.weight.device.type == "meta":
        raise CheckpointError(f"{request.folder}: its head does not fit on a device; give --device cpu")
    return network, given


def _plain(request: Request, given: dict[str, Tensor], dtype: torch.dtype) -> Any:
    """The network on one device. Of the folder the class sees nothing but its configuration and these tensors."""
    return _built(request, dtype, None, state_dict=given).to(request.device)


def _spread(request: Request, stored: Mapping[str, Stored], dtype: torch.dtype) -> Any:
    """The network over all devices, what fits on none in memory and what does not fit there read from disk."""
    # The class follows other files of a folder that it is given: adapters, settings of generation. Here it has none.
    folder = tempfile.TemporaryDirectory(prefix="uddm-audit-")
    files = sorted({tensor.file for tensor in stored.values()})
    for file in files:
        (Path(folder.name) / file.name).symlink_to(file.resolve())
    if [file.name for file in files] != [SINGLE]:
        index = {"metadata": {}, "weight_map": {name: tensor.file.name for name, tensor in stored.items()}}
        (Path(folder.name) / INDEX).write_text(json.dumps(index))
    offloaded = Path(folder.name) / "offloaded"
    network = _built(
        request,
        dtype,
        folder.name,
        device_map=PLACEMENT,
        offload_folder=str(offloaded),
        use_safetensors=True,
        local_files_only=True,
        # Those of pictures are another tower's; `_built` looks at the rest.
        ignore_mismatched_sizes=True,
    )
    # What is read from disk is read through these links.
    network.uddm_audit_files = folder
    return network


def _has_accelerate() -> bool:
    return importlib.util.find_spec("accelerate") is not None


def _built(request: Request, dtype: torch.dtype, path: str | None, **how: Any) -> Any:
    """What the class makes of it, nothing of it drawn at random. Raises CheckpointError."""
    cls, config = _class(request)
    try:
        network, told = cls.from_pretrained(
            path, config=config, dtype=dtype, trust_remote_code=False, output_loading_info=True, **how
        )
    except Exception as error:
        raise CheckpointError(f"{request.folder}: transformers cannot load it ({_said(error)})") from None
    lacking = [*told["missing_keys"], *(odd if isinstance(odd, str) else odd[0] for odd in told["mismatched_keys"])]
    odd = next((name for name in lacking if not name.startswith(UNUSED)), None)
    if odd is not None:
        raise CheckpointError(f"{request.folder}: tensor {brief(odd)} is missing or of another shape")
    return network


def _check(request: Request, stored: Mapping[str, Stored]) -> list[list[str]]:
    """The names that each tensor of the network goes by.

    Raises CheckpointError unless the files hold every one of them, in its shape and in floating point.
    """
    cls, config = _class(request)
    try:
        with torch.device("meta"):
            network = cls(config)
    except Exception as error:
        raise CheckpointError(f"{request.config_file}: no such network ({_said(error)})") from None
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    for name, tensor in stored.items():
        if name in shapes and tensor.shape != shapes[name]:
            raise CheckpointError(
                f"{tensor.file}: tensor {brief(name)} has shape {tensor.shape}, and the config says {shapes[name]}"
            )
        if tensor.dtype not in FLOATS:
            raise CheckpointError(
                f"{tensor.file}: tensor {brief(name)} has type {tensor.dtype}: quantised weights are not audited"
            )
    # Encoder, decoder and head share weights: a tensor is there if it is under any of its names.
    names: dict[int, list[str]] = {}
    for name, tensor in network.state_dict(keep_vars=True).items():
        names.setdefault(id(tensor), []).append(name)
    wanted = [among for among in names.values() if not among[0].startswith(UNUSED)]
    missing = [among[-1] for among in wanted if not stored.keys() & set(among)]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise CheckpointError(f"{request.folder}: tensor {brief(min(missing))} is missing{more}")
    return wanted


def _class(request: Request) -> tuple[Any, Any]:
    """transformers' class, and its configuration with what makes the network of text alone. Raises CheckpointError."""
    try:
        from transformers import DiffusionGemmaConfig, DiffusionGemmaForBlockDiffusion, Gemma4VisionConfig
        from transformers.utils import logging
    except ImportError:
        raise CheckpointError(f"{request.name}: DiffusionGemma needs transformers 5.11 or newer") from None
    # What a person should know is in what this program says.
    logging.disable_progress_bar()
    logging.set_verbosity(SILENT)
    text, more = settings(request)
    try:
        # Pictures are never looked at: the smallest tower that the class takes stands in for the model's.
        config = DiffusionGemmaConfig(text_config=text, vision_config=Gemma4VisionConfig(**TOWER), **more)
        return DiffusionGemmaForBlockDiffusion, config
    except Exception as error:
        raise CheckpointError(f"{request.config_file}: no such network ({_said(error)})") from None


def _said(error: Exception) -> str:
    return brief(" ".join(str(error).split())[:200] or type(error).__name__)


def _loop(request: Request) -> EntropyBound:
    """The constants of its loop, from `generation_config.json` where they stand there. Raises CheckpointError."""
    file = request.folder / "generation_config.json"
    given = read_json_object(file) if file.is_file() else {}
    sampler = given.get("sampler_config")
    found = {"bound": sampler.get("entropy_bound") if isinstance(sampler, dict) else None}
    found |= {"t_min": given.get("t_min"), "t_max": given.get("t_max"), "confidence": given.get("confidence_threshold")}
    try:
        constants: dict[str, Any] = {key: real(found, key) for key, value in found.items() if value is not None}
        if given.get("max_denoising_steps") is not None:
            constants["steps"] = whole(given, "max_denoising_steps", MOST_STEPS)
        if given.get("stability_threshold") is not None:
            constants["stability"] = int(given["stability_threshold"])
        loop = EntropyBound(**constants)
        if not (0 < loop.t_min < loop.t_max and loop.bound > 0 and loop.confidence > 0 and loop.stability >= 0):
            raise ValueError("its temperatures and thresholds make no loop")
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file}: {error}") from None
    return loop


FAMILY = Family(
    "diffusion_gemma", check_diffusion_gemma, load_diffusion_gemma, ("diffusion_gemma",), (CLASS,), stored=True
)
