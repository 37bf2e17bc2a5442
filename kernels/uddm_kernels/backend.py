"""Which implementation of a kernel runs: the fused one where a GPU and Triton are there, else the one in torch."""

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from typing import Generic, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")

NAMES = ("chunked", "fused", "reference")
# What fused kernels read; they compute in float32.
FUSED_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
# Kernels that failed in this process: compiling anew, and failing anew, would take seconds a call.
_failed: set[str] = set()


def choose(*tensors: Tensor | None) -> str:
    """Name of the implementation for tensors like these: "fused" on CUDA and ROCm (torch calls both "cuda") with
    Triton, but for a network in float64, else "chunked"."""
    there = [tensor for tensor in tensors if tensor is not None]
    on_gpu = bool(there) and all(tensor.device.type == "cuda" for tensor in there)
    readable = all(tensor.dtype in FUSED_DTYPES for tensor in there if tensor.is_floating_point())
    return "fused" if on_gpu and readable and _has_triton() else "chunked"


def check(name: str | None, device: torch.device) -> None:
    """Raise ValueError unless the implementation `name` (None: the best there is) can run on the device."""
    if name is not None and name not in NAMES:
        raise ValueError(f"the kernels' backends are {', '.join(NAMES)}, not {name!r}")
    if name == "fused" and device.type != "cuda":
        raise ValueError(f"fused kernels run on CUDA and ROCm devices, not on {device}")
    if name == "fused" and not _has_triton():
        raise ValueError("fused kernels need Triton, the extra `triton`")


def in_use(*tensors: Tensor | None, backend: str | None = None) -> str:
    """What `choose` says, or `backend` if that is given, and whether some of its kernels had to be replaced."""
    name = backend or choose(*tensors)
    return f"{name}, chunked {' and '.join(sorted(_failed))}" if name == "fused" and _failed else name


class Kernel(Generic[P, T]):
    """The implementations of one kernel, functions of one name in the folder `uddm_kernels/<name>`."""

    def __init__(self, name: str, chunked: Callable[P, T], reference: Callable[P, T]) -> None:
        self.name = name
        self.chunked = chunked
        self.reference = reference

    def fused(self, *args: P.args, **kwargs: P.kwargs) -> T:
        """The Triton implementation, imported when it is first needed: Triton takes a second, and is an extra."""
        module = importlib.import_module(f"uddm_kernels.{self.name}.fused")
        out: T = getattr(module, self.chunked.__name__)(*args, **kwargs)
        return out

    def run(self, backend: str, automatic: bool, /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run the implementation named `backend`. Where it was chosen and not asked for (`automatic`), "chunked"
        stands in for a fused one that cannot be compiled here, with one warning a process.

        Raises ValueError on an unknown name. Refused arguments and lack of memory are the caller's and pass through.
        """
        if backend not in NAMES:
            raise ValueError(f"backend must be one of {', '.join(NAMES)}, not {backend!r}")
        if backend == "fused" and automatic:
            return with_fallback(self.name, self.fused, self.chunked, *args, **kwargs)
        run: Callable[P, T] = getattr(self, backend)
        return run(*args, **kwargs)


def with_fallback(name: str, fused: Callable[P, T], chunked: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
    """`fused(...)`, or `chunked(...)` where the kernel `name` cannot be compiled here: one warning a process."""
    if name in _failed:
        return chunked(*args, **kwargs)
    try:
        return fused(*args, **kwargs)
    except (ValueError, FloatingPointError, torch.OutOfMemoryError):
        raise
    # Triton, ptxas, the C compiler that builds the launcher and the driver share no base class of errors.
    except Exception as error:
        if "out of memory" in str(error).lower():  # the driver's, which Triton reports as it can
            raise
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
