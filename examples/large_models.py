"""How long checkpoints of published sizes take to load, and how much memory: synthetic ones, with random weights.

python examples/large_models.py FOLDER            GIDD's 3B as a sharded bfloat16 folder (6.5 GB of disk)
python examples/large_models.py FOLDER --medium   the paper's 384 M as a Lightning file (6.2 GB of disk)

Each is written into FOLDER unless it is there, and loaded by a fresh process in float32 and in its own precision.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

from audit_cli.models.dit import DiT, DiTConfig
from audit_cli.models.gidd import Gidd, GiddConfig

SHARD_BYTES = 2 << 30
LOAD = """
import sys, time
import torch
from audit_cli.checkpoints import load_model
begun = time.monotonic()
model = load_model(sys.argv[1], dtype=getattr(torch, sys.argv[2]))
seconds = time.monotonic() - begun
facts = dict(line.split(":") for line in open("/proc/self/status") if line.startswith(("VmHWM", "RssAnon")))
own, peak = (int(facts[name].split()[0]) / 2**20 for name in ("RssAnon", "VmHWM"))
begun = time.monotonic()
model.denoiser.hidden(torch.zeros(1, 128, dtype=torch.int64), torch.full((1,), 0.5, dtype=torch.float64))
millions = model.info.parameters / 1e6
print(f"{millions:,.0f} M parameters as {model.info.precision}: loaded and hashed in {seconds:.1f} s,")
print(f"  {own:.1f} GiB of memory of its own, at most {peak:.1f} GiB resident with mapped files;")
print(f"  one forward pass of 128 tokens {time.monotonic() - begun:.1f} s")
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--medium", action="store_true", help="the Lightning file")
    given = parser.parse_args()
    where = given.folder / ("medium.ckpt" if given.medium else "gidd-3b")
    if not where.exists():
        (lightning if given.medium else gidd)(where)
    for dtype in ("float32", "bfloat16"):
        subprocess.run([sys.executable, "-c", LOAD, str(where), dtype], check=True)


def gidd(folder: Path) -> None:
    """Sizes of gidd-unif-3b."""
    folder.mkdir(parents=True)
    with torch.device("meta"):
        network = Gidd(GiddConfig(131_072, 2048, 3072, 19, 24, 4 * 3072))
    shard: dict[str, torch.Tensor] = {}
    shards: list[list[str]] = []
    for name, tensor in network.state_dict().items():
        shard[name] = (0.02 * torch.randn(tensor.shape)).bfloat16()
        if sum(2 * t.numel() for t in shard.values()) > SHARD_BYTES:
            shards.append(_write(folder, shard, len(shards)))
    shards.append(_write(folder, shard, len(shards)))
    weight_map = {}
    for number, names in enumerate(shards, start=1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        (folder / f"{number}.part").rename(folder / file)
        weight_map |= dict.fromkeys(names, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
    config = {
        "model_type": "gidd",
        "architectures": ["GiddForDiffusionLM"],
        "vocab_size": 131_072,
        "max_position_embeddings": 2048,
        "hidden_size": 3072,
        "num_hidden_layers": 19,
        "num_attention_heads": 24,
        "intermediate_size": 4 * 3072,
        "resid_scale": 4.0,
        "head_scaling": 512 / 3072,
        "attn_soft_cap": 30.0,
        "rope_theta": 10_000.0,
        "rms_norm_eps": 1e-6,
        "min_log_snr": -9.0,
        "max_log_snr": 9.0,
        "noise_type": 1000.0,
    }
    (folder / "config.json").write_text(json.dumps(config))


def _write(folder: Path, shard: dict[str, torch.Tensor], number: int) -> list[str]:
    names = list(shard)
    save_file(shard, folder / f"{number + 1}.part", metadata={"format": "pt"})
    shard.clear()
    return names


def lightning(file: Path) -> None:
    """Sizes of the paper's medium network, with a moving average and the optimizer's two moments."""
    file.parent.mkdir(parents=True, exist_ok=True)
    network = DiT(DiTConfig(30_522, 128, 1024, 24, 16))
    weights = {f"backbone.{name}": tensor for name, tensor in network.state_dict().items()}
    moments = [{"exp_avg": t.clone(), "exp_avg_sq": t.clone()} for t in weights.values()]
    config = {
        "algo": {"name": "duo", "backbone": "dit"},
        "noise": {"type": "log-linear", "eps": 1e-3},
        "model": {"length": 128, "hidden_size": 1024, "cond_dim": 128, "n_blocks": 24, "n_heads": 16},
        "data": {"tokenizer_name_or_path": "bert-base-uncased", "wrap": True},
    }
    torch.save(
        {
            "state_dict": weights,
            "ema": {"decay": 0.9999, "num_updates": 1, "shadow_params": [t.clone() for t in weights.values()]},
            "optimizer_states": [{"state": moments}],
            "hyper_parameters": {"config": config},
        },
        file,
    )


if __name__ == "__main__":
    main()
