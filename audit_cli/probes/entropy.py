"""Conditional entropy and surprise of texts: one forward pass of the clean text at the smallest noise.

For a leave-one-out law that is the entropy of every token given all the others, the quantity of pseudo-likelihood
associative memories, and the surprise -log p(token | all others) beside it.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from uddm_kernels import RowStats

from audit_cli.diffusion.corruption import corrupted_starts
from audit_cli.diffusion.denoiser import Denoiser, Law, predict, prompted
from audit_cli.diffusion.schedules import T_MIN, reached_time
from audit_cli.probes.batching import auto_batch_size, by_length, windows
from audit_cli.records import SURPRISE_CAP, VANISHING_NATS, EntropyMeasurement, Row, Skipped, TokenMeasurement

# A token of which the model is surprised less than this counts into a run of known tokens (nats).
SURE_NATS = 0.1
CONVERTED = "leave-one-out, converted"


@dataclass(frozen=True)
class EntropyProbe:
    """How to measure: at time t, averaged over `draws` corruptions; `draws` = 0 feeds the clean text.

    `prefix` keeps the tokens before a position and replaces it and all later ones by noise, a forward pass a token:
    H(t_i | t_<i) instead of the entropy given all others. `convert` measures the leave-one-out law of a network that
    predicts the posterior, which takes noise to be sound (`law_check.sound_time`).
    """

    t: float = T_MIN
    draws: int = 0
    prefix: bool = False
    seed: int = 0
    per_token: bool = False
    batch_size: int | None = None
    convert: bool = False

    def evaluations(self, row: Row) -> int:
        """How many network evaluations a row takes."""
        return max(1, self.draws) * (len(row.free) if self.prefix else 1)

    def measure(self, denoiser: Denoiser, rows: Iterable[Row]) -> Iterator[EntropyMeasurement | Skipped]:
        """One result a row, in order, as the rows come."""
        for window in windows(rows):
            results: list[EntropyMeasurement | Skipped | None] = [None] * len(window)
            for indices, tokens, own in by_length(window, self._rows_at_once(window, denoiser.device)):
                measured = self._group(denoiser, [window[i] for i in indices], tokens.to(denoiser.device), own)
                for i, result in zip(indices, measured, strict=True):
                    results[i] = result
            yield from (result for result in results if result is not None)

    def _rows_at_once(self, window: list[Row], device: torch.device) -> int:
        longest = max(len(row.tokens) for row in window)
        size = self.batch_size or auto_batch_size(longest, device)
        return max(1, size // longest) if self.prefix else size

    def _group(
        self, denoiser: Denoiser, rows: list[Row], tokens: Tensor, own: Tensor
    ) -> Iterator[EntropyMeasurement | Skipped]:
        denoiser = prompted(denoiser, rows[0].prompt)
        passes = [self._predict(denoiser, tokens, own, draw) for draw in range(max(1, self.draws))]
        shape = (len(passes), *tokens.shape)
        entropy, surprise, margin, top_p = (
            torch.stack(column).view(shape).double().cpu()
            for column in zip(
                *((s.entropy, -s.target_logp, margin_of(s), s.top_logp.exp()) for s in passes), strict=True
            )
        )
        rank, top = passes[0].target_rank.view(tokens.shape).cpu(), passes[0].top_token.view(tokens.shape).cpu()
        for i, row in enumerate(rows):
            mine = own[i]
            if not bool(torch.isfinite(entropy[:, i, mine] + surprise[:, i, mine] + margin[:, i, mine]).all()):
                yield Skipped(row.candidate, "the network's output is not a number")
                continue
            yield self._summary(
                row, entropy[:, i, mine], surprise[:, i, mine], margin[:, i, mine], top_p[:, i, mine],
                rank[i, mine], top[i, mine], denoiser,
            )  # fmt: skip

    def _predict(self, denoiser: Denoiser, tokens: Tensor, own: Tensor, draw: int) -> RowStats:
        if self.prefix:
            return _predict_prefix(denoiser, tokens, own, self.seed, draw, self.convert)
        t = torch.full((tokens.shape[0],), self.t, dtype=torch.float64, device=tokens.device)
        if not self.draws:
            return predict(denoiser, tokens, t, tokens, leave_one_out=self.convert)
        starts = corrupted_starts(denoiser, tokens, [self.t], range(draw, draw + 1), self.seed, own, redraw=False)
        return predict(denoiser, starts.tokens, t, tokens, leave_one_out=self.convert)

    def _summary(
        self,
        row: Row,
        entropy: Tensor,
        surprise: Tensor,
        margin: Tensor,
        top_p: Tensor,
        rank: Tensor,
        top: Tensor,
        denoiser: Denoiser,
    ) -> EntropyMeasurement:
        mean_h, mean_s = entropy.mean(0), surprise.mean(0)
        draws = entropy.mean(1)
        cap = SURPRISE_CAP * math.log(denoiser.vocab_size)
        return EntropyMeasurement(
            tokens=len(row.free),
            law=CONVERTED if self.convert and denoiser.law is Law.POSTERIOR else str(denoiser.law),
            t=self.t,
            draws=max(1, self.draws),
            context="prefix" if self.prefix else "all",
            entropy_mean=float(mean_h.mean()),
            entropy_sd_draws=float(draws.std()) if len(draws) > 1 else None,
            entropy_max=float(mean_h.max()),
            surprise_mean=float(mean_s.mean()),
            surprise_max=float(mean_s.max()),
            surprise_rms=float(mean_s.clamp(max=cap).square().mean().sqrt()),
            margin_mean=float(margin.mean()),
            vanishing_share=float((mean_h < VANISHING_NATS).double().mean()),
            longest_sure_run=longest_run(mean_s < SURE_NATS),
            evaluations=self.evaluations(row),
            per_token=self._tokens(row, mean_h, mean_s, margin, top_p, rank, top) if self.per_token else None,
        )

    def _tokens(
        self, row: Row, entropy: Tensor, surprise: Tensor, margin: Tensor, top_p: Tensor, rank: Tensor, top: Tensor
    ) -> tuple[TokenMeasurement, ...]:
        columns = (entropy, surprise, rank, margin[0], top_p[0], top)
        return tuple(
            TokenMeasurement(position, token, *values)
            for position, (token, *values) in enumerate(zip(row.free, *(c.tolist() for c in columns), strict=True))
        )


def margin_of(stats: RowStats) -> Tensor:
    """log p of the text's own token minus that of the best other token; negative where the model prefers another."""
    rival = torch.where(stats.target_rank == 0, stats.second_logp, stats.top_logp)
    return stats.target_logp - rival


