"""Joins the statistics of parts of a vocabulary: spans that one kernel passed over apart, or a model's shards."""

from jaxtyping import Float, Int64
from torch import Tensor

from uddm_kernels.backend import Kernel, choose
from uddm_kernels.combine import chunked, reference
from uddm_kernels.combine.types import Partials
from uddm_kernels.logit_stats.types import RowStats

__all__ = ["Partials", "combine"]


KERNEL = Kernel("combine", chunked.combine, reference.combine)


def combine(
    parts: Partials,
    target: Int64[Tensor, " rows"] | None = None,
    target_logit: Float[Tensor, " rows"] | None = None,
    current: Int64[Tensor, " rows"] | None = None,
    current_logit: Float[Tensor, " rows"] | None = None,
    backend: str | None = None,
) -> RowStats:
    """The statistics of rows whose parts are given, as `logit_stats` defines them.

    `target` and `current` have their logits beside them, which the parts' `before_*` were counted with. Where such a
    token is one of the two best, they decide its log-probability and rank: its own logit may differ in the last bit.

    Raises ValueError where a token comes without its logit or its counts.
    """
    for name, tokens, logit, before in (
        ("target", target, target_logit, parts.before_target),
        ("current", current, current_logit, parts.before_current),
    ):
        if (tokens is None) != (logit is None) or (tokens is not None and before is None):
            raise ValueError(f"{name} needs its logits, and parts that counted the tokens before it")
    name = backend or choose(parts.best)
    return KERNEL.run(name, backend is None, parts, target, target_logit, current, current_logit)
