"""One reverse step, and one statistics pass, from hidden rows: no backbone, the head and what follows it."""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F
from uddm_kernels import LinearHead, jump_bound, keyed_uniforms, linear_stats, uniform_step

from benchmarks import rivals
from benchmarks.timing import Variant

LENGTH, WIDTH = 128, 256
LEVEL, LAST_LEVEL = 0.5, 1e-5
# Of a dense float64 step: it takes seconds, and varies little.
SLOW_REPEATS = 3


@dataclass(frozen=True)
class Inputs:
    """hidden (batch, length, width); current and target tokens (batch, length)."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    current: Tensor
    target: Tensor

    @classmethod
    def random(cls, vocab: int, batch: int) -> "Inputs":
        """Logits of unit variance. Everything is drawn in place, to leave no mark on the peak of memory."""
        random = torch.Generator().manual_seed(0)
        return cls(
            hidden=torch.empty(batch, LENGTH, WIDTH).normal_(generator=random),
            weight=torch.empty(vocab, WIDTH).normal_(std=WIDTH**-0.5, generator=random),
            bias=torch.empty(vocab).normal_(std=0.1, generator=random),
            current=torch.randint(vocab, (batch, LENGTH), generator=random),
            target=torch.randint(vocab, (batch, LENGTH), generator=random),
        )

    @property
    def head(self) -> LinearHead:
        return LinearHead(self.weight, self.bias)

    def logits(self) -> Tensor:
        return F.linear(self.hidden, self.weight, self.bias)

    def numbers(self) -> tuple[Tensor, Tensor]:
        """The two uniforms of every row, keyed as the sampler keys them."""
        zero = torch.zeros((), dtype=torch.int64)
        key = torch.tensor([1, 2])
        return keyed_uniforms(key, zero, zero, zero, torch.arange(self.current.numel()))


def transitions() -> dict[str, tuple[float, float]]:
    """(alpha_t, alpha_s) of a step from level .5, by how many steps the whole way has, and of the last one.

    Noise removal goes from the smallest noise to none, and no row can do without a prediction.
    """
    steps = {f"T = {t}": (1 - LEVEL, 1 - LEVEL + 1 / t) for t in (16, 1000)}
    return {**steps, "noise removal": (1 - LAST_LEVEL, 1.0)}


def our_step(inputs: Inputs, alpha_t: float, alpha_s: float) -> Tensor:
    """Numbers first, then the head for the rows whose number may let them jump; tokens (rows,)."""
    u, v = inputs.numbers()
    a, s = (torch.full_like(u, alpha) for alpha in (alpha_t, alpha_s))
    rows = (u < jump_bound(a, s)).nonzero().squeeze(1)
    current = inputs.current.flatten()
    noise_tokens = torch.arange(inputs.weight.shape[0])
    tokens = current.clone()
    tokens[rows] = uniform_step(
        inputs.hidden.flatten(0, 1)[rows], inputs.head, current[rows], a[rows], s[rows], u[rows], v[rows], noise_tokens
    )
    return tokens


def step_variants(vocab: int, batch: int) -> list[Variant]:
    """The dense ways cost the same at every alpha and are measured at T = 16."""
    inputs = Inputs.random(vocab, batch)
    every_row = inputs.current.numel()
    dense = transitions()["T = 16"]
    every_floor = "floor, noise removal"
    variants = [
        Variant(
            "published",
            lambda: rivals.published_step(inputs.logits(), inputs.current, *dense),
            every_floor,
            every_row,
            repeats=SLOW_REPEATS,
        ),
        Variant(
            "float32", lambda: rivals.float32_step(inputs.logits(), inputs.current, *dense), every_floor, every_row
        ),
    ]
    for name, (alpha_t, alpha_s) in transitions().items():
        bound = jump_bound(*(torch.tensor(alpha, dtype=torch.float64) for alpha in (alpha_t, alpha_s)))
        rows = int((inputs.numbers()[0] < bound).sum())
        hidden = inputs.hidden.flatten(0, 1)[:rows]
        variants += [
            Variant(f"ours, {name}", partial(our_step, inputs, alpha_t, alpha_s), f"floor, {name}", rows),
            Variant(
                f"floor, {name}",
                partial(rivals.head_product, hidden, inputs.weight, inputs.bias),
                f"floor, {name}",
                rows,
            ),
        ]
    return variants


def statistics_variants(vocab: int, batch: int) -> list[Variant]:
    """Entropy and a target's log-probability; ours adds what else is in `RowStats` (ranks, the best two tokens)."""
    inputs = Inputs.random(vocab, batch)
    hidden, target = inputs.hidden.flatten(0, 1), inputs.target.flatten()
    calls = {
        "published": lambda: rivals.published_statistics(inputs.logits(), inputs.target),
        "float32": lambda: rivals.float32_statistics(inputs.logits(), inputs.target),
        "ours": lambda: linear_stats(hidden, inputs.head, target),
        "floor": lambda: rivals.head_product(hidden, inputs.weight, inputs.bias),
    }
    return [Variant(name, call, "floor", len(target)) for name, call in calls.items()]
