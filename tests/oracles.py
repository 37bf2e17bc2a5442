"""Reads the DUO oracle: tensors out of a Lightning checkpoint, with everything that is no tensor left inert."""

import collections
import pickle
from pathlib import Path

import numpy as np
import torch

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import LogLinear
from audit_cli.models.dit import DiT, DiTConfig

DUO = Path(__file__).parent / "data" / "oracles" / "duo"
TIMES = (1e-5, 0.05, 0.25, 0.5, 1.0)


class _Inert:
    def __init__(self, *args, **kwargs):
        pass

    def __setstate__(self, state):
        pass

    def __setitem__(self, key, value):
        pass


class Unpickler(pickle.Unpickler):
    def find_class(self, module, name):
        if module == "torch._utils" or (module == "torch" and name.endswith("Storage")):
            return getattr(torch._utils if module == "torch._utils" else torch, name)
        plain = {"OrderedDict": collections.OrderedDict, "dict": dict, "set": set, "list": list}
        return plain.get(name, type(name, (_Inert,), {}))


def duo_weights(which):
    """Raw or averaged weights of the oracle by name, without prefix."""
    checkpoint = torch.load(
        DUO / "lm1b-oracle.ckpt", map_location="cpu", weights_only=False, pickle_module=_PickleModule
    )
    raw = {
        name.removeprefix("backbone."): tensor
        for name, tensor in checkpoint["state_dict"].items()
        if not name.endswith("inv_freq")
    }
    if which == "raw":
        return raw
    return dict(zip(raw, checkpoint["ema"]["shadow_params"], strict=True))


class _PickleModule:
    Unpickler = Unpickler
    __name__ = "inert"

    @staticmethod
    def load(file, **options):
        return Unpickler(file, **options).load()


def duo_denoiser(which):
    """The oracle's network as a denoiser: 32 wide, 4 heads, 2 blocks, L = 16."""
    weights = duo_weights(which)
    vocab, width = weights["vocab_embed.embedding"].shape
    config = DiTConfig(vocab, 16, width, layers=2, heads=4, condition_width=16)
    network = DiT(config)
    network.load_state_dict(weights)
    return NetworkDenoiser(network, LogLinear(), Law.LEAVE_ONE_OUT)


def duo_numbers(which):
    return np.load(DUO / f"{which}.npz")
