"""The forward process: each position keeps its token with probability alpha, else takes a uniform one."""

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel, choose
from uddm_kernels.corrupt import chunked, reference

__all__ = ["corrupt"]

KERNEL = Kernel("corrupt", chunked.corrupt, reference.corrupt)


def corrupt(
    tokens: Int64[Tensor, "*shape"],
    level: Float64[Tensor, "*shape"],
    u: Float64[Tensor, "*shape"],
    v: Float64[Tensor, "*shape"],
    noise_tokens: Int64[Tensor, " support"],
    free: Bool[Tensor, "*shape"] | None = None,
    backend: str | None = None,
) -> Int64[Tensor, "*shape"]:
    """Redraw the positions with u < level from `noise_tokens`, by v; positions where `free` is false stay.

    u and v are uniforms in [0, 1). v does not depend on the level, so with the same numbers a higher level corrupts
    a superset of positions, with the same tokens. `backend` is as in `logit_stats`. Raises ValueError on an empty noise
    support and on tensors of several devices.
    """
    if noise_tokens.ndim != 1 or noise_tokens.shape[0] == 0:
        raise ValueError("noise_tokens must be a non-empty vector of token ids")
    free = torch.ones_like(tokens, dtype=torch.bool) if free is None else free
    if len({x.device for x in (tokens, level, u, v, noise_tokens, free)}) > 1:
        raise ValueError("tokens, levels, numbers, noise tokens and free positions must be on one device")
    return KERNEL.run(backend or choose(tokens), backend is None, tokens, level, u, v, noise_tokens, free)
