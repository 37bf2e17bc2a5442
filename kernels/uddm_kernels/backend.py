"""Which implementation of a kernel runs: the fused one where a GPU and Triton are there, else the one in torch."""

import functools
import importlib.util
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
T = TypeVar("T")

# What fused kernels read; they compute in float32.
FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Kernels that failed in this process: compiling anew, and failing anew, would take seconds a call.
_failed: set[str] = set()


def choose(device: torch.device, dtype: torch.dtype = torch.float32) -> str:
    """Name of the implementation: "fused" on CUDA and ROCm (torch calls both "cuda") with Triton, else "chunked"."""
    return "fused" if device.type == "cuda" and dtype in FUSED_DTYPES and _has_triton() else "chunked"


def with_fallback(name: str, fused: Callable[P, T], chunked: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`fused(...)`, or `chunked(...)` where the kernel `name` cannot be compiled here: one warning a process.

    Refused arguments (ValueError) and lack of memory are the caller's and pass through.
    """
    if name in _failed:
        return chunked(*args, **kwargs)
    try:
        return fused(*args, **kwargs)
    except (ValueError, torch.OutOfMemoryError):
        raise
    # Triton, ptxas, the C compiler that builds the launcher and the driver share no base class of errors.
    except Exception as error:
        if not _failed:
            warnings.warn(
                f"the fused kernel {name} does not run here, a slower one is used instead: "
                f"{type(error).__name__}: {error}",
                RuntimeWarning,
                stacklevel=3,
            )
        _failed.add(name)
    return chunked(*args, **kwargs)


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None
