"""Philox-4x32-10 in Triton. Import it only where Triton is wanted."""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 512


def keyed_uniforms(key: Tensor, stream: Tensor, level: Tensor, step: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """See `uddm_kernels.philox.keyed_uniforms`. Raises ValueError on a device without Triton."""
    words = torch.broadcast_tensors(stream, level, step, position, key[..., 0], key[..., 1])
    device = words[0].device
    if device.type != "cuda" and isinstance(_uniforms_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the words are on {device}")
    out = torch.empty(2, *words[0].shape, dtype=torch.float64, device=device)
    count = words[0].numel()
    if count:
        with torch.cuda.device_of(out):
            _uniforms_kernel[(triton.cdiv(count, BLOCK),)](
                *(word.contiguous() for word in words), out[0], out[1], count, BLOCK, num_warps=4, enable_fp_fusion=True
            )
    return out[0], out[1]


@triton.jit(do_not_specialize=["count"])
def _uniforms_kernel(stream, level, step, position, key0, key1, u_out, v_out, count, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < count
    u, v = uniforms(
        tl.load(stream + at, mask=inside, other=0),
        tl.load(level + at, mask=inside, other=0),
        tl.load(step + at, mask=inside, other=0),
        tl.load(position + at, mask=inside, other=0),
        tl.load(key0 + at, mask=inside, other=0),
        tl.load(key1 + at, mask=inside, other=0),
    )
    tl.store(u_out + at, u, mask=inside)
    tl.store(v_out + at, v, mask=inside)


@triton.jit
def uniforms(stream, level, step, position, key0, key1):
    """Two float64 uniforms in [0, 1) of 53 bits each, for words given as integers below 2**32."""
    c0 = stream.to(tl.uint32)
    c1 = level.to(tl.uint32)
    c2 = step.to(tl.uint32)
    c3 = position.to(tl.uint32)
    k0 = key0.to(tl.uint32)
    k1 = key1.to(tl.uint32)
    first = tl.full([], 0xD2511F53, tl.uint32)
    second = tl.full([], 0xCD9E8D57, tl.uint32)
    for _ in tl.static_range(10):
        high0 = tl.umulhi(first, c0)
        high1 = tl.umulhi(second, c2)
        low0 = first * c0
        low1 = second * c2
        c0 = high1 ^ c1 ^ k0
        c2 = high0 ^ c3 ^ k1
        c1 = low1
        c3 = low0
        k0 += 0x9E3779B9
        k1 += 0xBB67AE85
    return _uniform53(c0, c1), _uniform53(c2, c3)


@triton.jit
def _uniform53(high, low):
    bits = (high >> 5).to(tl.int64) * 67108864 + (low >> 6).to(tl.int64)
    # 2**-53, a product that rounds nothing.
    return bits.to(tl.float64) * 1.1102230246251565e-16
