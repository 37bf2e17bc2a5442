"""Which implementation of a kernel runs, and what happens where the fused one cannot."""

import importlib
import subprocess
import sys
import warnings

import pytest
import torch
from uddm_kernels import backend, logit_stats

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(backend, "_failed", set())
    backend._has_triton.cache_clear()
    yield
    backend._has_triton.cache_clear()


@pytest.mark.parametrize("installed", [True, False])
def test_fused_kernels_are_chosen_on_gpus_with_triton(monkeypatch, installed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    assert backend.choose(GPU) == ("fused" if installed else "chunked")
    assert backend.choose(GPU, torch.bfloat16) == backend.choose(GPU)
    assert backend.choose(GPU, torch.float64) == "chunked"
    assert backend.choose(CPU) == "chunked"


def broken(*_args, **_kwargs):
    raise RuntimeError("Failed to find C compiler")


def test_a_kernel_that_cannot_be_compiled_is_replaced_with_one_warning_a_process():
    with pytest.warns(RuntimeWarning, match="one.*RuntimeError: Failed to find C compiler"):
        assert backend.with_fallback("one", broken, int, "7") == 7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert backend.with_fallback("other", broken, int, "11", base=2) == 3
        assert backend.with_fallback("one", lambda x: pytest.fail("compiled again"), int, "8") == 8
        assert backend.with_fallback("third", int, broken, "9") == 9


@pytest.mark.parametrize("error", [ValueError, torch.OutOfMemoryError])
def test_refused_arguments_and_a_full_memory_are_not_compilers_faults(error):
    def fused(_x):
        raise error("no")

    with pytest.raises(error):
        backend.with_fallback("one", fused, int, "7")
    assert backend.with_fallback("one", int, broken, "7") == 7


def test_logit_stats_falls_back_and_its_results_are_chunked_ones(monkeypatch):
    # By its dotted name, uddm_kernels.logit_stats is the function.
    module = importlib.import_module("uddm_kernels.logit_stats")
    monkeypatch.setattr(module, "choose", lambda device, dtype: "fused")
    monkeypatch.setattr(module, "_fused", broken)
    z, target = torch.randn(3, 5), torch.tensor([0, 1, 2])
    with pytest.warns(RuntimeWarning, match="logit_stats"):
        got = logit_stats(z, target)
    assert torch.equal(got.entropy, logit_stats(z, target, backend="chunked").entropy)


@pytest.mark.usefixtures("triton_installed")
def test_a_compiled_kernel_asked_for_by_name_refuses_tensors_on_a_cpu():
    with pytest.raises(ValueError, match="CUDA or ROCm"):
        logit_stats(torch.zeros(2, 5), backend="fused")


def test_nothing_imports_triton_unasked():
    code = (
        "import sys, torch; before = 'triton' in sys.modules; import uddm_kernels\n"
        "uddm_kernels.logit_stats(torch.zeros(2, 5))\n"
        "assert before or 'triton' not in sys.modules\n"
        "assert 'uddm_kernels.logit_stats.fused' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
