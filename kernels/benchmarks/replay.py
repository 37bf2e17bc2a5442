"""What a sampling run asked of its network, recorded, and the same questions asked again with no sampling between."""

from dataclasses import dataclass, field

from torch import Tensor
from uddm_kernels import LinearHead

from audit_cli.checkpoints.network_denoiser import NetworkDenoiser
from audit_cli.diffusion.corruption import Starts
from audit_cli.diffusion.samplers import Ancestral
from benchmarks.rivals import head_product


@dataclass
class Call:
    """One forward pass of a run, tokens (rows, length) at times t (rows,), and how many rows the head then saw."""

    tokens: Tensor
    t: Tensor
    head_rows: int = 0


@dataclass(frozen=True)
class _RecordingHead(LinearHead):
    """Counts its rows into the latest forward pass of `calls`."""

    calls: list[Call] = field(default_factory=list)

    def logits(self, hidden: Tensor) -> Tensor:
        self.calls[-1].head_rows += hidden.shape[0]
        return super().logits(hidden)


class _RecordingDenoiser(NetworkDenoiser):
    def __init__(self, denoiser: NetworkDenoiser) -> None:
        super().__init__(denoiser.network, denoiser.schedule, denoiser.law)
        self.calls: list[Call] = []
        self.head = _RecordingHead(denoiser.head.weight, denoiser.head.bias, calls=self.calls)

    def hidden(self, tokens: Tensor, t: Tensor, context: None = None) -> Tensor:
        self.calls.append(Call(tokens.clone(), t.clone()))
        return super().hidden(tokens, t, context)


def record(sampler: Ancestral, denoiser: NetworkDenoiser, starts: Starts, batch: int) -> list[Call]:
    """Run the sampler once and return its forward passes, in order."""
    recording = _RecordingDenoiser(denoiser)
    sampler.run(recording, starts, batch)
    return recording.calls


def replay(denoiser: NetworkDenoiser, calls: list[Call]) -> None:
    """The forward passes and head products of a recorded run, and nothing else."""
    for call in calls:
        hidden = denoiser.hidden(call.tokens, call.t)
        head_product(hidden.flatten(0, 1)[: call.head_rows], denoiser.head.weight, denoiser.head.bias)
