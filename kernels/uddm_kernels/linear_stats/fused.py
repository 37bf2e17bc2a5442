"""Head and row statistics in one kernel: tiles of logits live in registers and are never written to memory.

A program multiplies a block of rows by a span of the vocabulary, a tile of tokens after another, and folds each tile
into the rows' partial statistics (`uddm_kernels.combine` joins the spans). Spans have a fixed length, so that a row's
result does not depend on how many rows are beside it. Import it only where Triton is wanted.
"""

import functools
from dataclasses import dataclass, replace

import torch
import triton
from jaxtyping import Float, Int64
from torch import Tensor
from triton.tools.tensor_descriptor import TensorDescriptor

from uddm_kernels.backend import FUSED_DTYPES
from uddm_kernels.combine.fused import combine
from uddm_kernels.combine.types import Partials
from uddm_kernels.head import LinearHead
from uddm_kernels.linear_stats.fused_kernels import own_kernel, partials_kernel
from uddm_kernels.logit_stats.types import RowStats

# Tokens whose mass is kept apart: the reverse step draws a tile first, then a token of it.
TILE = 128
# Tokens that one program passes over: long enough to pay for its start, short enough to occupy the device. With few
# rows only short ones do that, and masses of tiles, unlike statistics, are the same with any.
SPAN, SHORT_SPAN, LONG_FROM = 1024, 256, 1024


@dataclass(frozen=True)
class Shape:
    """How a product is cut: a program's rows, its tokens and hidden channels at a time, its warps, how many loads are
    under way, and of how many tokens statistics are taken together."""

    rows: int
    tokens: int
    channels: int
    warps: int
    stages: int
    together: int


# Of 16-bit operands on Hopper and later, where the copy engine reads whole tiles and a warp group multiplies 64 rows at
# once. What bounds such a product is how often tiles are read again from the L2 cache, and wide ones are read less
# often; but ranks and a cap need registers that a wide one leaves no room for.
HOPPER_WIDE = Shape(128, 256, 64, 8, 3, 32)
# Statistics of equally many tokens together in all three: a row's last bit does not depend on how many rows there are.
HOPPER = Shape(128, 128, 64, 8, 4, 32)
HOPPER_FEW = Shape(64, 128, 64, 4, 4, 32)
FEW_ROWS = 64
# Before Hopper, and of operands that its copy engine cannot read.
AMPERE = Shape(64, 128, 32, 8, 3, 128)
# Of float32, on either side: as sums of three bfloat16, of whose nine products the six that count are added up. That is
# as exact as float32 arithmetic, and on tensor cores; TF32 has 10 bits. Interpreted, it is float32 arithmetic.
PRECISION = "bf16x6" if isinstance(partials_kernel, triton.JITFunction) else "ieee"
EXACT = Shape(64, 128, 16, 8, 2, 32)
# Rows whose own logits a program computes: as many as a warp group multiplies at once, here as there.
OWN_ROWS = 64


