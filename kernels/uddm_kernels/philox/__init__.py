"""Philox-4x32-10 (Salmon et al., SC 2011): random numbers that are a function of a key and a counter.

Because no state is carried, a number belongs to what it is for (this text, this restart, this step, this position)
and not to the order in which it is asked for. Batch size, device and resume cannot change it.
"""

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel, choose
from uddm_kernels.philox import chunked, reference
from uddm_kernels.philox.chunked import philox4x32

__all__ = ["keyed_uniforms", "philox4x32"]

KERNEL = Kernel("philox", chunked.keyed_uniforms, reference.keyed_uniforms)


def keyed_uniforms(
    key: Int64[Tensor, "... 2"],
    stream: Int64[Tensor, "..."],
    level: Int64[Tensor, "..."],
    step: Int64[Tensor, "..."],
    position: Int64[Tensor, "..."],
    backend: str | None = None,
) -> tuple[Float64[Tensor, "..."], Float64[Tensor, "..."]]:
    """Two independent 53-bit uniforms in [0, 1) for every (key, stream, level, step, position).

    All arguments broadcast against each other (`key` over its leading dimensions); words are int64 in [0, 2**32).
    `backend` is as in `logit_stats`. Raises ValueError on other dtypes and on tensors of several devices.
    """
    given = (key, stream, level, step, position)
    if any(x.dtype != torch.int64 for x in given):
        raise ValueError(f"keys and counters are int64 words, got {', '.join(str(x.dtype) for x in given)}")
    if len({x.device for x in given}) > 1:
        raise ValueError("keys and counters must be on one device")
    return KERNEL.run(backend or choose(*given), backend is None, *given)
