"""Statistics of parts of a vocabulary, before they are joined."""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32, Int32
from torch import Tensor


@dataclass(frozen=True)
class Partials:
    """What is known of each row from each part of the vocabulary: spans of one head, or the shards of several devices.

    In the q-form, relative to the part's best logit m: q = Σ e^(z - m) and t = Σ (z - m) e^(z - m) over all tokens but
    the best. `before_*` counts the tokens that rank before the target or the current token, itself left out. A part
    whose logits are all -inf has best -inf; a row with NaN or +inf has best +inf in some part. Ids are those of the
    whole vocabulary, and parts with smaller ones come first; of a `second` that is -inf the id means nothing.
    """

    best: Float32[Tensor, "parts rows"]
    q: Float32[Tensor, "parts rows"]
    t: Float32[Tensor, "parts rows"]
    second: Float32[Tensor, "parts rows"]
    best_token: Int32[Tensor, "parts rows"]
    second_token: Int32[Tensor, "parts rows"]
    before_target: Int32[Tensor, "parts rows"] | None
    before_current: Int32[Tensor, "parts rows"] | None
    vocab: int

    @classmethod
    def empty(cls, parts: int, rows: int, device: torch.device, vocab: int, target: bool, current: bool) -> "Partials":
        """Storage that is not filled."""
        reals = torch.empty(4, parts, rows, dtype=torch.float32, device=device)
        ids = torch.empty(2 + target + current, parts, rows, dtype=torch.int32, device=device)
        best, q, t, second = reals
        return cls(best, q, t, second, ids[0], ids[1], ids[2] if target else None, ids[-1] if current else None, vocab)

    def tensors(self) -> list[Tensor | None]:
        """In the order of the fields."""
        return [getattr(self, name) for name in COLUMNS]

    @classmethod
    def joined(cls, shards: "list[Partials]", first_tokens: list[int]) -> "Partials":
        """The parts of consecutive shards of one vocabulary; a shard's ids count from its first token."""

        columns: dict[str, Any] = {}
        for name in COLUMNS:
            own = [getattr(shard, name) for shard in shards]
            if name in ("best_token", "second_token"):
                own = [ids + first for ids, first in zip(own, first_tokens, strict=True)]
            columns[name] = None if own[0] is None else torch.cat(own)
        return cls(vocab=sum(shard.vocab for shard in shards), **columns)


COLUMNS = tuple(name for name in Partials.__dataclass_fields__ if name != "vocab")
