"""Compiles the fused kernels ahead of time and tells what they need; no GPU takes part. Run by test_fused_compiled.py.

python -m tests.kernels.compile_fused    prints one JSON line a kernel, target, dtype and case
"""

import itertools
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource, CompiledKernel
from uddm_kernels.combine import fused as combine
from uddm_kernels.corrupt import fused as corrupt
from uddm_kernels.jump_events import fused as jump_events
from uddm_kernels.linear_stats import fused as linear_stats
from uddm_kernels.linear_stats import fused_kernels
from uddm_kernels.logit_stats import fused as logit_stats
from uddm_kernels.philox import fused as philox
from uddm_kernels.uniform_step import fused as uniform_step

TARGETS = {"sm_80": GPUTarget("cuda", 80, 32), "sm_90": GPUTarget("cuda", 90, 32)}
TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"
# Types of arguments by name, where they are not the same in all kernels.
DOUBLES, LONGS = ("alpha_t", "alpha_s", "u", "v", "level", "bound"), ("target", "current", "tokens", "noise_tokens")
PARTS = ("best_out", "q_out", "t_out", "second_out", "best_token_out", "second_token_out")
COUNTS = ("before_target_out", "before_current_out")


@dataclass(frozen=True)
class Case:
    """A kernel with what the launcher would make constants of (None, 1, and its own), and the types of the rest."""

    name: str
    case: str
    dtype: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    warps: int
    stages: int = 3
    # Integers that are multiples of 16, as the launcher would find out: without, loads are not vectorised.
    even: tuple[str, ...] = ()
    more: dict[str, Any] = field(default_factory=dict)

    def compiled(self, target: GPUTarget) -> CompiledKernel:
        names = self.kernel.arg_names
        signature = {name: "constexpr" if name in self.constants else self.types[name] for name in names}
        aligned = {param.name for param in self.kernel.params if not param.do_not_specialize_on_alignment}
        pointers = {name for name in names if signature[name].startswith("*")} & aligned
        hinted = [i for i, name in enumerate(names) if name in pointers or name in self.even]
        values = {name: value for name, value in self.constants.items() if name in names}
        source = ASTSource(self.kernel, signature, values, {(i,): [["tt.divisibility", 16]] for i in hinted})
        options = {"num_warps": self.warps, "num_stages": self.stages, "enable_fp_fusion": True}
        return triton.compile(source, target=target, options=options)


def row_cases(dtype: str) -> Iterator[Case]:
    """logit_stats: vocabularies that divide into aligned loads and that do not, with and without tokens."""
    without = {"target": None, "current": None}
    for case, vocab, constants in [
        ("aligned", 32000, {}),
        ("odd", 50257, {}),
        ("aligned, no tokens", 32000, without),
        ("odd, no tokens", 50257, without),
        ("small", 257, {}),
        ("one token", 1, {"vocab": 1, "stride": 1}),
    ]:
        tile, warps = logit_stats._tile_and_warps(vocab)
        types = {"logits": f"*{dtype}", "target": "*i64", "current": "*i64", "reals": "*fp32", "ids": "*i64"}
        types |= dict.fromkeys(("rows", "vocab", "stride"), "i32")
        even = () if vocab % 16 else ("vocab", "stride")
        yield Case(
            "logit_stats", case, dtype, logit_stats._row_kernel, types, constants | {"TILE": tile}, warps, even=even
        )


