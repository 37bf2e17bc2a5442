"""The fused kernels, compiled ahead of time for GPUs that are not here: what the binaries need of a multiprocessor."""

import json
import os
import subprocess
import sys

import pytest

from tests.kernels.test_fused_interpreted import ROOT

# Shared memory that a block may have, CUDA C++ Programming Guide, "Technical Specifications per Compute Capability".
SHARED_BYTES = {"sm_80": 163 * 1024, "sm_90": 227 * 1024}
# 65536 registers of a multiprocessor, shared by four programs of 256 threads.
REGISTERS = 64
KERNELS = {
    *("combine", "corrupt", "jump_events", "linear_stats", "logit_stats", "own_logits", "philox", "uniform_step"),
}


@pytest.fixture(scope="module")
def binaries(triton_installed, tmp_path_factory) -> list[dict]:
    """What compile_fused.py says of each binary. An interpreted kernel cannot be compiled: a process without."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.kernels.compile_fused"],
        cwd=ROOT,
        env={**environment, "TRITON_CACHE_DIR": str(tmp_path_factory.mktemp("triton"))},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("arch", SHARED_BYTES)
def test_every_kernel_keeps_its_numbers_in_registers_and_its_tiles_in_shared_memory(binaries, arch):
    ours = [record for record in binaries if record["arch"] == arch]
    assert {record["kernel"] for record in ours} == KERNELS
    for record in ours:
        # One variant of the product puts ten registers on the stack: float32 rows, a 16-bit head, ranks of two tokens.
        strained = record["case"] == "2 tokens, 4096 rows, narrow head" and arch == "sm_90"
        assert record["stack"] <= (40 if strained else 0) and record["local"] == 0, record
        assert record["shared"] <= SHARED_BYTES[arch], record
        assert 0 < record["reg"] <= 255, record


@pytest.mark.parametrize("arch", SHARED_BYTES)
def test_row_statistics_leave_room_for_four_programs(binaries, arch):
    ours = [record for record in binaries if (record["arch"], record["kernel"]) == (arch, "logit_stats")]
    assert len(ours) == 18
    assert max(record["reg"] for record in ours) <= REGISTERS


@pytest.mark.parametrize(("arch", "instruction"), [("sm_80", "HMMA"), ("sm_90", "HGMMA")])
@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_products_run_on_tensor_cores(binaries, dtype, arch, instruction):
    products = ("linear_stats", "own_logits")
    ours = [r for r in binaries if r["arch"] == arch and r["kernel"] in products and r["dtype"] == dtype]
    assert len(ours) > 5
    for record in ours:
        assert record[instruction] > 0, record
        # The copy engine moves whole tiles.
        assert (record["UTMALDG"] > 0) == bool(record["descriptors"]), record
