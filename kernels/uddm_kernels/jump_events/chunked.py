"""Numbers in bounded pieces, of which the candidates are kept."""

import torch
from torch import Tensor

from uddm_kernels.jump_events.types import Events
from uddm_kernels.philox.chunked import keyed_uniforms

# Numbers drawn at once.
NUMBERS_AT_ONCE = 1 << 18


def jump_events(key: Tensor, stream: Tensor, level: Tensor, bound: Tensor, free: Tensor) -> Events:
    """See `uddm_kernels.jump_events.jump_events`."""
    rows, length = free.shape
    step = torch.arange(len(bound), device=free.device)
    position = torch.arange(length, device=free.device)
    at_once = max(1, NUMBERS_AT_ONCE // max(1, len(bound) * length))
    pieces = []
    for first in range(0, max(rows, 1), at_once):
        some = slice(first, first + at_once)
        u, v = keyed_uniforms(
            key[some, None, None, :], stream[some, None, None], level[some, None, None], step[:, None], position
        )
        candidate = (u < bound[:, None]) & free[some, None, :]
        index = candidate.nonzero(as_tuple=True)
        pieces.append(Events(index[0] + first, index[1], index[2], u[index], v[index]))
    return Events(*(torch.cat(column) for column in zip(*pieces, strict=True)))
