"""The forward process on rows of tokens: corrupted copies to start the reverse process from."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from jaxtyping import Bool, Float64, Int64
from torch import Tensor
from uddm_kernels import corrupt, keyed_uniforms

from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.randomness import Purpose, level_word, sequence_key, stream_word
from audit_cli.diffusion.schedules import level_at, reached_time

# After so many draws a corruption that changes nothing is accepted: for one token of two, at level .05, one in 10^11.
MAX_REDRAWS = 1000
# In the key of a row whose slot is free: what fills the slot must not depend on the secret that stands there.
BLANK = -1


class Pattern(StrEnum):
    """Which free positions a level destroys: each independently, one contiguous run of them, or the last ones.

    Networks were trained on `UNIFORM` noise and are told the level as its average: the others lie outside of that.
    """

    UNIFORM = "uniform"
    SPAN = "span"
    PREFIX = "prefix"


@dataclass(frozen=True)
class Starts:
    """Rows from which trajectories start, all of one length.

    `tokens` are the noisy rows, `clean` what they were made from, `time` the diffusion time at which each stands,
    `key`, `stream` and `level` the words under which its reverse process draws; positions that are not `free` (a
    prompt, separators, padding) never change.
    """

    tokens: Int64[Tensor, "rows length"]
    clean: Int64[Tensor, "rows length"]
    free: Bool[Tensor, "rows length"]
    time: Float64[Tensor, " rows"]
    key: Int64[Tensor, "rows 2"]
    stream: Int64[Tensor, " rows"]
    level: Int64[Tensor, " rows"]


def corrupted_starts(
    denoiser: Denoiser,
    clean: Int64[Tensor, "rows length"],
    times: Sequence[float],
    restarts: range,
    seed: int,
    free: Bool[Tensor, "rows length"] | None = None,
    redraw: bool = True,
    pattern: Pattern = Pattern.UNIFORM,
) -> Starts:
    """Every row at every time in every restart, in the order (row, time, restart).

    Corruption is nested: in one restart a later time corrupts a superset of positions. A draw that changes nothing
    is drawn again, under the next number, unless `redraw` is false.
    """
    device = denoiser.device
    clean = clean.to(device)
    rows = clean.shape[0]
    free = torch.ones_like(clean, dtype=torch.bool) if free is None else free.to(device)
    keys = torch.tensor([sequence_key(seed, row) for row in clean.tolist()], dtype=torch.int64, device=device)
    levels = [level_at(denoiser.schedule, t) for t in times]
    per_row = len(times) * len(restarts)

    def words(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device).repeat(rows)

    starts = Starts(
        tokens=clean.repeat_interleave(per_row, dim=0),
        clean=clean.repeat_interleave(per_row, dim=0),
        free=free.repeat_interleave(per_row, dim=0),
        time=torch.tensor(times, dtype=torch.float64, device=device).repeat_interleave(len(restarts)).repeat(rows),
        key=keys.repeat_interleave(per_row, dim=0),
        stream=words([stream_word(Purpose.REVERSE, r) for _ in times for r in restarts]),
        level=words([level_word(level) for level in levels for _ in restarts]),
    )
    share = torch.tensor(levels, dtype=torch.float64, device=device).repeat_interleave(len(restarts)).repeat(rows)
    draw = words([stream_word(Purpose.CORRUPT, r) for _ in times for r in restarts])
    pending = torch.arange(starts.tokens.shape[0], device=device)
    for attempt in range(MAX_REDRAWS if redraw else 1):
        noisy = _corrupt_once(denoiser, starts, pending, share, draw, attempt, pattern)
        starts.tokens[pending] = noisy
        pending = pending[(noisy == starts.clean[pending]).all(dim=1)]
        if not pending.numel():
            break
    return starts


def _corrupt_once(
    denoiser: Denoiser, starts: Starts, rows: Tensor, share: Tensor, draw: Tensor, attempt: int, pattern: Pattern
) -> Tensor:
    u, v = _numbers(denoiser, starts.key[rows], draw[rows], attempt, starts.tokens.shape[1])
    levels = share[rows][:, None].expand_as(u)
    if pattern is not Pattern.UNIFORM:
        # All of the pattern's positions and no others: a number in [0, 1) is below 1 and never below 0.
        levels = _destroyed(pattern, starts.free[rows], share[rows], u[:, 0]).double()
    return corrupt(starts.clean[rows], levels, u, v, denoiser.noise_tokens, starts.free[rows], denoiser.head.backend)


def _numbers(denoiser: Denoiser, keys: Tensor, draw: Tensor, attempt: int, length: int) -> tuple[Tensor, Tensor]:
    """Two numbers in [0, 1) for each of so many positions of rows with these keys and words of their draws."""
    device = keys.device
    return keyed_uniforms(
        keys[:, None, :],
        draw[:, None],
        torch.zeros((), dtype=torch.int64, device=device),
        torch.tensor(attempt, device=device),
        torch.arange(length, device=device),
        denoiser.head.backend,
    )


def _destroyed(pattern: Pattern, free: Tensor, share: Tensor, u: Tensor) -> Tensor:
    """The free positions (rows, length) that a pattern destroys at each row's share, at least one.

    A span of k among n free positions begins at floor(u (n - k + 1)): one of n - k + 1 places, equally likely, and
    with the same u a longer span contains a shorter one, because the floor falls by at most one when k grows by one.
    """
    count = free.sum(1)
    size = (share * count + 0.5).floor().long().clamp(min=1)
    room = count - size
    first = room if pattern is Pattern.PREFIX else (u * (room + 1)).long()
    rank = free.cumsum(1) - 1
    return free & (rank >= first[:, None]) & (rank < (first + size)[:, None])


def slot_starts(
    denoiser: Denoiser,
    clean: Int64[Tensor, "rows length"],
    slot: Bool[Tensor, "rows length"],
    times: Float64[Tensor, " rows"],
    restarts: range,
    seed: int,
    free: Bool[Tensor, "rows length"] | None = None,
    share: float = 0.0,
) -> Starts:
    """Every row in every restart, in the order (row, restart), its `slot` pure noise and all else as it stands.

    Only the slot is free, or all of `free`, the slot among it; then the other free tokens are corrupted independently
    with probability `share`. What is drawn depends on the template alone: rows that differ only in their slots draw
    the same numbers.
    """
    device, count = denoiser.device, len(restarts)
    clean, slot = clean.to(device), slot.to(device)
    free = slot if free is None else free.to(device)
    templates = torch.where(slot, BLANK, clean).tolist()
    keys = torch.tensor([sequence_key(seed, row) for row in templates], dtype=torch.int64, device=device)
    levels = [level_word(level_at(denoiser.schedule, t)) for t in times.tolist()]

    def words(purpose: Purpose) -> Tensor:
        values = [stream_word(purpose, r) for r in restarts]
        return torch.tensor(values, dtype=torch.int64, device=device).repeat(len(clean))

    starts = Starts(
        tokens=clean.repeat_interleave(count, dim=0),
        clean=clean.repeat_interleave(count, dim=0),
        free=free.repeat_interleave(count, dim=0),
        time=times.to(device).repeat_interleave(count),
        key=keys.repeat_interleave(count, dim=0),
        stream=words(Purpose.REVERSE),
        level=torch.tensor(levels, dtype=torch.int64, device=device).repeat_interleave(count),
    )
    u, v = _numbers(denoiser, starts.key, words(Purpose.CORRUPT), 0, clean.shape[1])
    # A number in [0, 1) is always below 1: the whole slot is redrawn.
    levels_at = torch.full(slot.shape, share, dtype=torch.float64, device=device).masked_fill(slot, 1.0)
    levels_at = levels_at.repeat_interleave(count, dim=0)
    backend = denoiser.head.backend
    starts.tokens.copy_(corrupt(starts.clean, levels_at, u, v, denoiser.noise_tokens, starts.free, backend))
    return starts


def flipped_starts(
    denoiser: Denoiser,
    clean: Int64[Tensor, "rows length"],
    flips: Int64[Tensor, " rows"],
    restarts: range,
    seed: int,
    free: Bool[Tensor, "rows length"],
) -> Starts:
    """Every row in every restart, in the order (row, restart), so many of its free tokens replaced by other ones.

    The positions are the first `flips` in one random order of the row's free ones, and each has one other token, drawn
    uniformly from the noise without the token that stands there: in one restart more flips contain fewer. Each row
    stands at the time whose level is the share of its free tokens that is flipped. Needs at least two noise tokens,
    and rows with not fewer free tokens than flips.
    """
    device, count, length = denoiser.device, len(restarts), clean.shape[1]
    clean, free, flips = clean.to(device), free.to(device), flips.to(device)
    shares = (flips / free.sum(1)).tolist()
    times = [reached_time(denoiser.schedule, share) for share in shares]
    keys = torch.tensor([sequence_key(seed, row) for row in clean.tolist()], dtype=torch.int64, device=device)

    def words(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=device)

    starts = Starts(
        tokens=clean.repeat_interleave(count, dim=0),
        clean=clean.repeat_interleave(count, dim=0),
        free=free.repeat_interleave(count, dim=0),
        time=torch.tensor(times, dtype=torch.float64, device=device).repeat_interleave(count),
        key=keys.repeat_interleave(count, dim=0),
        stream=words([stream_word(Purpose.REVERSE, r) for r in restarts]).repeat(len(clean)),
        level=words([level_word(share) for share in shares]).repeat_interleave(count),
    )
    draw = words([stream_word(Purpose.FLIP, r) for r in restarts]).repeat(len(clean))
    u, v = _numbers(denoiser, starts.key, draw, 0, length)
    # Positions that are not free come last; 53 bits leave no ties to speak of, and a stable sort decides them.
    order = torch.where(starts.free, u, 2.0).argsort(dim=1, stable=True)
    rank = torch.empty_like(order).scatter_(1, order, torch.arange(length, device=device).expand_as(order).contiguous())
    flipped = rank < flips.repeat_interleave(count)[:, None]
    starts.tokens.copy_(torch.where(flipped, _others(denoiser.noise_tokens, starts.clean, v), starts.clean))
    return starts


def _others(noise: Tensor, current: Tensor, v: Tensor) -> Tensor:
    """A token of `noise` (support) other than the current one (rows, length), by uniform numbers `v` alike."""
    support = noise.sort().values
    place = torch.searchsorted(support, current.contiguous()).clamp(max=len(support) - 1)
    inside = support[place] == current
    pick = (v * (len(support) - inside.long())).long()
    # Past the current token's place, everything moves up by one.
    return support[pick + (inside & (pick >= place)).long()]


def noise_starts(denoiser: Denoiser, count: int, length: int, seed: int, first: int = 0) -> Starts:
    """`count` rows of pure noise at t = 1, to generate from; row i is the same whatever `count` and `first` are."""
    device = denoiser.device
    key = torch.tensor([sequence_key(seed, ())], dtype=torch.int64, device=device)
    index = torch.tensor(
        [stream_word(Purpose.GENERATE, i) for i in range(first, first + count)], dtype=torch.int64, device=device
    )
    # Level word 0 is no level of a reverse process from t = 1, so these numbers are not used again.
    _, v = keyed_uniforms(
        key[:, None, :],
        index[:, None],
        torch.zeros((), dtype=torch.int64, device=device),
        torch.zeros((), dtype=torch.int64, device=device),
        torch.arange(length, device=device),
        denoiser.head.backend,
    )
    support = denoiser.noise_tokens
    tokens = support[(v * support.shape[0]).long()]
    level = level_word(level_at(denoiser.schedule, 1.0))
    return Starts(
        tokens=tokens,
        clean=tokens.clone(),
        free=torch.ones_like(tokens, dtype=torch.bool),
        time=torch.ones(count, dtype=torch.float64, device=device),
        key=key.expand(count, 2),
        stream=index,
        level=torch.full((count,), level, dtype=torch.int64, device=device),
    )
