"""What a row of logits is summarised to."""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class RowStats:
    """Statistics of the softmax of each row. Logarithms are natural; ranks count from 0, ties by token id.

    `second_*` is NaN and -1 where the vocabulary has one token only.
    """

    lse: Float[Tensor, " rows"]
    entropy: Float[Tensor, " rows"]
    top_token: Int64[Tensor, " rows"]
    top_logp: Float[Tensor, " rows"]
    second_token: Int64[Tensor, " rows"]
    second_logp: Float[Tensor, " rows"]
    target_logp: Float[Tensor, " rows"]
    target_rank: Int64[Tensor, " rows"]
    current_logp: Float[Tensor, " rows"]
    current_rank: Int64[Tensor, " rows"]

    @classmethod
    def empty(cls, rows: int, device: torch.device, dtype: torch.dtype) -> "RowStats":
        """Storage for `rows` rows, filled with NaN and -1."""
        return cls(
            *(
                torch.full((rows,), -1, dtype=torch.int64, device=device)
                if field.name.endswith(("token", "rank"))
                else torch.full((rows,), torch.nan, dtype=dtype, device=device)
                for field in fields(cls)
            )
        )

    def write(self, start: int, block: "RowStats") -> None:
        """Copy the rows of `block` to rows `start`, `start` + 1, …"""
        rows = block.lse.shape[0]
        for field in fields(self):
            getattr(self, field.name)[start : start + rows] = getattr(block, field.name)
