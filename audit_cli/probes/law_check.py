"""Does the probability of a token rise because that token is the one standing there?

Under a leave-one-out law it must not. At a position i put a random token u, then w, and take
c = ½ {[z_u - z_w | x_i = u] - [z_u - z_w | x_i = w]}, the median over probes, at the smallest noise: 0 for a
leave-one-out law, 2 to 6 for a posterior law, whatever V and however sharp the network.

A network that is known to predict the posterior is asked the same after its law was converted, on texts of its own at
several levels of noise: the conversion is sound where it takes the copying out.
"""

from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser, predict
from audit_cli.diffusion.samplers import Sampler
from audit_cli.diffusion.schedules import T_MIN, time_at_level
from audit_cli.probes.batching import auto_batch_size
from audit_cli.probes.samples import generate
from audit_cli.records import LawCheck, LawCheckResult

CONFIRMED_BELOW = 0.3
CONTRADICTED_ABOVE = 1.0
PROBES = 128
# Where the conversion of a posterior law is tried, the least noise first, and on how many texts of its own.
SOUND_LEVELS = (0.05, 0.1, 0.25, 0.5, 0.75)
OWN_TEXTS = 16


def law_of(medians: Sequence[float], probes: int = PROBES) -> LawCheckResult:
    """What median contrasts say together: the larger counts. Raises FloatingPointError where one is no number."""
    contrast = max(medians, key=abs)
    if not np.isfinite(medians).all():
        raise FloatingPointError("the network's logits are not finite")
    if abs(contrast) < CONFIRMED_BELOW:
        check = LawCheck.CONFIRMED
    else:
        check = LawCheck.CONTRADICTED if abs(contrast) > CONTRADICTED_ABOVE else LawCheck.LEAKS
    return LawCheckResult(contrast, check, probes)


def random_contrast(denoiser: Denoiser, seed: int, probes: int = PROBES) -> float:
    """The median contrast on rows of random tokens."""
    rng = np.random.default_rng(seed)
    support = denoiser.noise_tokens.cpu().numpy()
    return _median_contrast(denoiser, rng.choice(support, (probes, min(denoiser.max_length, 128))), rng)


def text_contrast(denoiser: Denoiser, seed: int, texts: Sequence[Sequence[int]], probes: int = PROBES) -> float:
    """The median contrast on rows of texts."""
    rng = np.random.default_rng(seed)
    by_length: dict[int, list[Sequence[int]]] = {}
    # Few texts are probed in many places: a median over two probes says nothing.
    for text in islice(cycle(texts), probes):
        by_length.setdefault(len(text), []).append(text)
    contrasts = [_contrasts(denoiser, np.array(group), rng) for group in by_length.values()]
    return float(np.median(np.concatenate(contrasts)))


def _median_contrast(denoiser: Denoiser, rows: np.ndarray, rng: np.random.Generator) -> float:
    return float(np.median(_contrasts(denoiser, rows, rng)))


def sound_time(denoiser: Denoiser, sampler: Sampler, seed: int) -> float | None:
    """The time of least noise at which a posterior law converts to one that does not copy; None where there is none."""
    texts = [row.tokens for row in generate(denoiser, OWN_TEXTS, sampler, seed, min(denoiser.max_length, 128))]
    for level in SOUND_LEVELS:
        t = time_at_level(denoiser.schedule, level)
        noisy = corrupted_starts(denoiser, torch.tensor(texts), [t], range(PROBES // OWN_TEXTS), seed).tokens
        rng = np.random.default_rng(seed)
        if abs(np.median(_contrasts(denoiser, noisy.cpu().numpy(), rng, t))) < CONFIRMED_BELOW:
            return t
    return None


def _contrasts(
    denoiser: Denoiser, rows: np.ndarray, rng: np.random.Generator, converted_at: float | None = None
) -> np.ndarray:
    """One contrast a row: of the network's own law at the smallest noise, or of the converted law at a time."""
    count, length = rows.shape
    support: np.ndarray = denoiser.noise_tokens.cpu().numpy()
    position = rng.integers(0, length, size=(count,))
    n = len(support)
    first = rng.integers(0, n, size=(count,))
    second = (first + rng.integers(1, n, size=(count,))) % n
    u, w = support[first], support[second]
    with np.errstate(invalid="ignore"):
        ratios = [_log_ratio(denoiser, rows, position, put, u, w, converted_at) for put in (u, w)]
        return 0.5 * (ratios[0] - ratios[1])


def _log_ratio(
    denoiser: Denoiser,
    rows: np.ndarray,
    position: np.ndarray,
    put: np.ndarray,
    u: np.ndarray,
    w: np.ndarray,
    converted_at: float | None,
) -> np.ndarray:
    """log p(u) - log p(w) at `position`, with the token `put` standing there."""
    device = denoiser.device
    tokens = torch.tensor(rows, dtype=torch.int64, device=device)
    at = torch.arange(len(rows), device=device), torch.tensor(position, device=device)
    tokens[at] = torch.tensor(put, dtype=torch.int64, device=device)
    ratios = [_target_logp(denoiser, tokens, at, token, converted_at) for token in (u, w)]
    out: np.ndarray = (ratios[0] - ratios[1]).cpu().numpy()
    return out


def _target_logp(
    denoiser: Denoiser, tokens: Tensor, at: tuple[Tensor, Tensor], token: np.ndarray, converted_at: float | None
) -> Tensor:
    device = tokens.device
    target = tokens.clone()
    target[at] = torch.tensor(token, dtype=torch.int64, device=device)
    out = []
    for part in torch.arange(len(tokens), device=device).split(auto_batch_size(tokens.shape[1], device)):
        time = T_MIN if converted_at is None else converted_at
        t = torch.full((len(part),), time, dtype=torch.float64, device=device)
        stats = predict(denoiser, tokens[part], t, target[part], leave_one_out=converted_at is not None)
        logp = stats.target_logp.view(len(part), -1)
        out.append(logp[torch.arange(len(part), device=device), at[1][part]])
    return torch.cat(out).double()