def product_cases(dtype: str, arch: str) -> Iterator[Case]:
    """linear_stats and the masses of uniform_step, in every shape, from the plainest head to the fullest."""
    exact = dtype == "fp32"
    hopper = arch == "sm_90" and not exact
    for tokens, rows in ((0, 4096), (2, 4096), (2, 64), (None, 4096), (None, 64)):
        for descriptors, full in itertools.product((True, False) if hopper else (False,), (False, True)):
            shape = linear_stats.choose_shape(rows, not tokens and not full, exact, descriptors)
            if descriptors or rows > linear_stats.FEW_ROWS:
                for even in (True, False) if full and not descriptors else (True,):
                    what = "masses" if tokens is None else f"{tokens} tokens"
                    case = f"{what}, {rows} rows{', full head' if full else ''}{'' if even else ', odd width'}"
                    yield _product(dtype, case, shape, descriptors, tokens, full, even)
                    if exact and even:
                        # A network that computes in float32, and a head that is stored in 16 bits.
                        narrow = f"{case}, narrow head"
                        yield _product(dtype, narrow, shape, descriptors, tokens, full, even, "bf16")


def _product(
    dtype: str,
    case: str,
    shape: linear_stats.Shape,
    descriptors: bool,
    tokens: int | None,
    full: bool,
    even: bool,
    weight: str | None = None,
) -> Case:
    block = "tensordesc<{}[{}, {}]>"
    types = {
        "hidden": block.format(dtype, shape.rows, shape.channels) if descriptors else f"*{dtype}",
        "weight": block.format(dtype, shape.tokens, shape.channels) if descriptors else f"*{weight or dtype}",
        **{"bias": f"*{dtype}", "forbidden": "*i8", "scale": "fp32", "soft_cap": "fp32"},
        **dict.fromkeys(("target", "current"), "*i64"),
        **dict.fromkeys(("target_logit", "current_logit", "discount", "tile_best", "tile_mass"), "*fp32"),
        **dict.fromkeys(PARTS[:4], "*fp32"),
        **dict.fromkeys((*PARTS[4:], *COUNTS), "*i32"),
        **dict.fromkeys(("rows", "vocab", "width", "hidden_stride", "weight_stride"), "i32"),
    }
    absent = ["tile_best", "tile_mass"] if tokens is not None else [*PARTS, *COUNTS]
    if (tokens or 0) < 2:
        absent += ["target", "target_logit", "before_target_out"]
    if not tokens:
        absent += ["current_logit", "before_current_out"]
    if not full:
        absent += ["bias", "forbidden", "scale", "soft_cap", "discount"]
        absent += [] if tokens else ["current"]
    constants = dict.fromkeys(absent) | {
        **{"BM": shape.rows, "BN": shape.tokens, "BK": shape.channels, "SPAN": linear_stats.SPAN},
        **{"TILE": linear_stats.TILE if tokens is None else shape.together},
        **{"DESCRIPTORS": descriptors, "WIDEN": weight is not None, "EVEN": even, "PRECISION": linear_stats.PRECISION},
    }
    strides = ("width", "hidden_stride", "weight_stride") if even else ()
    kernel = fused_kernels.partials_kernel
    return Case("linear_stats", case, dtype, kernel, types, constants, shape.warps, shape.stages, strides, vars(shape))


def other_cases(dtype: str) -> Iterator[Case]:
    """The smaller kernels, each with everything that it can be given."""
    head = {"bias": f"*{dtype}", "forbidden": "*i8", "scale": "fp32", "soft_cap": "fp32"}
    sizes = dict.fromkeys(("rows", "vocab", "width", "hidden_stride", "weight_stride", "tiles", "support"), "i32")
    numbers = dict.fromkeys(DOUBLES, "*fp64") | dict.fromkeys(LONGS, "*i64")
    shared = {"hidden": f"*{dtype}", "weight": f"*{dtype}", **head, **sizes, **numbers, "discount": "*fp32"}
    exact = dtype == "fp32"
    yield Case(
        "own_logits", "full head", dtype, fused_kernels.own_kernel, shared | {"out": "*fp32"},
        {
            "BM": linear_stats.OWN_ROWS,
            "BK": linear_stats.EXACT.channels if exact else linear_stats.HOPPER.channels,
            "WIDEN": False,
            "EVEN": True,
            "PRECISION": linear_stats.PRECISION,
        },
        4, even=("width", "hidden_stride", "weight_stride"),
    )  # fmt: skip
    yield Case(
        "uniform_step", "full head", dtype, uniform_step._step_kernel,
        shared | {"own": "*fp32", "best": "*fp32", "mass": "*fp32", "is_noise": "*i8", "out": "*i64", "failed": "*i32"},
        {"TILE": linear_stats.TILE, "TILES": uniform_step.TILES, "CHANNELS": uniform_step.CHANNELS},
        4, even=("width", "hidden_stride", "weight_stride"),
    )  # fmt: skip


