"""Time and memory of the kernels, the sampler and the whole audit beside their rivals: `python -m benchmarks`.

Every table measures several ways to do one thing side by side, on a CPU or on a CUDA GPU. *ours* is what the program
does. *floor* is what cannot be left out, with nothing done to its results: the matrix products and forward passes, or
the copy of as many bytes. All others are rivals (`rivals`, `packaged`). `linear_stats` and `logit_stats` have the
statistics of rows, `steps` single reverse steps, `sweeps` whole sampling runs, `end_to_end` an audit.
"""

import os

# As `uddm-audit` has it. Read when torch is loaded, which every module here does.
AS_THE_PROGRAM = {"OMP_WAIT_POLICY": "PASSIVE", "LRU_CACHE_CAPACITY": "16", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16"}
for _name, _value in AS_THE_PROGRAM.items():
    os.environ.setdefault(_name, _value)
