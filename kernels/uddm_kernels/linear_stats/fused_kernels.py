"""The Triton kernels of `fused`: products of a block of rows and tiles of the vocabulary, and what is made of them."""

import triton
import triton.language as tl

from uddm_kernels.combine.fused import joined
from uddm_kernels.fused_math import LOWEST, tanh

# Rows begin anywhere in what a caller slices: where they lie in memory is no reason to compile a kernel anew.
ROWS_IN = ["target", "target_logit", "current", "current_logit", "discount"]
ROWS_OUT = [
    *("best_out", "q_out", "t_out", "second_out", "best_token_out", "second_token_out"),
    *("before_target_out", "before_current_out", "tile_best", "tile_mass"),
]


@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=[*ROWS_IN, *ROWS_OUT])
def partials_kernel(
    hidden,
    weight,
    bias,
    forbidden,
    scale,
    soft_cap,
    target,
    target_logit,
    current,
    current_logit,
    discount,
    best_out,
    q_out,
    t_out,
    second_out,
    best_token_out,
    second_token_out,
    before_target_out,
    before_current_out,
    tile_best,
    tile_mass,
    rows,
    vocab,
    width,
    hidden_stride,
    weight_stride,
    BM: tl.constexpr,
    BN: tl.constexpr,
    BK: tl.constexpr,
    TILE: tl.constexpr,
    SPAN: tl.constexpr,
    DESCRIPTORS: tl.constexpr,
    WIDEN: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """A block of BM rows and a span of SPAN tokens: its partial statistics, or its tiles' masses.

    Blocks of rows follow each other fastest: programs that run together read the same span of the weight.
    """
    blocks = tl.cdiv(rows, BM)
    first_row = tl.program_id(0) % blocks * BM
    span = tl.program_id(0) // blocks
    row = first_row + tl.arange(0, BM)
    inside = row < rows
    best = tl.full([BM], float("-inf"), tl.float32)
    second = tl.full([BM], float("-inf"), tl.float32)
    best_token = tl.full([BM], -1, tl.int32)
    second_token = tl.full([BM], -1, tl.int32)
    q = tl.full([BM], -1.0, tl.float32)
    t = tl.zeros([BM], tl.float32)
    # Counted in float32, exactly below 2**24 and in fewer instructions.
    before_target = tl.zeros([BM], tl.float32)
    before_current = tl.zeros([BM], tl.float32)
    lane = tl.arange(0, TILE)
    target_token = best_token
    target_own = t
    current_token = best_token
    current_own = t
    taken_off = t
    if target is not None:
        target_token = tl.load(target + row, mask=inside, other=-1).to(tl.int32)
        target_own = tl.load(target_logit + row, mask=inside, other=0.0)
    if current is not None:
        current_token = tl.load(current + row, mask=inside, other=-1).to(tl.int32)
    if current_logit is not None:
        current_own = tl.load(current_logit + row, mask=inside, other=0.0)
    if discount is not None:
        taken_off = tl.load(discount + row, mask=inside, other=0.0)

    for first in range(span * SPAN, tl.minimum(span * SPAN + SPAN, vocab), BN):
        z = _product(
            hidden, weight, first_row, first, rows, vocab, width, hidden_stride, weight_stride,
            BM, BN, BK, DESCRIPTORS, WIDEN, EVEN, PRECISION,
        )  # fmt: skip
        # A tile at a time: statistics of all at once would not leave enough registers for the product. All that is done
        # to a single logit counts; columns are numbered within the tile, to be constants in the instructions.
        for part in tl.static_range(BN // TILE):
            start = first + part * TILE
            tile = as_logits(_columns(z, part, BN // TILE), lane, start, bias, forbidden, scale, soft_cap, vocab)
            if discount is not None:
                tile = tl.where(lane[None, :] == (current_token - start)[:, None], tile - taken_off[:, None], tile)
            top = tl.max(tile, 1)
            # Where all are forbidden, differences to 0 are -inf and no NaN: NaN is kept for rows that are not finite.
            scale_of = tl.where(top > float("-inf"), top, 0.0)[:, None]
            if best_out is not None:
                top_lane = tl.min(tl.where(tile == top[:, None], lane[None, :], TILE), 1)
                rest = tl.where(lane[None, :] == top_lane[:, None], float("-inf"), tile)
                runner = tl.max(rest, 1)
                runner_lane = tl.min(tl.where(rest == runner[:, None], lane[None, :], TILE), 1)
                d = tl.maximum(rest - scale_of, LOWEST, propagate_nan=tl.PropagateNan.ALL)
                e = tl.exp(d)
                tile_q = tl.sum(e, 1)
                if target is not None:
                    before_target += _before(tile, lane, target_own, target_token - start)
                if current_logit is not None:
                    before_current += _before(tile, lane, current_own, current_token - start)
                best, best_token, second, second_token, q, t = joined(
                    best, best_token, second, second_token, q, t,
                    tl.where(tile_q < float("inf"), top, float("inf")), start + top_lane,
                    runner, start + runner_lane, tile_q, tl.sum(e * d, 1),
                )  # fmt: skip
            if tile_best is not None:
                # The best token included: the rest's mass need not keep its digits here.
                d = tl.maximum(tile - scale_of, LOWEST, propagate_nan=tl.PropagateNan.ALL)
                mass = tl.sum(tl.exp(d), 1)
                top = tl.where(mass < float("inf"), top, float("inf"))
                if start < vocab:
                    at = row.to(tl.int64) * tl.cdiv(vocab, TILE) + start // TILE
                    tl.store(tile_best + at, top, mask=inside)
                    tl.store(tile_mass + at, mass, mask=inside)

    if best_out is not None:
        at = span.to(tl.int64) * rows + row
        tl.store(best_out + at, best, mask=inside)
        tl.store(q_out + at, q, mask=inside)
        tl.store(t_out + at, t, mask=inside)
        tl.store(second_out + at, second, mask=inside)
        tl.store(best_token_out + at, best_token, mask=inside)
        tl.store(second_token_out + at, second_token, mask=inside)
        if before_target_out is not None:
            tl.store(before_target_out + at, before_target.to(tl.int32), mask=inside)
        if before_current_out is not None:
            tl.store(before_current_out + at, before_current.to(tl.int32), mask=inside)


@triton.jit(do_not_specialize=["rows"], do_not_specialize_on_alignment=["tokens", "current", "discount", "out"])
def own_kernel(
    hidden,
    weight,
    bias,
    forbidden,
    scale,
    soft_cap,
    tokens,
    current,
    discount,
    out,
    rows,
    vocab,
    width,
    hidden_stride,
    weight_stride,
    BM: tl.constexpr,
    BK: tl.constexpr,
    WIDEN: tl.constexpr,
    EVEN: tl.constexpr,
    PRECISION: tl.constexpr,
):
    """Each row's logit of its own token: the diagonal of a product of the rows with their tokens' weights.

    Multiplied and added up by the same instructions in the same order as in `partials_kernel`, so that the token finds
    itself among the others.
    """
    row = tl.program_id(0) * BM + tl.arange(0, BM)
    inside = row < rows
    token = tl.load(tokens + row, mask=inside, other=0)
    known = inside & (token >= 0) & (token < vocab)
    token = tl.where(known, token, 0)
    channel = tl.arange(0, BK)
    h_at = hidden + tl.where(inside, row, 0).to(tl.int64)[:, None] * hidden_stride + channel[None, :]
    w_at = weight + token[:, None] * weight_stride + channel[None, :]
    z = tl.zeros([BM, BM], tl.float32)
    for k in range(0, width, BK):
        z = _multiplied(h_at, w_at, z, channel + k < width, WIDEN, EVEN, PRECISION)
        h_at += BK
        w_at += BK
    lane = tl.arange(0, BM)
    own = tl.sum(tl.where(lane[:, None] == lane[None, :], z, 0.0), 1)
    if bias is not None:
        own += tl.load(bias + token).to(tl.float32)
    own = _capped(own, scale, soft_cap)
    if forbidden is not None:
        own = tl.where(tl.load(forbidden + token) != 0, float("-inf"), own)
    # Here and not at the end, as among the others: a select between a product and a difference keeps them apart, and
    # the compiler from rounding both at once.
    own = tl.where(known, own, float("-inf"))
    if discount is not None:
        is_current = tl.load(current + row, mask=inside, other=-1) == token
        own = tl.where(is_current, own - tl.load(discount + row, mask=inside, other=0.0), own)
    tl.store(out + row, own, mask=inside)


@triton.jit
def _product(
    hidden, weight, first_row, first, rows, vocab, width, hidden_stride, weight_stride,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr,
    DESCRIPTORS: tl.constexpr, WIDEN: tl.constexpr, EVEN: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """hidden @ weight.T of BM rows and BN tokens, in float32; past the ends there is anything."""
    z = tl.zeros([BM, BN], tl.float32)
    if DESCRIPTORS:
        for k in range(0, width, BK):
            z = tl.dot(hidden.load([first_row, k]), weight.load([first, k]).T, z)
    else:
        # 64 bits: rows * width passes 2**31.
        row = tl.minimum(first_row + tl.arange(0, BM), rows - 1).to(tl.int64)
        token = tl.minimum(first + tl.arange(0, BN), vocab - 1).to(tl.int64)
        channel = tl.arange(0, BK)
        h_at = hidden + row[:, None] * hidden_stride + channel[None, :]
        w_at = weight + token[:, None] * weight_stride + channel[None, :]
        for k in range(0, width, BK):
            z = _multiplied(h_at, w_at, z, channel + k < width, WIDEN, EVEN, PRECISION)
            h_at += BK
            w_at += BK
    return z


@triton.jit
def _multiplied(h_at, w_at, z, there, WIDEN: tl.constexpr, EVEN: tl.constexpr, PRECISION: tl.constexpr):
    """z + h @ w.T of the blocks at these addresses; channels that are not `there` count nothing."""
    if EVEN:
        h = tl.load(h_at)
        w = tl.load(w_at)
    else:
        h = tl.load(h_at, mask=there[None, :], other=0.0)
        w = tl.load(w_at, mask=there[None, :], other=0.0)
    if WIDEN:
        h = h.to(tl.float32)
        w = w.to(tl.float32)
    return tl.dot(h, w.T, z, input_precision=PRECISION)


@triton.jit
def _columns(z, part: tl.constexpr, parts: tl.constexpr):
    """The part-th of `parts` equal ranges of columns of z (rows, columns). Moves nothing between threads."""
    if parts == 1:
        return z
    else:
        low, high = z.reshape(z.shape[0], 2, z.shape[1] // 2).permute(0, 2, 1).split()
        if part < parts // 2:
            return _columns(low, part, parts // 2)
        else:
            return _columns(high, part - parts // 2, parts // 2)


@triton.jit
def as_logits(z, lane, start, bias, forbidden, scale, soft_cap, vocab):
    """Products (rows, lanes) as logits of the tokens start + lane: -inf where one is forbidden or none."""
    there = lane < vocab - start
    if bias is not None:
        z += tl.load(bias + start + lane, mask=there, other=0.0).to(tl.float32)[None, :]
    z = _capped(z, scale, soft_cap)
    if forbidden is not None:
        there = there & (tl.load(forbidden + start + lane, mask=there, other=1) == 0)
    return tl.where(there[None, :], z, float("-inf"))


@triton.jit
def _capped(z, scale, soft_cap):
    if scale is not None:
        z = z * scale
    if soft_cap is not None:
        z = soft_cap * tanh(z / soft_cap)
    return z


@triton.jit
def _before(z, lane, own, own_lane):
    """How many of the tokens rank before a row's own, itself left out: of equal ones those with a smaller id.

    To be larger than `own` is to be at least the next float32 after it, so that one comparison serves both cases.
    """
    bits = (own + 0.0).to(tl.int32, bitcast=True)  # of -0.0, those of 0.0
    above = tl.where(bits >= 0, bits + 1, bits - 1).to(tl.float32, bitcast=True)
    least = tl.where(lane[None, :] < own_lane[:, None], own[:, None], above[:, None])
    return tl.sum(tl.where(z >= least, 1.0, 0.0), 1)
