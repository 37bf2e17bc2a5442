"""Does the probability of a token rise because that token is the one standing there?

Under a leave-one-out law it must not. At a position i put a random token u, then w, and take
c = ½ {[z_u - z_w | x_i = u] - [z_u - z_w | x_i = w]}, the median over probes, at the smallest noise: 0 for a
leave-one-out law, 2 to 6 for a posterior law, whatever V and however sharp the network.
"""

from collections.abc import Sequence
from itertools import cycle, islice

import numpy as np
import torch
from torch import Tensor

from audit_cli.diffusion.denoiser import Denoiser, predict
from audit_cli.diffusion.schedules import T_MIN
from audit_cli.probes.batching import auto_batch_size
from audit_cli.records import LawCheck, LawCheckResult

CONFIRMED_BELOW = 0.3
CONTRADICTED_ABOVE = 1.0
PROBES = 128


def check_law(
    denoiser: Denoiser, seed: int, texts: Sequence[Sequence[int]] = (), probes: int = PROBES
) -> LawCheckResult:
    """The law check on random rows, and on rows of `texts` where there are any: the larger median counts."""
    rng = np.random.default_rng(seed)
    support = denoiser.noise_tokens.cpu().numpy()
    length = min(denoiser.max_length, max((len(text) for text in texts), default=denoiser.max_length), 128)
    medians = [_median_contrast(denoiser, rng.choice(support, (probes, length)), rng)]
    by_length: dict[int, list[Sequence[int]]] = {}
    # Few texts are probed in many places: a median over two probes says nothing.
    for text in islice(cycle(texts), probes if texts else 0):
        by_length.setdefault(len(text), []).append(text)
    contrasts = [_contrasts(denoiser, np.array(group), rng) for group in by_length.values()]
    if contrasts:
        medians.append(float(np.median(np.concatenate(contrasts))))
    contrast = max(medians, key=abs)
    if not np.isfinite(medians).all():
        raise FloatingPointError("the network's logits are not finite")
    if abs(contrast) < CONFIRMED_BELOW:
        check = LawCheck.CONFIRMED
    else:
        check = LawCheck.CONTRADICTED if abs(contrast) > CONTRADICTED_ABOVE else LawCheck.LEAKS
    return LawCheckResult(contrast, check, probes)


def _median_contrast(denoiser: Denoiser, rows: np.ndarray, rng: np.random.Generator) -> float:
    return float(np.median(_contrasts(denoiser, rows, rng)))


def _contrasts(denoiser: Denoiser, rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One contrast a row."""
    count, length = rows.shape
    support: np.ndarray = denoiser.noise_tokens.cpu().numpy()
    position = rng.integers(0, length, size=(count,))
    n = len(support)
    first = rng.integers(0, n, size=(count,))
    second = (first + rng.integers(1, n, size=(count,))) % n
    u, w = support[first], support[second]
    with np.errstate(invalid="ignore"):
        return 0.5 * (_log_ratio(denoiser, rows, position, u, u, w) - _log_ratio(denoiser, rows, position, w, u, w))


def _log_ratio(
    denoiser: Denoiser, rows: np.ndarray, position: np.ndarray, put: np.ndarray, u: np.ndarray, w: np.ndarray
) -> np.ndarray:
    """log p(u) - log p(w) at `position`, with the token `put` standing there."""
    device = denoiser.device
    tokens = torch.tensor(rows, dtype=torch.int64, device=device)
    at = torch.arange(len(rows), device=device), torch.tensor(position, device=device)
    tokens[at] = torch.tensor(put, dtype=torch.int64, device=device)
    ratios = [_target_logp(denoiser, tokens, at, u), _target_logp(denoiser, tokens, at, w)]
    out: np.ndarray = (ratios[0] - ratios[1]).cpu().numpy()
    return out


def _target_logp(denoiser: Denoiser, tokens: Tensor, at: tuple[Tensor, Tensor], token: np.ndarray) -> Tensor:
    target = tokens.clone()
    target[at] = torch.tensor(token, dtype=torch.int64, device=tokens.device)
    out = []
    for part in torch.arange(len(tokens), device=tokens.device).split(auto_batch_size(tokens.shape[1])):
        t = torch.full((len(part),), T_MIN, dtype=torch.float64, device=tokens.device)
        logp = predict(denoiser, tokens[part], t, target[part]).target_logp.view(len(part), -1)
        out.append(logp[torch.arange(len(part), device=tokens.device), at[1][part]])
    return torch.cat(out).double()
