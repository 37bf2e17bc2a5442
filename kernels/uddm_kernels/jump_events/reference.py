"""One number after another."""

import torch
from torch import Tensor

from uddm_kernels.jump_events.types import Events
from uddm_kernels.philox.reference import philox4x32, uniform53


def jump_events(key: Tensor, stream: Tensor, level: Tensor, bound: Tensor, free: Tensor) -> Events:
    """See `uddm_kernels.jump_events.jump_events`."""
    places: list[tuple[int, int, int]] = []
    numbers: list[tuple[float, float]] = []
    for row, positions in enumerate(free.tolist()):
        words = int(stream[row]), int(level[row])
        for step, most in enumerate(bound.tolist()):
            for position, may in enumerate(positions):
                w = philox4x32((*words, step, position), (int(key[row, 0]), int(key[row, 1])))
                if may and uniform53(w[0], w[1]) < most:
                    places.append((row, step, position))
                    numbers.append((uniform53(w[0], w[1]), uniform53(w[2], w[3])))
    where = torch.tensor(places, dtype=torch.int64).reshape(-1, 3).to(free.device)
    drawn = torch.tensor(numbers, dtype=torch.float64).reshape(-1, 2).to(free.device)
    return Events(*where.unbind(1), *drawn.unbind(1))
