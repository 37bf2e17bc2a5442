"""What several Triton kernels compute alike. Import it only where Triton is wanted."""

import triton
import triton.language as tl

# See logit_stats/chunked.py: exp of it is zero, and 0 * -inf must not become NaN.
LOWEST = tl.constexpr(-1000.0)
# The order in which kernels store row statistics, (6, rows) and (4, rows).
REALS = ("lse", "entropy", "top_logp", "second_logp", "target_logp", "current_logp")
IDS = ("top_token", "second_token", "target_rank", "current_rank")


@triton.jit
def floored(d):
    """Differences of logits, none below LOWEST; -inf minus -inf, NaN, becomes LOWEST as well."""
    return tl.where(d > LOWEST, d, LOWEST)


@triton.jit
def log1p(q):
    """log(1 + q) for q >= 0 with the digits of q: Triton has no log1p that all its backends and versions share.

    log(1 + q) = 2 artanh(s), s = q / (2 + q) <= 1/3 up to q = 1, where the terms left out are below 1e-9 of the sum.
    """
    s = q / (2 + q)
    x = s * s
    series = 1.0 + x * (1 / 3 + x * (1 / 5 + x * (1 / 7 + x * (1 / 9 + x * (1 / 11 + x * (1 / 13 + x / 15))))))
    return tl.where(q <= 1, 2 * s * series, tl.log(1 + q))


@triton.jit
def tanh(x):
    """Hyperbolic tangent, to an absolute error of 1e-7."""
    e = tl.exp(-2 * tl.abs(x))
    y = (1 - e) / (1 + e)
    return tl.where(x < 0, -y, y)


@triton.jit
def store_law(reals, ids, rows, best, best_token, second, second_token, q, t, finite, several):
    """A row's statistics but for those of given tokens, where it is `finite`; `reals` and `ids` point to the row.

    best is the largest logit, q and t the q-form relative to it (logit_stats/chunked.py). Returns log(1 + q).
    """
    log_mass = log1p(q)
    tl.store(reals, best + log_mass, mask=finite)
    tl.store(reals + rows, log_mass - t / (1 + q), mask=finite)
    tl.store(reals + 2 * rows, -log_mass, mask=finite)
    tl.store(reals + 3 * rows, second - best - log_mass, mask=finite & several)
    tl.store(ids, best_token, mask=finite)
    tl.store(ids + rows, second_token, mask=finite & several)
    return log_mass