def longest_run(flags: Tensor) -> int:
    """Length of the longest run of true values."""
    best = run = 0
    for flag in flags.tolist():
        run = run + 1 if flag else 0
        best = max(best, run)
    return best


def _predict_prefix(denoiser: Denoiser, tokens: Tensor, own: Tensor, seed: int, draw: int, convert: bool) -> RowStats:
    """Statistics of position i from a row whose positions from i on are pure noise, for every own position."""
    rows, length = tokens.shape
    noise = corrupted_starts(denoiser, tokens, [1.0], range(draw, draw + 1), seed, own, redraw=False).tokens
    stats = RowStats.empty(rows * length, tokens.device, torch.float32)
    position = torch.arange(length, device=tokens.device)
    for i in range(rows):
        mine = own[i].nonzero().squeeze(1)
        partial = torch.where(position >= mine[:, None], noise[i], tokens[i])
        partial = torch.where(own[i].to(tokens.device), partial, tokens[i])
        # The network is told how much of the row is noise.
        level = (len(mine) - torch.arange(len(mine), dtype=torch.float64)) / length
        t = torch.tensor(
            [reached_time(denoiser.schedule, float(share)) for share in level],
            dtype=torch.float64,
            device=tokens.device,
        )
        full = predict(denoiser, partial, t, tokens[i].expand(len(mine), length), leave_one_out=convert)
        pick = torch.arange(len(mine), device=tokens.device) * length + mine
        for name in RowStats.__dataclass_fields__:
            getattr(stats, name)[i * length + mine] = getattr(full, name)[pick].to(getattr(stats, name).dtype)
    return stats
