"""Candidates for a jump."""

from typing import NamedTuple

from jaxtyping import Float64, Int64
from torch import Tensor


class Events(NamedTuple):
    """Rows, steps and positions of candidates for a jump, and their two uniforms."""

    row: Int64[Tensor, " events"]
    step: Int64[Tensor, " events"]
    position: Int64[Tensor, " events"]
    u: Float64[Tensor, " events"]
    v: Float64[Tensor, " events"]
