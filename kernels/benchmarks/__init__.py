"""Time and memory of the kernels and of the sampler beside their rivals, in one run: `python -m benchmarks`.

Four ways to do the same thing are measured side by side. *published*: a plain rendering of what the published
evaluation code does, dense and in float64 (`rivals`). *float32*: the same dense computation, written with care in
float32. *ours*: `uddm_kernels` and the thinned sampler. *floor*: only what cannot be left out, the matrix products
and forward passes, with nothing done to their results. `steps` has single steps and statistics passes, `sweeps`
whole sampling runs.
"""
