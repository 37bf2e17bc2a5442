"""Philox-4x32-10 (Salmon et al., SC 2011): random numbers that are a function of a key and a counter.

Because no state is carried, a number belongs to what it is for (this text, this restart, this step, this position)
and not to the order in which it is asked for. Batch size, device and resume cannot change it.
"""

from uddm_kernels.philox.chunked import keyed_uniforms, philox4x32

__all__ = ["keyed_uniforms", "philox4x32"]
