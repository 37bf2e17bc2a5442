"""The forward process in one pass. Import it only where Triton is wanted."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512


def corrupt(tokens: Tensor, level: Tensor, u: Tensor, v: Tensor, noise_tokens: Tensor, free: Tensor) -> Tensor:
    """See `uddm_kernels.corrupt.corrupt`. Raises ValueError on a device without Triton."""
    if tokens.device.type != "cuda" and isinstance(_corrupt_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the tokens are on {tokens.device}")
    out = torch.empty_like(tokens, memory_format=torch.contiguous_format)
    if tokens.numel():
        with torch.cuda.device_of(tokens):
            _corrupt_kernel[(triton.cdiv(tokens.numel(), BLOCK),)](
                *(x.expand(tokens.shape).contiguous() for x in (tokens, level, u, v, free)),
                noise_tokens.contiguous(),
                out,
                tokens.numel(),
                noise_tokens.shape[0],
                BLOCK,
                num_warps=4,
                enable_fp_fusion=True,
            )
    return out


@triton.jit(do_not_specialize=["count", "support"])
def _corrupt_kernel(tokens, level, u, v, free, noise_tokens, out, count, support, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    token = tl.load(tokens + at, mask=inside, other=0)
    moves = tl.load(u + at, mask=inside, other=1.0) < tl.load(level + at, mask=inside, other=0.0)
    moves = moves & (tl.load(free + at, mask=inside, other=0) != 0)
    which = (tl.load(v + at, mask=inside, other=0.0) * support).to(tl.int64)
    drawn = tl.load(noise_tokens + which, mask=inside & moves, other=0)
    tl.store(out + at, tl.where(moves, drawn, token), mask=inside)
