"""Hub folders made on the spot: weights of an oracle or a fresh network, whole or in shards."""

import json

import torch
from safetensors.torch import load_file, save_file

from audit_cli.models.dit import DiT, DiTConfig
from tests.oracles import DUO

ORACLES = DUO.parent
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "under", "mat", "rug", "by", "##s", "##ed", "fox", "red", "old"]
WORDPIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, "new", "hat", "big", "sun"]


def oracle(name):
    """Configuration and tensors of an oracle's folder."""
    folder = ORACLES / name
    return json.loads((folder / "config.json").read_text()), load_file(folder / "model.safetensors")


def write_folder(folder, config, tensors, shards=1):
    """`config.json` and the weights, in `shards` files with an index if in more than one. Returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards == 1:
        save_file(tensors, folder / "model.safetensors")
        return folder
    names = sorted(tensors)
    weight_map = {}
    for k in range(shards):
        file = f"model-{k + 1:05d}-of-{shards:05d}.safetensors"
        part = names[k::shards]
        save_file({name: tensors[name] for name in part}, folder / file)
        weight_map |= dict.fromkeys(part, file)
    write_index(folder, weight_map)
    return folder


def write_index(folder, weight_map):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def random_dit(vocab, length, seed=0):
    """A small diffusion transformer whose head and modulations are not zero."""
    torch.manual_seed(seed)
    network = DiT(DiTConfig(vocab, length, 32, 1, 2, condition_width=16))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    return network


def dit_tensors(network, prefix="backbone."):
    """Its tensors under the published names, with the rotary frequencies that are saved beside them."""
    head = network.config.width // network.config.heads
    frequencies = 10_000.0 ** -(torch.arange(0, head, 2) / head)
    return {prefix + name: p.detach().clone() for name, p in network.state_dict().items()} | {
        prefix + "rotary_emb.inv_freq": frequencies
    }


def dit_config(network, **more):
    """The published configuration of such a network."""
    c = network.config
    return {
        "vocab_size": c.vocab_size,
        "model_length": c.max_length,
        "hidden_dim": c.width,
        "cond_dim": c.condition_width,
        "n_blocks": c.layers,
        "n_heads": c.heads,
    } | more


def udlm_folder(folder):
    """A tiny UDLM with a WordPiece vocabulary of a few words."""
    network = random_dit(len(WORDPIECES), 16)
    config = dit_config(network, model_type="udlm", architectures=["UDLM"], cfg=False, time_conditioning=True)
    write_folder(folder, config, dit_tensors(network))
    (folder / "vocab.txt").write_text("\n".join(WORDPIECES) + "\n")
    return folder
