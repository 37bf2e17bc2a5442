"""Rows of one length together, in bounded groups, and back in order."""

from collections.abc import Iterable, Iterator
from itertools import islice

import torch
from torch import Tensor

from audit_cli.records import Row

# Tokens in a forward pass. On a CPU: enough to keep a core busy, little enough to stay in its cache with tiny networks.
# On a GPU: enough for every multiprocessor. Where memory runs out, fewer are tried (`audits.watch`).
TOKENS_AT_ONCE = {"cpu": 1 << 13, "gpu": 1 << 16}
# Tokens of the trajectories that are under way together: bounds the memory of their random numbers, of which 1,000
# steps need up to 1 KiB a token.
TRAJECTORY_TOKENS = {"cpu": 1 << 17, "gpu": 1 << 20}
# Rows looked at together, so that lengths can be grouped while candidates stream.
WINDOW = 512


def auto_batch_size(length: int, device: torch.device) -> int:
    """Sequences in a forward pass."""
    return max(1, TOKENS_AT_ONCE[_kind(device)] // length)


def trajectories_at_once(length: int, device: torch.device) -> int:
    """Sequences whose trajectories are under way together."""
    return max(1, TRAJECTORY_TOKENS[_kind(device)] // length)


def _kind(device: torch.device) -> str:
    return "cpu" if device.type == "cpu" else "gpu"


def windows(rows: Iterable[Row], size: int = WINDOW) -> Iterator[list[Row]]:
    """Consecutive lists of at most `size` rows."""
    iterator = iter(rows)
    while group := list(islice(iterator, size)):
        yield group


def by_length(rows: list[Row], at_most: int) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Groups of at most `at_most` rows of one length and one prompt: their indices, tokens (rows, length) and the
    positions that are measured."""
    alike: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    for i, row in enumerate(rows):
        alike.setdefault((len(row.tokens), row.prompt), []).append(i)
    for (length, _), indices in alike.items():
        for start in range(0, len(indices), at_most):
            part = indices[start : start + at_most]
            tokens = torch.tensor([rows[i].tokens for i in part], dtype=torch.int64)
            position = torch.arange(length)
            first = torch.tensor([0 if rows[i].whole else rows[i].start for i in part])[:, None]
            stop = torch.tensor([length if rows[i].whole else rows[i].stop for i in part])[:, None]
            yield part, tokens, (position >= first) & (position < stop)
