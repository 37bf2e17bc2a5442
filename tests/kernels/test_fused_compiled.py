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


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("arch", SHARED_BYTES)
def test_row_statistics_keep_everything_in_registers(binaries, arch, dtype, record_property):
    ours = [record for record in binaries if (record["arch"], record["dtype"]) == (arch, dtype)]
    assert ours
    for record in ours:
        record_property(f"registers, {record['case']}", record["reg"])
        print(record)
        assert record["stack"] == record["local"] == 0, record
        assert record["shared"] <= SHARED_BYTES[arch], record
        assert 0 < record["reg"] <= REGISTERS, record