def linear_stats(
    hidden: Float[Tensor, "rows width"],
    head: LinearHead,
    target: Int64[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    discount: Float[Tensor, " rows"] | None = None,
) -> RowStats:
    """See `uddm_kernels.linear_stats.linear_stats`; products of 16-bit operands are accumulated in float32.

    Raises ValueError on float64 and on a device without Triton.
    """
    discount = None if discount is None else discount.float().contiguous()
    if target is not None and current is not None and _same(target, current):
        stats = linear_stats(hidden, head, None, current, discount)
        return replace(stats, target_logp=stats.current_logp.clone(), target_rank=stats.current_rank.clone())
    target_logit = own_logits(hidden, head, target, current, discount)
    current_logit = own_logits(hidden, head, current, current, discount)
    parts = partials(hidden, head, target, target_logit, current, current_logit, discount)
    return combine(parts, target, target_logit, current, current_logit)


def check(hidden: Tensor, head: LinearHead) -> Tensor:
    """The head's weight. Raises ValueError unless the fused kernels can work on these."""
    if head.weight is None:
        raise ValueError("the fused kernel needs the head's weight, these rows are logits already")
    for tensor in (hidden, head.weight, head.bias):
        if tensor is not None and tensor.dtype not in FUSED_DTYPES:
            raise ValueError(f"the fused kernel reads float32, float16 and bfloat16, not {tensor.dtype}")
    if hidden.device.type != "cuda" and isinstance(partials_kernel, triton.JITFunction):
        raise ValueError(f"the fused kernel needs a CUDA or ROCm device, the rows are on {hidden.device}")
    return head.weight


def own_logits(
    hidden: Tensor, head: LinearHead, tokens: Tensor | None, current: Tensor | None, discount: Tensor | None
) -> Tensor | None:
    """The logit (rows,) of each row's token, rounded as `partials` rounds it; None without tokens.

    A discount is float32, here and below.
    -inf for a token outside the head: of several shards of a vocabulary, the maximum is the token's logit.
    """
    if tokens is None:
        return None
    weight = check(hidden, head)
    rows, width = hidden.shape
    out = torch.full((rows,), -torch.inf, dtype=torch.float32, device=hidden.device)
    if rows:
        hidden, weight = _side_by_side(hidden), _side_by_side(weight)
        channels = EXACT.channels if _exact(hidden, weight) else HOPPER.channels
        with torch.cuda.device_of(hidden):
            own_kernel[(triton.cdiv(rows, OWN_ROWS),)](
                hidden,
                weight,
                *epilogue(head, weight),
                tokens.contiguous(),
                None if discount is None or current is None else current.contiguous(),
                discount,
                out,
                rows,
                weight.shape[0],
                width,
                hidden.stride(0),
                weight.stride(0),
                OWN_ROWS,
                channels,
                WIDEN=hidden.dtype != weight.dtype,
                EVEN=width % channels == 0,
                PRECISION=PRECISION,
                num_warps=4,
                enable_fp_fusion=True,
            )
    return out


def partials(
    hidden: Tensor,
    head: LinearHead,
    target: Tensor | None = None,
    target_logit: Tensor | None = None,
    current: Tensor | None = None,
    current_logit: Tensor | None = None,
    discount: Tensor | None = None,
) -> Partials:
    """Statistics of every span of SPAN tokens, (spans, rows)."""
    rows, vocab = hidden.shape[0], check(hidden, head).shape[0]
    spans = triton.cdiv(vocab, SPAN)
    out = Partials.empty(spans, rows, hidden.device, vocab, target is not None, current is not None)
    if rows:
        _launch(hidden, head, (target, target_logit), (current, current_logit), discount, out, None)
    return out


def masses(
    hidden: Tensor, head: LinearHead, current: Tensor | None = None, discount: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The largest logit m and the mass Σ exp(z - m) of every tile of TILE tokens, (rows, tiles) each.

    A tile whose tokens are all forbidden has m = -inf. A row with NaN or +inf has m = +inf somewhere.
    """
    rows, tiles = hidden.shape[0], triton.cdiv(check(hidden, head).shape[0], TILE)
    out = torch.empty(2, rows, tiles, dtype=torch.float32, device=hidden.device)
    if rows:
        _launch(hidden, head, (None, None), (current if discount is not None else None, None), discount, None, out)
    return out[0], out[1]


def _launch(
    hidden: Tensor,
    head: LinearHead,
    target: tuple[Tensor | None, Tensor | None],
    current: tuple[Tensor | None, Tensor | None],
    discount: Tensor | None,
    parts: Partials | None,
    mass: Tensor | None,
) -> None:
    rows, width = hidden.shape
    hidden, weight = _side_by_side(hidden), _side_by_side(check(hidden, head))
    span = SPAN if parts is not None or rows > LONG_FROM else SHORT_SPAN
    slim = target[1] is None and current[1] is None and head.soft_cap is None
    exact = _exact(hidden, weight)
    descriptors = not exact and _describable(hidden, weight)
    shape = choose_shape(rows, slim, exact, descriptors)
    stored = [None] * 8 if parts is None else parts.tensors()
    with torch.cuda.device_of(hidden):
        partials_kernel[(triton.cdiv(rows, shape.rows) * triton.cdiv(weight.shape[0], span),)](
            TensorDescriptor.from_tensor(hidden, [shape.rows, shape.channels]) if descriptors else hidden,
            TensorDescriptor.from_tensor(weight, [shape.tokens, shape.channels]) if descriptors else weight,
            *epilogue(head, weight),
            *(None if x is None else x.contiguous() for x in (*target, *current)),
            discount,
            *stored,
            None if mass is None else mass[0],
            None if mass is None else mass[1],
            rows,
            weight.shape[0],
            width,
            hidden.stride(0),
            weight.stride(0),
            shape.rows,
            shape.tokens,
            shape.channels,
            TILE=TILE if parts is None else shape.together,
            SPAN=span,
            DESCRIPTORS=descriptors,
            WIDEN=hidden.dtype != weight.dtype,
            EVEN=width % shape.channels == 0,
            PRECISION=PRECISION,
            num_warps=shape.warps,
            num_stages=shape.stages,
            # Triton is about to change its default; results should not change with it.
            enable_fp_fusion=True,
        )


def choose_shape(rows: int, slim: bool, exact: bool, descriptors: bool) -> Shape:
    """How to cut the product; `slim` is one without ranks and without a cap. Tensor cores add channels up in the same
    order in every shape of 16-bit operands."""
    if exact:
        return EXACT
    if not descriptors:
        return AMPERE
    if rows <= FEW_ROWS:
        return HOPPER_FEW
    return HOPPER_WIDE if slim else HOPPER


def epilogue(head: LinearHead, weight: Tensor) -> tuple[Tensor | None, Tensor | None, float | None, float | None]:
    """What makes a logit of a product: bias, which tokens are forbidden, scale and cap, each None without effect."""
    return (
        None if head.bias is None else head.bias.contiguous(),
        _forbidden(head.forbidden, weight.shape[0], weight.device) if head.forbidden else None,
        None if head.scale == 1.0 else head.scale,
        head.soft_cap,
    )


@functools.lru_cache(maxsize=8)
def _forbidden(forbidden: tuple[int, ...], vocab: int, device: torch.device) -> Tensor:
    out = torch.zeros(vocab, dtype=torch.int8, device=device)
    out[torch.tensor(forbidden, device=device)] = 1
    return out


def _same(one: Tensor, other: Tensor) -> bool:
    return one.data_ptr() == other.data_ptr() and one.stride() == other.stride()


def _side_by_side(x: Tensor) -> Tensor:
    """The same with the channels of a row side by side."""
    return x if x.stride(1) == 1 else x.contiguous()


def _exact(hidden: Tensor, weight: Tensor) -> bool:
    """Whether the product is one of float32: an operand is, or the two are not alike and are widened to it."""
    return hidden.dtype == torch.float32 or hidden.dtype != weight.dtype


def _capability(device: torch.device) -> tuple[int, int]:
    if device.type != "cuda" or torch.version.hip:
        return (0, 0)
    return torch.cuda.get_device_capability(device)


def _describable(hidden: Tensor, weight: Tensor) -> bool:
    """Whether Hopper's copy engine is there and can read both, which have to be aligned to 16 bytes."""
    aligned = all(x.data_ptr() % 16 == 0 and x.stride(0) * x.itemsize % 16 == 0 for x in (hidden, weight))
    return aligned and _capability(hidden.device) >= (9, 0)
