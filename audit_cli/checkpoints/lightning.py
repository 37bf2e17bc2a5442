"""Lightning checkpoints of uniform-state diffusion transformers: DUO, the paper's fork, UDLM and rev_udm.

One layout (s-sahoo/duo@7c9b498 `trainer_base.py`, kuleshov-group/discrete-diffusion-guidance@edb0f8c `diffusion.py`,
samsongourevitch/rev_udm@45ff086 `lit_text_model.py`): `state_dict` holds the raw weights, `ema.shadow_params` their
moving average in the order of the parameters, `hyper_parameters` an omegaconf `config` and often the tokenizer. Sizes
are read from the tensors and must agree with the configuration. The file is read as data (`torch_zip`, `inert_pickle`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audit_cli.checkpoints.bert_vocabulary import pickled_tokenizer
from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.dit_folder import FREQUENCIES, LIMITS, sizes_of_tensors
from audit_cli.checkpoints.errors import CheckpointError, UnauditableModel
from audit_cli.checkpoints.inert_values import DamagedPickle, Inert, TensorRef, plain
from audit_cli.checkpoints.lightning_config import LightningConfig, read_lightning_config
from audit_cli.checkpoints.loaded import Layout, LoadedModel, Sampling, packed_layout
from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.checkpoints.safetensors_files import tensors_sha256
from audit_cli.checkpoints.tokenizer import PAD, TextTokenizer
from audit_cli.checkpoints.tokenizer_files import GPT2_SPECIAL, model_tokenizer
from audit_cli.checkpoints.torch_zip import TorchZip, open_torch_zip
from audit_cli.checkpoints.udlm import sentence_layout
from audit_cli.models.dense import types
from audit_cli.models.dit import DiT, DiTConfig
from audit_cli.records import ModelInfo

PREFIXES = ("diffusion.model.", "backbone.", "_orig_mod.", "module.")
# Of a teacher that a student was distilled from, of metrics, and constants.
LEFT_OUT = ("teacher", "metrics.", "train_metrics.", "valid_metrics.", "test_metrics.")
CONSTANTS = ("inv_freq", "limiting_distribution")
# The names that stand in the pickles that training writes: of classes, and of the few functions that build tensors.
ORDINARY = re.compile(
    r"builtins\.(dict|set|frozenset|list|tuple|int|long|float|complex|str|unicode|bytes|bytearray|bool|slice|object)"
    r"|_codecs\.encode|copyreg\._reconstructor|collections\.(OrderedDict|defaultdict|deque|Counter)|typing\.Any"
    r"|torch\.(\w+Storage|device|dtype|Size|Tensor|b?float\w*|half|double|u?int\w*|long|short|bool)"
    r"|torch\._utils\._rebuild_(tensor|tensor_v2|parameter)|torch\.storage\.(Typed|Untyped)Storage"
    r"|numpy\.(dtype|ndarray|_?core\.multiarray\.(scalar|_reconstruct))|argparse\.Namespace"
    r"|pathlib\.(Posix|Windows|Pure\w*)?Path"
    r"|(omegaconf|tokenizers|transformers|lightning|lightning_fabric|pytorch_lightning)(\.[a-z]\w*)*\.[A-Z]\w*"
)
WIDEST_MLP = 64
LONGEST_NAME = 512
# What begins and ends a packed row, and stands between its texts. With BERT's tokens training took the first id of
# the encoded end token, which is that of [CLS]: [SEP] never occurs in a row.
SEPARATORS = ("[CLS]", GPT2_SPECIAL)


def load_lightning(
    path: Path,
    weights: str | None,
    device: torch.device,
    tokenizer: Path | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> LoadedModel:
    """Load a Lightning file, its matrices as `dtype`. Raises CheckpointError, which names the file.

    `weights` is `raw`, `ema` or None, which takes the moving average where there is one. `tokenizer` is a
    `tokenizer.json`, a BERT `vocab.txt`, or a folder with one of them; without it the one in the file is taken, and
    where there is none the model has none.
    """
    archive = open_torch_zip(path)
    checkpoint = archive.pickled.value
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise CheckpointError(f"{path}: no Lightning checkpoint: it has no state_dict{_holds(checkpoint)}")
    hyper = _hyper_parameters(checkpoint)
    try:
        config = read_lightning_config(plain(hyper.get("config")))
    except (DamagedPickle, ValueError) as error:
        raise CheckpointError(f"{path}: {error}") from None
    raw, frequencies = _parameters(path, checkpoint["state_dict"])
    network = _network(archive, raw, frequencies, config)
    kind, refs = _chosen(path, checkpoint, raw, weights)
    _check_shapes(path, refs, network)
    vocab = network.config.vocab_size
    text_tokenizer, source = _tokenizer(path, hyper.get("tokenizer"), tokenizer, vocab, config)
    wanted = types(network, dtype) or {}
    tensors = {name: t.to(device, wanted.get(name)) for name, t in archive.tensors(refs).items()}
    sha256 = tensors_sha256(tensors)
    network.load_state_dict(tensors, assign=True)
    layout, rows = _layout(config, text_tokenizer)
    info = ModelInfo(
        name=str(path),
        family=config.family,
        parameters=sum(p.numel() for p in network.parameters()),
        vocab_size=vocab,
        max_length=config.length,
        schedule=config.schedule.name,
        law=str(config.law),
        rows=rows,
        weights=kind,
        weights_sha256=sha256,
        tokenizer=source,
        tokenizer_sha256=text_tokenizer.sha256() if text_tokenizer else None,
        backbone="dit",
    )
    denoiser = NetworkDenoiser(network, config.schedule, config.law)
    if config.noise_without_mask(vocab, text_tokenizer.size if text_tokenizer else None):
        denoiser.noise_tokens = denoiser.noise_tokens[:-1]
    # DUO's grid ends in a step that removes the last noise, UDLM's does not.
    sampling = Sampling(noise_removal=config.family != "udlm")
    return LoadedModel(denoiser, text_tokenizer, layout, info, sampling, _strange_names(archive))


def _strange_names(archive: TorchZip) -> tuple[str, ...]:
    """What is said of a pickle that names more than such files do: it ran nothing, but somebody put it there."""
    strange = sorted(name for name in archive.pickled.globals if not ORDINARY.fullmatch(name))
    if not strange:
        return ()
    more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
    return (f"its pickle names {', '.join(map(brief, strange[:3]))}{more}, which such files do not; nothing of it ran",)


def _layout(config: LightningConfig, tokenizer: TextTokenizer | None) -> tuple[Layout, str]:
    """How training laid a text into a row: between separators among others, or alone in a padded one."""
    if not config.packed:
        return sentence_layout(tokenizer, config.length)
    found = [piece for piece in SEPARATORS if tokenizer is not None and tokenizer.id_of(piece) is not None]
    if tokenizer is None or not found:
        return Layout(config.length), "packed"
    return packed_layout(config.length, tokenizer.id_of(found[0])), f"packed, text between two {found[0]}"


def _holds(checkpoint: object) -> str:
    if not isinstance(checkpoint, dict):
        return ""
    names = [key for key in checkpoint if isinstance(key, str)][:6]
    return f", but {', '.join(map(brief, names))}" if names else ", and nothing else with a name"


def _hyper_parameters(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """The arguments of the module: a plain dictionary, or a subclass of it that was left inert."""
    found = checkpoint.get("hyper_parameters")
    if isinstance(found, Inert):
        found = {key: value for key, value in found.pairs if isinstance(key, str)}
    return found if isinstance(found, dict) else {}


def _parameters(path: Path, state_dict: Mapping[Any, Any]) -> tuple[dict[str, TensorRef], TensorRef | None]:
    """The parameters of a `state_dict` in its order, by name without prefix, and the rotary frequencies."""
    named: dict[str, TensorRef] = {}
    frequencies = None
    for key, value in state_dict.items():
        # Names are taken apart piece by piece, which takes forever where they are made for it.
        if not isinstance(key, str) or len(key) > LONGEST_NAME:
            raise CheckpointError(f"{path}: something in its state_dict has no name, or one that is too long")
        name = _bare(key)
        if key.startswith(LEFT_OUT) or name.startswith(LEFT_OUT):
            continue
        if not isinstance(value, TensorRef):
            raise CheckpointError(f"{path}: {brief(key)} in its state_dict is no tensor")
        if name.endswith(CONSTANTS):
            frequencies = value if name == FREQUENCIES else frequencies
        elif name in named:
            raise CheckpointError(f"{path}: the tensor {brief(name)} is there twice")
        else:
            named[name] = value
    return named, frequencies


def _bare(name: str) -> str:
    """The name without the prefixes of Lightning, torch.compile and data parallelism, in whatever order they came."""
    found = True
    while found:
        found = False
        for prefix in PREFIXES:
            if name.startswith(prefix):
                name, found = name[len(prefix) :], True
    return name


def _network(
    archive: TorchZip, raw: Mapping[str, TensorRef], frequencies: TensorRef | None, config: LightningConfig
) -> DiT:
    """The network without weights, its sizes from the shapes. Raises CheckpointError where the config disagrees."""
    path = archive.path
    shapes = {name: ref.shape for name, ref in raw.items()}
    if frequencies is not None:
        shapes[FREQUENCIES] = frequencies.shape
    found = sizes_of_tensors(path, shapes)
    for field in ("hidden_dim", "cond_dim", "n_blocks", "n_heads"):
        said = config.sizes.get(field)
        if said is not None and found.setdefault(field, said) != said:
            raise CheckpointError(f"{path}: {field} is {brief(said)} in its config, and its tensors say {found[field]}")
    if "n_heads" not in found:
        raise CheckpointError(f"{path}: neither inv_freq nor model.n_heads says how many heads its attention has")
    found["model_length"] = config.length
    for field, most in (LIMITS | {"mlp_ratio": WIDEST_MLP}).items():
        if not 1 <= found[field] <= most:
            raise CheckpointError(f"{path}: {field} is {brief(found[field])}, and must be from 1 to {most}")
    try:
        sizes = DiTConfig(
            vocab_size=found["vocab_size"],
            max_length=found["model_length"],
            width=found["hidden_dim"],
            layers=found["n_blocks"],
            heads=found["n_heads"],
            mlp_ratio=found["mlp_ratio"],
            condition_width=found["cond_dim"],
        )
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None
    if sizes.vocab_size < 2:
        raise CheckpointError(f"{path}: its vocabulary has one token")
    _check_frequencies(archive, frequencies, sizes)
    with torch.device("meta"):
        return DiT(sizes)


def _check_frequencies(archive: TorchZip, ref: TensorRef | None, sizes: DiTConfig) -> None:
    """The rotary frequencies must be the constants that the network computes, for they are not loaded."""
    if ref is None:
        return
    head = sizes.width // sizes.heads
    if ref.shape != (head // 2,):
        raise CheckpointError(f"{archive.path}: inv_freq has shape {ref.shape}, and heads of {head} have {head // 2}")
    found = archive.tensors({"inv_freq": ref})["inv_freq"]
    usual = 10_000.0 ** -(torch.arange(0, head, 2) / head)
    # bfloat16 has three digits.
    if not torch.allclose(found, usual, rtol=1e-2, atol=0):
        raise UnauditableModel(f"{archive.path}: its rotary frequencies are not those of base 10,000")


def _chosen(
    path: Path, checkpoint: Mapping[str, Any], raw: dict[str, TensorRef], weights: str | None
) -> tuple[str, dict[str, TensorRef]]:
    """Which weights are read, and where they are."""
    ema = checkpoint.get("ema")
    if weights == "raw" or (weights is None and ema is None):
        return "raw", raw
    if ema is None:
        raise CheckpointError(f"{path}: there are no EMA weights in it; try --weights raw")
    shadow = ema.get("shadow_params") if isinstance(ema, dict) else None
    if not isinstance(shadow, list) or not all(isinstance(ref, TensorRef) for ref in shadow):
        raise CheckpointError(f"{path}: its EMA weights are no list of tensors; try --weights raw")
    if len(shadow) != len(raw):
        raise CheckpointError(
            f"{path}: {len(shadow)} EMA weights for {len(raw)} parameters: they cannot be told apart; try --weights raw"
        )
    for (name, own), ref in zip(raw.items(), shadow, strict=True):
        if own.shape != ref.shape:
            raise CheckpointError(
                f"{path}: the EMA weight in the place of {brief(name)} has shape {ref.shape}, and the parameter "
                f"{own.shape}; try --weights raw"
            )
    return "ema", dict(zip(raw, shadow, strict=True))


def _check_shapes(path: Path, refs: Mapping[str, TensorRef], network: DiT) -> None:
    expected: dict[str, Tensor] = network.state_dict()
    for what, odd in (
        ("is missing", expected.keys() - refs.keys()),
        ("does not belong", refs.keys() - expected.keys()),
    ):
        if odd:
            more = f" (and {len(odd) - 1} more)" if len(odd) > 1 else ""
            raise CheckpointError(f"{path}: tensor {brief(min(odd))} {what}{more}")
    for name, tensor in expected.items():
        if refs[name].shape != tuple(tensor.shape):
            raise CheckpointError(
                f"{path}: tensor {name!r} has shape {refs[name].shape}, and a network of its size {tuple(tensor.shape)}"
            )


def _tokenizer(
    path: Path, pickled: object, given: Path | None, vocab: int, config: LightningConfig
) -> tuple[TextTokenizer | None, str]:
    """The tokenizer that was given, else the one in the file, else none; and where it comes from.

    DUO appends a [PAD] to a tokenizer that has none, rev_udm a mask that stands for no text.
    """
    if given is not None:
        added = None if config.noise_skips_mask else PAD
        return model_tokenizer(path, given, vocab, spare=int(config.noise_skips_mask), added=added)
    try:
        found = pickled_tokenizer(pickled)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}; give one with --tokenizer") from None
    if found is None:
        return None, "none; texts must be given as input_ids"
    if not vocab - config.noise_skips_mask <= found.size <= vocab:
        raise CheckpointError(
            f"{path}: the tokenizer in it has {found.size} tokens and the network {vocab}: they do not belong "
            "together; give one with --tokenizer"
        )
    return found, "in the checkpoint"
