"""Which positions of which trajectories may jump in which steps, known before any of them starts.

A position jumps in a step with at most the probability `uniform_step.jump_bound`, which needs no network. Its number u
is keyed, so whether it lies below that bound is known beforehand: only these events ever need a prediction, and steps
of a sequence without an event need no forward pass.
"""

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel, choose
from uddm_kernels.jump_events import chunked, reference
from uddm_kernels.jump_events.types import Events

__all__ = ["Events", "jump_events"]

KERNEL = Kernel("jump_events", chunked.jump_events, reference.jump_events)


def jump_events(
    key: Int64[Tensor, "rows 2"],
    stream: Int64[Tensor, " rows"],
    level: Int64[Tensor, " rows"],
    bound: Float64[Tensor, " steps"],
    free: Bool[Tensor, "rows length"],
    backend: str | None = None,
) -> Events:
    """All (row, step, position) with u < bound[step] at a position that is free, in that order, with their numbers.

    u and v are `keyed_uniforms` of the row's key, stream and level, the step and the position. Raises ValueError on
    shapes that do not fit and on tensors of several devices.
    """
    rows = free.shape[0]
    if free.ndim != 2 or key.shape != (rows, 2) or stream.shape != (rows,) or level.shape != (rows,):
        raise ValueError(f"{tuple(free.shape)} positions need keys ({rows}, 2) and a stream and a level a row")
    if bound.ndim != 1 or bound.dtype != torch.float64:
        raise ValueError(f"bound must be float64 (steps,), got {bound.dtype} {tuple(bound.shape)}")
    if len({x.device for x in (key, stream, level, bound, free)}) > 1:
        raise ValueError("keys, streams, levels, bounds and positions must be on one device")
    return KERNEL.run(backend or choose(free), backend is None, key, stream, level, bound, free)
