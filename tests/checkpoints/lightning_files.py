"""Small Lightning files, as torch writes them and as torch never would."""

import collections
import io
import struct
import zipfile
from pathlib import Path

import torch

from audit_cli.models.dit import DiT, DiTConfig
from tests.oracles import DUO

ORACLE = DUO / "lm1b-oracle.ckpt"
SIZES = DiTConfig(vocab_size=12, max_length=8, width=16, layers=2, heads=2, condition_width=8)


def configuration(**changes):
    """A DUO configuration as plain values; `model__length=None` leaves a field out."""
    config = {
        "algo": {"name": "duo_base", "backbone": "dit", "parameterization": "mean", "time_conditioning": True},
        "model": {"hidden_size": 16, "cond_dim": 8, "n_blocks": 2, "n_heads": 2, "length": 8},
        "noise": {"type": "log-linear", "eps": 1e-3},
        "training": {"sampling_eps": 2e-3},
    }
    for dotted, value in changes.items():
        place = config
        *path, last = dotted.split("__")
        for part in path:
            place = place.setdefault(part, {})
        place[last] = value
        if value is None:
            del place[last]
    return config


def weights(seed=0, sizes=SIZES):
    torch.manual_seed(seed)
    return collections.OrderedDict((name, torch.randn(p.shape)) for name, p in DiT(sizes).state_dict().items())


def checkpoint(config=None, prefix="backbone.", dtype=torch.float32, heads=2, **parts):
    """What Lightning saves: raw weights of seed 0, EMA of seed 1, moments that nobody should read."""
    raw, average = weights(0), weights(1)
    state = collections.OrderedDict((prefix + name, tensor.to(dtype)) for name, tensor in raw.items())
    if heads:
        half = 16 // heads // 2
        state[prefix + "rotary_emb.inv_freq"] = 10_000.0 ** -(torch.arange(half) / half)
    nan = torch.full((200_000,), float("nan"))
    return {
        "epoch": 0,
        "pytorch-lightning_version": "2.6.0",
        "state_dict": state,
        "optimizer_states": [{"state": {0: {"exp_avg": nan, "exp_avg_sq": nan.clone()}}}],
        "hyper_parameters": {"config": configuration() if config is None else config, "vocab_size": None},
        "ema": {"decay": 0.9999, "num_updates": 3, "shadow_params": [t.to(dtype) for t in average.values()]},
        **parts,
    }


def saved(path, *args, **kwargs):
    torch.save(checkpoint(*args, **kwargs), path)
    return path


def members(path=ORACLE):
    """The members of a torch zip by name, in their order."""
    with zipfile.ZipFile(path) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}


def rewritten(path, changed, compression=zipfile.ZIP_STORED):
    """A zip with these members, (name, bytes) in their order, which may be there twice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in changed:
            archive.writestr(zipfile.ZipInfo(name), content, compression)
    path.write_bytes(buffer.getvalue())
    return path


def with_pickle(path, program, of=ORACLE):
    """The oracle's archive with another `data.pkl`."""
    parts = members(of)
    name = next(name for name in parts if name.endswith("/data.pkl"))
    return rewritten(path, [*{**parts, name: program}.items()])


def pickle_of(path=ORACLE):
    return next(content for name, content in members(path).items() if name.endswith("/data.pkl"))


def patched(path, content, at, new):
    path.write_bytes(content[:at] + new + content[at + len(new) :])
    return path


def directory_entries(content):
    """Offsets of the entries of the central directory, and of the end record."""
    end = content.rindex(b"PK\x05\x06")
    start = struct.unpack_from("<I", content, end + 16)[0]
    entries = []
    while content[start : start + 4] == b"PK\x01\x02":
        entries.append(start)
        start += 46 + sum(struct.unpack_from("<3H", content, start + 28))
    return entries, end


def small(path):
    return Path(rewritten(path, [("a/data.pkl", b"N."), ("a/byteorder", b"little"), ("a/data/0", b"\0" * 64)]))
