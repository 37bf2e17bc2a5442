"""Candidates for a jump in two passes: how many there are in each step of each row, then what they are.

The numbers are computed twice, which takes less time than writing and reading them. Import it only where Triton is
wanted.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from uddm_kernels.jump_events.types import Events
from uddm_kernels.philox.fused import uniforms

BLOCK = 128


def jump_events(key: Tensor, stream: Tensor, level: Tensor, bound: Tensor, free: Tensor) -> Events:
    """See `uddm_kernels.jump_events.jump_events`. Raises ValueError on a device without Triton."""
    device = free.device
    if device.type != "cuda" and isinstance(_events_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the positions are on {device}")
    rows, length = free.shape
    steps = bound.shape[0]
    given = [x.contiguous() for x in (key, stream, level, bound, free)]
    options = {"BLOCK": BLOCK, "num_warps": 4, "enable_fp_fusion": True}
    count = torch.zeros(rows * steps, dtype=torch.int64, device=device)
    with torch.cuda.device_of(free):
        if rows * steps and length:
            _events_kernel[(rows * steps,)](*given, count, None, None, None, None, steps, length, **options)
        end = count.cumsum(0)
        # How much memory the events take has to be known here: the one time that the host waits.
        total = int(end[-1]) if rows * steps else 0
        position = torch.empty(total, dtype=torch.int64, device=device)
        numbers = torch.empty(2, total, dtype=torch.float64, device=device)
        if total:
            _events_kernel[(rows * steps,)](*given, count, end - count, position, *numbers, steps, length, **options)
    # As many copies of each (row, step) as it has events; told their number, this waits for nothing.
    of = torch.arange(rows * steps, device=device).repeat_interleave(count, output_size=total)
    steps = max(steps, 1)
    return Events(of // steps, of % steps, position, numbers[0], numbers[1])


@triton.jit(do_not_specialize=["steps", "length"])
def _events_kernel(
    key, stream, level, bound, free, count, start, position_out, u_out, v_out, steps, length, BLOCK: tl.constexpr
):
    """A program a (row, step): counts its candidates, or where their `start` is given, writes them from there on."""
    program = tl.program_id(0)
    row = program // steps
    step = program % steps
    most = tl.load(bound + step)
    words = tl.load(stream + row), tl.load(level + row), tl.load(key + 2 * row), tl.load(key + 2 * row + 1)
    found = tl.zeros([], tl.int64)
    for first in range(0, length, BLOCK):
        position = first + tl.arange(0, BLOCK)
        inside = position < length
        u, v = uniforms(words[0], words[1], step, position, words[2], words[3])
        may = tl.load(free + row.to(tl.int64) * length + position, mask=inside, other=0) != 0
        candidate = inside & may & (u < most)
        if start is not None:
            at = tl.load(start + program) + found + tl.cumsum(candidate.to(tl.int32), 0) - 1
            tl.store(position_out + at, position.to(tl.int64), mask=candidate)
            tl.store(u_out + at, u, mask=candidate)
            tl.store(v_out + at, v, mask=candidate)
        found += tl.sum(candidate.to(tl.int64), 0)
    if start is None:
        tl.store(count + program, found)