def keyed_cases() -> Iterator[Case]:
    """Those that read no floating point number of a network."""
    names = combine._combine_kernel.arg_names
    types = dict.fromkeys(names, "*fp32") | dict.fromkeys(("count", "rows"), "i32")
    types |= dict.fromkeys([name for name in names if "token_of" in name or "before" in name], "*i32")
    types |= dict.fromkeys(("target", "current", "ids"), "*i64")
    constants = {"SEVERAL": True, "ROWS": combine.ROWS}
    yield Case("combine", "two tokens", "", combine._combine_kernel, types, constants, combine.ROWS // 32)
    words = dict.fromkeys(philox._uniforms_kernel.arg_names, "*i64") | {
        "u_out": "*fp64",
        "v_out": "*fp64",
        "count": "i32",
    }
    yield Case("philox", "", "", philox._uniforms_kernel, words, {"BLOCK": philox.BLOCK}, 4)
    tokens = dict.fromkeys(("level", "u", "v"), "*fp64") | dict.fromkeys(("tokens", "noise_tokens", "out"), "*i64")
    tokens |= {"free": "*i1", "count": "i32", "support": "i32"}
    yield Case("corrupt", "", "", corrupt._corrupt_kernel, tokens, {"BLOCK": corrupt.BLOCK}, 4)
    events = dict.fromkeys(("key", "stream", "level", "count", "start", "position_out"), "*i64")
    events |= dict.fromkeys(("bound", "u_out", "v_out"), "*fp64") | {"free": "*i1", "steps": "i32", "length": "i32"}
    outputs = dict.fromkeys(("start", "position_out", "u_out", "v_out"))
    for case, constants in {"counts": outputs, "writes": {}}.items():
        constants = constants | {"BLOCK": jump_events.BLOCK}
        yield Case("jump_events", case, "", jump_events._events_kernel, events, constants, 4)


def usage(cubin: bytes) -> dict[str, int]:
    """Registers a thread, bytes of stack (where registers are spilt to) and of local memory, as the binary says; and
    how many matrix and copy instructions there are."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        told = _output(TOOLS / "cuobjdump", "-res-usage", file.name)
        code = _output(TOOLS / "nvdisasm", "-c", file.name)
    counts = {name.lower(): int(value) for name, value in re.findall(r"\b(REG|STACK|LOCAL):(\d+)", told)}
    return counts | {name: len(re.findall(rf"\b{name}\b", code)) for name in ("HGMMA", "HMMA", "UTMALDG")}


def _output(*command: object) -> str:
    return subprocess.run([str(x) for x in command], capture_output=True, text=True, check=True).stdout


def main() -> None:
    for arch, target in TARGETS.items():
        cases = list(keyed_cases())
        for dtype in ("fp32", "fp16", "bf16"):
            cases += row_cases(dtype)
            # What the two 16-bit types are compiled to differs in the name of the product only.
            if dtype != "fp16":
                cases += product_cases(dtype, arch)
                cases += other_cases(dtype)
        for case in cases:
            kernel = case.compiled(target)
            record = {"arch": arch, "kernel": case.name, "dtype": case.dtype, "case": case.case}
            record |= {"shape": case.more, "descriptors": case.constants.get("DESCRIPTORS")}
            record |= {"shared": kernel.metadata.shared}
            print(json.dumps(record | usage(kernel.asm["cubin"])), flush=True)


if __name__ == "__main__":
    main()
