"""Peak memory of one call, in a process of its own: `python -m benchmarks.memory '<workload as JSON>' <name>`."""

import json
import resource
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.workloads import Kind, Workload


def peak_mib(workload: Workload, name: str) -> float:
    """MiB that the call `name` of a workload takes above its inputs, from a fresh process.

    Call it before this process grows: a child's peak starts at its parent's.
    """
    command = [sys.executable, "-m", "benchmarks.memory", json.dumps(asdict(workload)), name]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"measuring the memory of {name} failed:\n{done.stderr}")
    return float(done.stdout)


def _peak_now_mib() -> float:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _measure(workload: Workload, name: str) -> float:
    call = workload.calls()[name]
    torch.rand(64, 64) @ torch.rand(64, 64)  # starts the threads
    before = _peak_now_mib()
    call()
    return _peak_now_mib() - before


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    print(_measure(Workload(**{**fields, "kind": Kind(fields["kind"])}), sys.argv[2]))
