"""DiffusionGemma's reverse loop: accept what is nearly certain, and make noise of all the rest, again and again.

It is no ancestral sampler: a token that is not accepted is drawn anew from pure noise, so a corrupted text is only the
canvas from which the loop starts, and what comes back was written by the model and not merely mended. The bound on
the entropy of what is accepted together is that of arXiv 2505.24857; the loop is transformers' own
(`generation_diffusion_gemma.py`).
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor
from uddm_kernels import keyed_uniforms, logit_stats
from uddm_kernels.linear_stats.chunked import row_blocks
from uddm_kernels.uniform_step.chunked import inverse_cdf

from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.samplers import Outcome


@runtime_checkable
class SelfConditioned(Denoiser, Protocol):
    """A denoiser that also takes what it predicted in the step before, as soft embeddings."""

    def soften(self, probabilities: Float[Tensor, "rows vocab"]) -> Float[Tensor, "rows width"]:
        """Σ_v p_v E_v: the mean embedding of a token under each row's law."""
        ...

    def hidden_after(
        self,
        tokens: Int64[Tensor, "rows length"],
        t: Float64[Tensor, " rows"],
        soft: Float[Tensor, "rows length width"],
        context: Any = None,
    ) -> Float[Tensor, "rows length width"]:
        """`hidden` after a step of which `soft` is the prediction."""
        ...


@dataclass(frozen=True)
class EntropyBound:
    """The loop and its published constants.

    In step n of N, counted down to 1, logits are divided by t_min + (t_max - t_min) n/N. Positions are accepted in the
    order of their entropy while the sum of those before stays within `bound` nats. A row ends when its argmax was the
    same `stability` times and its mean entropy is below `confidence`; its argmax is the result.
    """

    steps: int = 48
    bound: float = 0.1
    t_min: float = 0.4
    t_max: float = 0.8
    stability: int = 1
    confidence: float = 0.005
    name: ClassVar[str] = "entropy-bound"

    def evaluations(self, start: float) -> int:
        return self.steps

    def run(self, denoiser: Denoiser, starts: Starts, batch_size: int) -> Outcome:
        """Raises TypeError for a network that takes no last prediction."""
        if not isinstance(denoiser, SelfConditioned):
            raise TypeError("the entropy-bound loop needs a network that is conditioned on its own last prediction")
        tokens = starts.tokens.clone()
        evaluations = torch.zeros(tokens.shape[0], dtype=torch.int64, device=tokens.device)
        for rows in torch.arange(tokens.shape[0], device=tokens.device).split(batch_size):
            tokens[rows], evaluations[rows] = self._some(denoiser, starts, rows)
        return Outcome(tokens, evaluations)

    def _some(self, denoiser: SelfConditioned, starts: Starts, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Where these rows end, and after how many evaluations."""
        out = starts.tokens[rows].clone()
        spent = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        canvas, soft = out.clone(), None
        stable = torch.zeros(len(rows), dtype=torch.int64, device=rows.device)
        going = torch.arange(len(rows), device=rows.device)
        for step in range(self.steps, 0, -1):
            at = rows[going]
            t, free = starts.time[at], starts.free[at]
            hidden = denoiser.hidden(canvas, t) if soft is None else denoiser.hidden_after(canvas, t, soft)
            temperature = self.t_min + (self.t_max - self.t_min) * step / self.steps
            u, v = keyed_uniforms(
                starts.key[at][:, None, :],
                starts.stream[at][:, None],
                starts.level[at][:, None],
                torch.tensor(self.steps - step, device=rows.device),
                torch.arange(canvas.shape[1], device=rows.device),
                denoiser.head.backend,
            )
            entropy, best, drawn, soft = _look(denoiser, hidden, temperature, u)
            best = torch.where(free, best, canvas)
            spent[going] += 1
            stable = torch.where((best == out[going]).all(dim=1), stable + 1, 0) if step < self.steps else stable
            out[going] = best
            mean = torch.where(free, entropy, 0).sum(dim=1) / free.sum(dim=1)
            ended = (stable >= self.stability) & (mean < self.confidence)
            support = denoiser.noise_tokens
            noise = support[(v * support.shape[0]).long().clamp(max=support.shape[0] - 1)]
            new = torch.where(self._accepted(entropy, free), drawn, noise)
            on = ~ended
            canvas, soft = torch.where(free, new, canvas)[on], soft[on]
            stable, going = stable[on], going[on]
            if not going.numel():
                break
        return out, spent

    def _accepted(self, entropy: Float[Tensor, "rows length"], free: Tensor) -> Tensor:
        ordered, order = torch.where(free, entropy, torch.inf).sort(dim=1)
        before = ordered.cumsum(dim=1) - ordered
        # Past the free positions infinity is subtracted from itself, and no comparison holds.
        return torch.zeros_like(free).scatter_(1, order, before <= self.bound)


def _look(
    denoiser: SelfConditioned, hidden: Tensor, temperature: float, u: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Entropy, argmax, a draw, and the soft embedding of every position, (rows, length) each."""
    shape, flat = hidden.shape[:2], hidden.flatten(0, 1)
    parts = []
    for part in row_blocks(flat.shape[0], denoiser.vocab_size, flat.device):
        logits = denoiser.head.logits(flat[part]) / temperature
        law = torch.softmax(logits, dim=1)
        stats = logit_stats(logits, backend=denoiser.head.backend, overwrite=True)
        if bool(torch.isnan(stats.entropy).any()):
            raise FloatingPointError("the network's logits are not finite")
        drawn = inverse_cdf(law, u.reshape(-1)[part])
        parts.append((stats.entropy, stats.top_token, drawn, denoiser.soften(law)))
    entropy, best, drawn, soft = (torch.cat(column) for column in zip(*parts, strict=True))
    return entropy.view(shape), best.view(shape), drawn.view(shape), soft.view(*shape, -1)
