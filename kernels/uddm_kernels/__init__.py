"""Row statistics, reverse steps and keyed random numbers for discrete diffusion over tokens.

Knows tensors; knows nothing of models, files or text. Each kernel is a folder: `reference.py` is float64 and
readable, `chunked.py` is torch and never holds all (rows, vocabulary) values, `fused.py` is Triton, and the folder's
`__init__` has the one function that the rest of the program calls. `backend` says which of them runs.
"""

from uddm_kernels.combine import Partials, combine
from uddm_kernels.corrupt import corrupt
from uddm_kernels.dense import linear
from uddm_kernels.head import LinearHead
from uddm_kernels.jump_events import Events, jump_events
from uddm_kernels.linear_stats import linear_stats
from uddm_kernels.logit_stats import RowStats, logit_stats
from uddm_kernels.philox import keyed_uniforms, philox4x32
from uddm_kernels.power_sums import PowerSums, power_sums
from uddm_kernels.uniform_step import jump_bound, uniform_step

__all__ = [
    "Events",
    "LinearHead",
    "Partials",
    "PowerSums",
    "RowStats",
    "combine",
    "corrupt",
    "jump_bound",
    "jump_events",
    "keyed_uniforms",
    "linear",
    "linear_stats",
    "logit_stats",
    "philox4x32",
    "power_sums",
    "uniform_step",
]
