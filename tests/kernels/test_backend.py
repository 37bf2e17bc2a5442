"""Which implementation of a kernel runs, and what happens where the fused one cannot."""

import importlib
import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest
import torch
from uddm_kernels import (
    LinearHead,
    Partials,
    backend,
    combine,
    corrupt,
    jump_events,
    keyed_uniforms,
    linear_stats,
    logit_stats,
    uniform_step,
)

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)


def like(device, dtype=torch.float32):
    """What the choice looks at of a tensor, which may be on a device that is not here."""
    return SimpleNamespace(device=device, dtype=dtype, is_floating_point=lambda: dtype.is_floating_point)


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    monkeypatch.setattr(backend, "_failed", set())
    backend._has_triton.cache_clear()
    yield
    backend._has_triton.cache_clear()


@pytest.mark.parametrize("installed", [True, False])
def test_fused_kernels_are_chosen_on_gpus_with_triton(monkeypatch, installed):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object() if installed else None)
    best = "fused" if installed else "chunked"
    assert backend.choose(like(GPU)) == backend.choose(like(GPU, torch.bfloat16), None) == best
    assert backend.choose(like(GPU, torch.int64)) == best
    assert backend.choose(like(GPU), like(GPU, torch.float64)) == "chunked"
    assert backend.choose(like(CPU)) == backend.choose(like(CPU), like(GPU)) == backend.choose(None) == "chunked"


def test_a_backend_that_cannot_run_is_refused_by_name(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"chunked, fused, reference, not 'fast'"):
        backend.check("fast", GPU)
    with pytest.raises(ValueError, match="not on cpu"):
        backend.check("fused", CPU)
    with pytest.raises(ValueError, match="Triton"):
        backend.check("fused", GPU)
    for name in (None, "chunked", "reference"):
        backend.check(name, CPU)
    with pytest.raises(ValueError, match="'fast'"):
        logit_stats(torch.zeros(2, 5), backend="fast")


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


def test_a_kernel_falls_back_with_the_results_of_chunked_and_says_so(monkeypatch):
    # By its dotted name, uddm_kernels.logit_stats is the function.
    module = importlib.import_module("uddm_kernels.logit_stats")
    monkeypatch.setattr(module, "choose", lambda *tensors: "fused")
    monkeypatch.setattr(module.KERNEL, "fused", broken)
    z, target = torch.randn(3, 5), torch.tensor([0, 1, 2])
    with pytest.warns(RuntimeWarning, match="logit_stats"):
        got = logit_stats(z, target)
    assert torch.equal(got.entropy, logit_stats(z, target, backend="chunked").entropy)
    assert backend.in_use(z, backend="fused") == "fused, chunked logit_stats"
    assert backend.in_use(z) == "chunked"
    # What was asked for by name is not replaced.
    with pytest.raises(RuntimeError, match="C compiler"):
        logit_stats(z, target, backend="fused")


@pytest.mark.usefixtures("triton_installed")
def test_a_compiled_kernel_asked_for_by_name_refuses_tensors_on_a_cpu():
    with pytest.raises(ValueError, match="CUDA or ROCm"):
        logit_stats(torch.zeros(2, 5), backend="fused")
    hidden, head = torch.zeros(2, 8), LinearHead(torch.zeros(5, 8), backend="fused")
    ids, numbers = torch.zeros(2, dtype=torch.int64), torch.full((4, 2), 0.5, dtype=torch.float64)
    numbers[1] = 0.7
    words = torch.zeros(2, 2, dtype=torch.int64)
    for call in (
        lambda: linear_stats(hidden, head),
        lambda: uniform_step(hidden, head, ids, *numbers, torch.arange(5)),
        lambda: keyed_uniforms(words, ids, ids, ids, ids, "fused"),
        lambda: jump_events(words, ids, ids, numbers[0], torch.ones(2, 3, dtype=torch.bool), "fused"),
        lambda: corrupt(ids, numbers[0], numbers[0], numbers[0], torch.arange(5), backend="fused"),
        lambda: combine(Partials.empty(1, 2, CPU, 5, False, False), backend="fused"),
    ):
        with pytest.raises(ValueError, match="CUDA or ROCm"):
            call()


def test_nothing_imports_triton_unasked():
    code = (
        "import sys, torch; before = 'triton' in sys.modules; import uddm_kernels\n"
        "uddm_kernels.logit_stats(torch.zeros(2, 5))\n"
        "assert before or 'triton' not in sys.modules\n"
        "assert 'uddm_kernels.logit_stats.fused' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
