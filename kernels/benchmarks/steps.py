"""One reverse step from hidden rows: no backbone, the head and what follows it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from uddm_kernels import LinearHead, jump_bound, keyed_uniforms, uniform_step

from benchmarks import rivals
from benchmarks.events import input_sets
from benchmarks.paper import LENGTH, LEVEL
from benchmarks.timing import Timing, Variant, rotating

# Of the paper's grid, where noise removal begins.
LAST_LEVEL = 1e-5
# Of a dense float64 step on a CPU: it takes seconds, and varies little.
SLOW_REPEATS = 3


@dataclass(frozen=True)
class Inputs:
    """hidden (batch, length, width); current tokens (batch, length); noise tokens (vocab,); a flag of bad rows (1,)."""

    hidden: Tensor
    weight: Tensor
    bias: Tensor
    current: Tensor
    noise_tokens: Tensor
    failed: Tensor

    @classmethod
    def random(cls, device: str, batch: int, width: int, vocab: int, seed: int) -> "Inputs":
        """Logits of unit variance, float32."""
        random = torch.Generator(device).manual_seed(seed)
        return cls(
            hidden=torch.empty(batch, LENGTH, width, device=device).normal_(generator=random),
            weight=torch.empty(vocab, width, device=device).normal_(std=width**-0.5, generator=random),
            bias=torch.empty(vocab, device=device).normal_(std=0.1, generator=random),
            current=torch.randint(vocab, (batch, LENGTH), generator=random, device=device),
            noise_tokens=torch.arange(vocab, device=device),
            failed=torch.zeros(1, dtype=torch.int32, device=device),
        )

    @property
    def head(self) -> LinearHead:
        return LinearHead(self.weight, self.bias)

    def logits(self) -> Tensor:
        return F.linear(self.hidden, self.weight, self.bias)

    def numbers(self) -> tuple[Tensor, Tensor]:
        """The two uniforms of every row, keyed as the sampler keys them."""
        device = self.hidden.device
        zero = torch.zeros((), dtype=torch.int64, device=device)
        key = torch.tensor([1, 2], device=device)
        return keyed_uniforms(key, zero, zero, zero, torch.arange(self.current.numel(), device=device))


def transitions() -> dict[str, tuple[float, float]]:
    """(alpha_t, alpha_s) of a step from level .5, by how many steps the whole way has, and of the last one.

    Noise removal goes from the smallest noise to none, and no row can do without a prediction.
    """
    steps = {f"T = {t}": (1 - LEVEL, 1 - LEVEL + 1 / t) for t in (16, 1000)}
    return {**steps, "noise removal": (1 - LAST_LEVEL, 1.0)}


def our_step(alpha_t: float, alpha_s: float, inputs: Inputs) -> Tensor:
    """Numbers first, then the head for the rows whose number may let them jump; tokens (rows,)."""
    u, v = inputs.numbers()
    a, s = (torch.full_like(u, alpha) for alpha in (alpha_t, alpha_s))
    rows = (u < jump_bound(a, s)).nonzero().squeeze(1)
    current = inputs.current.flatten()
    hidden = inputs.hidden.flatten(0, 1)[rows]
    tokens = current.clone()
    tokens[rows] = uniform_step(
        hidden,
        inputs.head,
        current[rows],
        a[rows],
        s[rows],
        u[rows],
        v[rows],
        inputs.noise_tokens,
        # As the sampler does, which does not wait for a GPU to look at every step.
        failed=inputs.failed,
    )
    return tokens


def dense_step(step: Callable[..., Tensor], alpha_t: float, alpha_s: float, inputs: Inputs) -> Tensor:
    """All logits, then one of the dense ways; tokens (batch, length)."""
    return step(inputs.logits(), inputs.current, alpha_t, alpha_s)


def head_of(rows: int, inputs: Inputs) -> None:
    """The head's product of so many rows."""
    rivals.head_product(inputs.hidden.flatten(0, 1)[:rows], inputs.weight, inputs.bias)


@dataclass(frozen=True)
class Step:
    """A step of `batch` sequences of 128 tokens, from hidden states `width` wide, over `vocab` tokens."""

    device: str
    batch: int
    width: int
    vocab: int

    kind: ClassVar[str] = "step"
    rivals: ClassVar[tuple[str, ...]] = ("published, float64", "published, float32", "multinomial")

    @property
    def title(self) -> str:
        """The size."""
        return f"one reverse step, V = {self.vocab:,}, {self.batch} x {LENGTH} tokens, hidden width {self.width}"

    def variants(self) -> list[Variant]:
        """The dense ways cost the same at every alpha and are measured at T = 16."""
        inputs = self._inputs()
        every_row = inputs[0].current.numel()
        alphas = transitions()["T = 16"]
        dense: dict[str, Callable[..., Tensor]] = {
            "published, float64": rivals.published_step,
            "published, float32": partial(rivals.published_step, dtype=torch.float32),
            "multinomial": rivals.multinomial_step,
        }
        variants = [
            Variant(
                name,
                rotating(partial(dense_step, step, *alphas), inputs),
                "floor, noise removal",
                head_rows=every_row,
                repeats=SLOW_REPEATS if self.device == "cpu" else Variant.repeats,
            )
            for name, step in dense.items()
        ]
        u, _ = inputs[0].numbers()
        for name, (alpha_t, alpha_s) in transitions().items():
            bound = jump_bound(*(torch.tensor(alpha, dtype=torch.float64) for alpha in (alpha_t, alpha_s)))
            rows = int((u < float(bound)).sum())
            ours, floor = partial(our_step, alpha_t, alpha_s), partial(head_of, rows)
            variants += [
                Variant(f"ours, {name}", rotating(ours, inputs), f"floor, {name}", head_rows=rows),
                Variant(f"floor, {name}", rotating(floor, inputs), f"floor, {name}", head_rows=rows),
            ]
        return variants

    def notes(self, variants: list[Variant], timings: dict[str, Timing]) -> list[str]:
        """What the last kind of step is, and what a run does otherwise."""
        return [
            "Noise removal is the last step of a run, in which every row needs a prediction.",
            "Ours draws the random numbers of one step here; a run draws those of all steps together.",
        ]

    def _inputs(self) -> list[Inputs]:
        size = 4 * self.width * (self.vocab + self.batch * LENGTH)
        return [
            Inputs.random(self.device, self.batch, self.width, self.vocab, seed)
            for seed in range(input_sets(size, self.device))
        ]
