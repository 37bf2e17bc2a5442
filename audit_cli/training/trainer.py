"""The training loop: AdamW, cosine learning rate, exact resume.

Everything random in step k is a function of (seed, k), so a run that was interrupted and resumed is the same run.
"""

import hashlib
import json
import math
from collections.abc import Generator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.native import build_network, save_native
from audit_cli.checkpoints.native_config import NativeConfig
from audit_cli.checkpoints.native_folder import STATE_FILE
from audit_cli.checkpoints.network_denoiser import noise_condition
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.checkpoints.whole_files import replace_file
from audit_cli.models.additive import AdditiveTransformer
from audit_cli.models.dit import DiT
from audit_cli.training.losses import elbo, resampled_cross_entropy
from audit_cli.training.rows import TrainingRows

# Below this time nearly every token is clean and a step teaches next to nothing.
FIRST_TIME = 1e-3
LOSSES = ("resampled", "elbo")
# Streams of random numbers.
_NOISE, _SHUFFLE = 0, 1


class TrainingError(Exception):
    """Training that cannot start, resume or go on; the message says why."""


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. `ema` is the decay of an exponential moving average of the weights, or None."""

    steps: int = 3500
    batch_size: int = 16
    learning_rate: float = 5e-3
    final_rate: float = 0.05
    warmup: int = 50
    weight_decay: float = 0.01
    clip: float = 1.0
    loss: str = "resampled"
    ema: float | None = None
    seed: int = 0
    save_every: int = 500


@dataclass(frozen=True)
class Progress:
    """A finished step, and the mean loss over the last hundred."""

    step: int
    loss: float


def train(
    config: NativeConfig,
    rows: TrainingRows,
    tokenizer: TextTokenizer,
    settings: TrainingSettings,
    folder: Path,
    device: torch.device,
    resume: bool = False,
) -> Generator[Progress, None, None]:
    """Train a network and keep `folder` a loadable checkpoint; yields after every step. Raises TrainingError.

    A closed generator saves its state, from which `resume` goes on to the same weights.
    """
    run = _Run(config, rows, settings, device)
    first = run.restore(folder / STATE_FILE) if resume else 0
    recent: list[float] = []
    for step in range(first, settings.steps):
        recent = [*recent[-99:], run.step(step)]
        if not math.isfinite(recent[-1]):
            raise TrainingError(f"the loss is not a number at step {step + 1}: try a smaller --learning-rate")
        done = step + 1
        if done % settings.save_every == 0 and done < settings.steps:
            run.save(folder, tokenizer, done)
        try:
            yield Progress(done, sum(recent) / len(recent))
        except GeneratorExit:
            run.save(folder, tokenizer, done)
            raise
    save_native(folder, config, tokenizer, *run.weights())
    (folder / STATE_FILE).unlink(missing_ok=True)


class _Run:
    """Network, optimizer and data of a run in progress."""

    def __init__(
        self, config: NativeConfig, rows: TrainingRows, settings: TrainingSettings, device: torch.device
    ) -> None:
        self.config, self.settings, self.device = config, settings, device
        torch.manual_seed(settings.seed)
        network = build_network(config)
        if not isinstance(network, AdditiveTransformer | DiT):
            raise TrainingError(f"{config.backbone_name}: no network that is trained here")
        self.network = network.to(device)
        self.parameters = dict(self.network.named_parameters())
        self.ema = {k: p.detach().clone() for k, p in self.parameters.items()} if settings.ema else None
        self.optimizer = torch.optim.AdamW(
            self.network.parameters(),
            lr=settings.learning_rate,
            betas=(0.9, 0.98),
            weight_decay=settings.weight_decay,
            fused=True,
        )
        self.tokens = torch.from_numpy(rows.tokens).to(device)
        self.lengths = torch.from_numpy(rows.lengths).to(device)
        self.ragged = bool((self.lengths < self.tokens.shape[1]).any())
        self.epoch, self.order = -1, np.empty(0, dtype=np.int64)

    def step(self, step: int) -> float:
        """One update; returns its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.learning_rate * self._rate(step)
        loss = self._loss(step)
        self.optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.settings.clip)
        self.optimizer.step()
        if self.ema is not None and self.settings.ema is not None:
            # Early on the average follows the weights closely, so that it forgets the initialisation.
            decay = min(self.settings.ema, (1 + step) / (10 + step))
            for name, average in self.ema.items():
                average.lerp_(self.parameters[name].detach(), 1 - decay)
        return float(loss.detach())

    def _rate(self, step: int) -> float:
        if step < self.settings.warmup:
            return (step + 1) / self.settings.warmup
        share = (step - self.settings.warmup) / max(1, self.settings.steps - self.settings.warmup)
        floor = self.settings.final_rate
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * share))

    def _loss(self, step: int) -> Tensor:
        rng = np.random.default_rng([self.settings.seed, _NOISE, step])
        picked = torch.from_numpy(self._batch(step)).to(self.device)
        clean = self.tokens[picked].long()
        rows, length = clean.shape
        real = torch.arange(length, device=self.device) < self.lengths[picked, None]
        # One time a row, stratified over the batch.
        strata = (np.arange(rows) + rng.random(rows)) / rows
        t = torch.from_numpy(FIRST_TIME + (1 - FIRST_TIME) * strata).to(self.device)
        schedule = self.config.schedule
        alpha = schedule.alpha(t)
        vocab = self.network.config.vocab_size
        drawn = torch.from_numpy(rng.integers(0, vocab, (rows, length))).to(self.device)
        resampled = (torch.from_numpy(rng.random((rows, length))).to(self.device) >= alpha[:, None]) & real
        noisy = torch.where(resampled, drawn, clean)
        hidden = self.network(noisy, noise_condition(self.network, schedule, t), real if self.ragged else None)
        logits = self.network.head(hidden)
        if self.settings.loss == "elbo":
            return elbo(logits, clean, noisy, real, alpha.float(), schedule.alpha_derivative(t).float())
        return resampled_cross_entropy(logits, clean, resampled)

    def _batch(self, step: int) -> np.ndarray:
        """Row numbers of a step: epochs without replacement, each in an order of its own."""
        count, size = self.tokens.shape[0], self.settings.batch_size
        out = []
        for i in range(step * size, (step + 1) * size):
            epoch, index = divmod(i, count)
            if epoch != self.epoch:
                shuffle = np.random.default_rng([self.settings.seed, _SHUFFLE, epoch])
                self.epoch, self.order = epoch, shuffle.permutation(count)
            out.append(self.order[index])
        return np.array(out, dtype=np.int64)

    def weights(self) -> tuple[dict[str, Tensor], dict[str, Tensor] | None]:
        """Raw and averaged weights."""
        return {k: p.detach() for k, p in self.parameters.items()}, self.ema

    def _identity(self) -> str:
        """What must be the same for a run to be resumed."""
        rows = hashlib.sha256(self.tokens.cpu().numpy().tobytes() + self.lengths.cpu().numpy().tobytes()).hexdigest()
        settings = {k: v for k, v in asdict(self.settings).items() if k != "save_every"}
        return json.dumps({"settings": settings, "config": self.config.to_json(), "rows": rows}, sort_keys=True)

    def save(self, folder: Path, tokenizer: TextTokenizer, step: int) -> None:
        """Write the checkpoint as it is, and the state to resume from."""
        weights, ema = self.weights()
        save_native(folder, self.config, tokenizer, weights, ema)
        state = {f"weights.{k}": v for k, v in weights.items()}
        state |= {f"ema.{k}": v for k, v in (ema or {}).items()}
        for name, parameter in self.parameters.items():
            moments = self.optimizer.state[parameter]
            state |= {f"{key}.{name}": moments[key] for key in ("exp_avg", "exp_avg_sq")}
        copies = {k: v.contiguous().cpu() for k, v in state.items()}
        metadata = {"step": str(step), "identity": self._identity()}
        replace_file(folder / STATE_FILE, partial(save_file, copies, metadata=metadata))

    def restore(self, file: Path) -> int:
        """Take up a saved state; returns the number of finished steps."""
        if not file.is_file():
            raise TrainingError(f"{file}: nothing to resume from; a finished run leaves no state")
        try:
            with safe_open(file, framework="pt", device=str(self.device)) as opened:
                metadata = opened.metadata() or {}
                other = _differences(metadata.get("identity", "{}"), self._identity())
                if other:
                    raise TrainingError(f"{file}: saved by a run with another {other}; it cannot be resumed")
                step = int(metadata["step"])
                if not 0 < step < self.settings.steps:
                    raise ValueError(f"step {step} of {self.settings.steps}")
                for name, parameter in self.parameters.items():
                    for key in ("weights", "exp_avg", "exp_avg_sq", *(["ema"] if self.ema else [])):
                        shape = opened.get_slice(f"{key}.{name}").get_shape()
                        if tuple(shape) != tuple(parameter.shape):
                            raise ValueError(f"{key}.{name} has shape {shape}")
                with torch.no_grad():
                    for name, parameter in self.parameters.items():
                        parameter.copy_(opened.get_tensor(f"weights.{name}"))
                        self.optimizer.state[parameter] = {
                            "step": torch.tensor(float(step)),
                            "exp_avg": opened.get_tensor(f"exp_avg.{name}"),
                            "exp_avg_sq": opened.get_tensor(f"exp_avg_sq.{name}"),
                        }
                        if self.ema is not None:
                            self.ema[name].copy_(opened.get_tensor(f"ema.{name}"))
        except (SafetensorError, KeyError, ValueError, RuntimeError, OSError) as error:
            raise TrainingError(f"{file}: damaged ({brief(str(error))})") from None
        return step


def _differences(saved: str, present: str) -> str:
    """What differs between two runs' identities, in words; empty if nothing does."""
    before, now = json.loads(saved), json.loads(present)
    if not isinstance(before, dict) or not isinstance(before.get("settings", {}), dict):
        raise ValueError("its identity is none")
    names = {"rows": "training text", "config": "network or schedule"}
    changed = [names[key] for key in names if before.get(key) != now[key]]
    settings = before.get("settings", {})
    changed += [key.replace("_", " ") for key, value in now["settings"].items() if settings.get(key) != value]
    return ", ".join(changed)
