"""Compiles the fused kernels ahead of time and tells what they need; no GPU takes part. Run by test_fused_compiled.py.

python -m tests.kernels.compile_fused    prints one JSON line a target, dtype of the logits and case
"""

import itertools
import json
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel
from uddm_kernels.logit_stats import fused

TARGETS = {"sm_80": GPUTarget("cuda", 80, 32), "sm_90": GPUTarget("cuda", 90, 32)}
DTYPES = ("fp32", "fp16", "bf16")
WITHOUT_TOKENS = {"target": None, "current": None}
# (vocabulary, what the launcher makes constants of: None and the integer 1). Integers divisible by 16 are hinted at.
CASES = {
    "aligned": (32000, {}),
    "odd": (50257, {}),
    "aligned, no tokens": (32000, WITHOUT_TOKENS),
    "odd, no tokens": (50257, WITHOUT_TOKENS),
    "small": (257, {}),
    "one token": (1, {"vocab": 1, "stride": 1}),
}


def compiled(target: GPUTarget, dtype: str, vocab: int, constants: dict[str, int | None]) -> CompiledKernel:
    """The kernel as the launcher would compile it: without the hints of divisibility, loads are not vectorised."""
    kernel = fused._row_kernel
    tile, warps = fused._tile_and_warps(vocab)
    types = {"logits": f"*{dtype}", "target": "*i64", "current": "*i64", "reals": "*fp32", "ids": "*i64"}
    types |= dict.fromkeys(("rows", "vocab", "stride"), "i32")
    values = constants | {"TILE": tile}
    signature = {name: "constexpr" if name in values else types[name] for name in kernel.arg_names}
    hinted = [
        i
        for i, (name, kind) in enumerate(signature.items())
        if kind.startswith("*") or (name in ("vocab", "stride") and kind == "i32" and vocab % 16 == 0)
    ]
    source = ASTSource(kernel, signature, values, {(i,): [["tt.divisibility", 16]] for i in hinted})
    return triton.compile(source, target=target, options={"num_warps": warps, "enable_fp_fusion": True})


def usage(cubin: bytes) -> dict[str, int]:
    """Registers a thread, bytes of stack (where registers are spilt to) and of local memory, as the binary says."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        text = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {name.lower(): int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text)}


if __name__ == "__main__":
    for (arch, target), dtype, (case, given) in itertools.product(TARGETS.items(), DTYPES, CASES.items()):
        kernel = compiled(target, dtype, *given)
        record = {"arch": arch, "dtype": dtype, "case": case, "shared": kernel.metadata.shared}
        print(json.dumps(record | usage(kernel.asm["cubin"])), flush=True)
