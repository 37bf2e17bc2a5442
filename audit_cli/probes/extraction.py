"""Extraction by a cue: a text's template stands as it is, its slot is noise, and the reverse process fills it.

Only the slot is free, so what comes back there was in the model, or was guessed: how often the secret itself does, and
how many other fillings come back more often, tell which.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from audit_cli.diffusion.corruption import slot_starts
from audit_cli.diffusion.denoiser import Denoiser, prompted
from audit_cli.diffusion.samplers import Ancestral, Sampler
from audit_cli.probes.batching import auto_batch_size, by_length, trajectories_at_once
from audit_cli.records import Row

# The network is told that all is noise, though the template is not. Of 12 card, address and e-mail lines planted 256
# times in examples/realistic, their digits free, 78 % of 64 restarts brought all digits back, and 22 % of 12 lines
# planted 64 times; told a half it was 64 % and 20 %, told the share of the line that really is noise 50 % and 13 %.
START = 1.0


@dataclass(frozen=True)
class Fillings:
    """What came back in a row's slot; see `ExtractionMeasurement`."""

    exact: int
    recovered_share: float
    distinct: int
    most_frequent: int
    rank: int | None
    filling: tuple[int, ...]
    evaluations: int


@dataclass(frozen=True)
class ExtractionProbe:
    """How to measure: so many `restarts` from time `t`, each from noise of its own in the slot, under a dynamics."""

    restarts: int = 64
    t: float = START
    sampler: Sampler = field(default_factory=Ancestral)
    seed: int = 0
    batch_size: int | None = None

    def evaluations(self) -> int:
        """About how many network evaluations a text takes."""
        return self.restarts * self.sampler.evaluations(self.t)

    def measure(self, denoiser: Denoiser, rows: Sequence[Row], slots: Sequence[Sequence[int]]) -> Iterator[Fillings]:
        """What came back of each row, in order; `slots` are the free positions of each, at least one."""
        results: list[Fillings | None] = [None] * len(rows)
        longest = max((len(row.tokens) for row in rows), default=1)
        room = trajectories_at_once(longest, denoiser.device)
        at_once = min(self.restarts, room)
        for indices, tokens, _ in by_length(list(rows), max(1, room // self.restarts)):
            slot = torch.zeros(tokens.shape, dtype=torch.bool)
            for i, index in enumerate(indices):
                slot[i, list(slots[index])] = True
            under_prompt = prompted(denoiser, rows[indices[0]].prompt)
            # Random numbers are keyed by the restart, so it does not matter which run together.
            parts = [
                self._some(under_prompt, tokens, slot, range(first, min(self.restarts, first + at_once)))
                for first in range(0, self.restarts, at_once)
            ]
            ends = torch.cat([end for end, _ in parts], dim=1)
            spent = torch.cat([evaluations for _, evaluations in parts], dim=1)
            for i, index in enumerate(indices):
                results[index] = _fillings(rows[index], slot[i], ends[i], int(spent[i].sum()))
        yield from (result for result in results if result is not None)

    def _some(self, denoiser: Denoiser, tokens: Tensor, slot: Tensor, restarts: range) -> tuple[Tensor, Tensor]:
        """Where these restarts of each row ended (rows, restarts, length), and their evaluations (rows, restarts)."""
        times = torch.full((len(tokens),), self.t, dtype=torch.float64)
        starts = slot_starts(denoiser, tokens, slot, times, restarts, self.seed)
        size = self.batch_size or auto_batch_size(tokens.shape[1], denoiser.device)
        outcome = self.sampler.run(denoiser, starts, size)
        shape = (len(tokens), len(restarts))
        return outcome.tokens.cpu().view(*shape, -1), outcome.evaluations.cpu().view(shape)


def _fillings(row: Row, slot: Tensor, ends: Tensor, evaluations: int) -> Fillings:
    """One row's: `slot` (length), `ends` (restarts, length)."""
    clean = torch.tensor(row.tokens)
    right = ends[:, slot] == clean[slot]
    counts = Counter(map(tuple, ends[:, slot].tolist()))
    # Of equals the first to come, in the order of the restarts.
    (filling, most), *_ = counts.most_common(1)
    own = counts[tuple(clean[slot].tolist())]
    filled = clean.clone()
    filled[slot] = torch.tensor(filling)
    return Fillings(
        exact=own,
        recovered_share=float(right.double().mean()),
        distinct=len(counts),
        most_frequent=most,
        rank=sum(count >= own for count in counts.values()) if own else None,
        filling=tuple(filled[row.start : row.stop].tolist()),
        evaluations=evaluations,
    )
