"""The linear output layer of a language model, as the kernels see it."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from uddm_kernels.backend import choose
from uddm_kernels.dense import linear

# Matrix products of fewer rows take another code path (matrix times vector) and round differently; with at least
# this many rows a row's result does not depend on how many rows are beside it.
MIN_ROWS = 16
NARROW = (torch.bfloat16, torch.float16)
# Numbers of a 16-bit weight that are widened together: 16 MiB of float32, and on a GPU sixteen times as much.
WIDENED_AT_ONCE = 1 << 22


@dataclass(frozen=True)
class LinearHead:
    """logits = cap(scale * (hidden @ weight.T + bias)), forbidden tokens at -inf.

    weight (V, D); bias (V,) or None; `soft_cap` c means c * tanh(z / c); `forbidden` lists token ids that are never
    predicted (a mask token, the padded rows of a head). `weight=None`: the hidden rows are logits already. `backend`
    names the implementation that kernels use with this head, None the best there is.
    """

    weight: Float[Tensor, "vocab width"] | None
    bias: Float[Tensor, " vocab"] | None = None
    scale: float = 1.0
    soft_cap: float | None = None
    forbidden: tuple[int, ...] = ()
    backend: str | None = None

    def check(self, hidden: Tensor) -> int:
        """The size of the vocabulary. Raises ValueError unless `hidden` is floating point (rows, width) beside the
        weight."""
        width = "vocab" if self.weight is None else self.weight.shape[1]
        if hidden.ndim != 2 or not hidden.is_floating_point() or (width not in ("vocab", hidden.shape[1])):
            raise ValueError(f"hidden must be floating point (rows, {width}), got {hidden.dtype} {tuple(hidden.shape)}")
        if self.weight is None:
            return hidden.shape[1]
        if hidden.device != self.weight.device:
            raise ValueError(f"hidden rows are on {hidden.device}, the head is on {self.weight.device}")
        return self.weight.shape[0]

    def choose(self, hidden: Tensor) -> str:
        """The best implementation for rows like these."""
        return "chunked" if self.weight is None else choose(hidden, self.weight, self.bias)

    def powered(self, k: float) -> "LinearHead":
        """The head with k times these logits: its softmax is proportional to the k-th power of this one's.

        k c tanh(s z / c) is (k c) tanh(k s z / (k c)): a cap grows as the scale does, and so must a discount.
        """
        cap = None if self.soft_cap is None else k * self.soft_cap
        return replace(self, scale=k * self.scale, soft_cap=cap)

    def logits(self, hidden: Float[Tensor, "rows width"]) -> Float[Tensor, "rows vocab"]:
        """Logits of a block of rows: float32, or float64 for a float64 head. The caller keeps the block small."""
        z = _wide(hidden).clone() if self.weight is None else _product(hidden, self.weight, self.bias)
        if self.scale != 1.0:
            z *= self.scale
        if self.soft_cap is not None:
            z = z.div_(self.soft_cap).tanh_().mul_(self.soft_cap)
        if self.forbidden:
            z[:, list(self.forbidden)] = -torch.inf
        return z


def _product(hidden: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """hidden @ weight.T + bias, in float32 where either is narrower."""
    rows = hidden.shape[0]
    hidden = _wide(hidden)
    if rows < MIN_ROWS:
        hidden = torch.nn.functional.pad(hidden, (0, 0, 0, MIN_ROWS - rows))
    if weight.dtype not in NARROW:
        return linear(hidden, weight, bias)[:rows]
    # Logits rounded to 16 bits would be off by several hundredths of a nat: widen the weight piece by piece instead.
    out = hidden.new_empty(hidden.shape[0], weight.shape[0])
    at_once = WIDENED_AT_ONCE * (1 if weight.device.type == "cpu" else 16)
    step = max(1, at_once // weight.shape[1])
    for start in range(0, weight.shape[0], step):
        part = slice(start, start + step)
        out[:, part] = linear(hidden, weight[part].float(), None if bias is None else bias[part].float())
    return out[:rows]


def _wide(hidden: Tensor) -> Tensor:
    return hidden.float() if hidden.dtype in NARROW else hidden
