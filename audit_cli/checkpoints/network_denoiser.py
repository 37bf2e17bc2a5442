"""Networks as a `Denoiser`: those that are told the time, and those that are not."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor
from uddm_kernels import LinearHead

from audit_cli.checkpoints.family import Request
from audit_cli.checkpoints.safetensors_files import check_tensors, load_tensors, stored_tensors, tensors_sha256
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import Schedule
from audit_cli.models.additive import AdditiveTransformer
from audit_cli.models.dense import types
from audit_cli.models.dit import DiT
from audit_cli.models.gidd import Gidd
from audit_cli.models.sumi import Sumi
from audit_cli.models.time_features import MIN_ROWS, in_whole_blocks

Timeless = TypeVar("Timeless", Gidd, Sumi)


class _Unprompted:
    """What the denoisers of our own networks share. A prompt is the beginning of a row to them."""

    stateless = True

    def __init__(
        self,
        network: AdditiveTransformer | DiT | Gidd | Sumi,
        head: LinearHead,
        noise_tokens: Tensor,
        schedule: Schedule,
        law: Law,
    ) -> None:
        self.network = network.eval().requires_grad_(False)
        self.head = head
        self.noise_tokens = noise_tokens
        self.schedule = schedule
        self.law = law
        self.vocab_size = network.config.vocab_size
        self.max_length = network.config.max_length
        self.device = network.head.weight.device

    def prepare(self, prompt: Tensor | None) -> Any:
        """There is nothing to prepare, and no prompt beside a row."""
        if prompt is not None:
            raise ValueError("this model takes no prompt beside a row")
        return None


class NetworkDenoiser(_Unprompted):
    """A network whose noise is uniform over its whole vocabulary, and that takes its time as sigma or as level."""

    def __init__(self, network: AdditiveTransformer | DiT, schedule: Schedule, law: Law) -> None:
        head = LinearHead(network.head.weight, network.head.bias)
        tokens = torch.arange(network.config.vocab_size, device=network.head.weight.device)
        super().__init__(network, head, tokens, schedule, law)
        self._timed = network

    @torch.inference_mode()
    def hidden(self, tokens: Tensor, t: Tensor, context: Any = None) -> Tensor:
        length = tokens.shape[1]
        tokens, mask = filled_up(tokens)
        condition = in_whole_blocks(lambda times: noise_condition(self._timed, self.schedule, times), t)
        hidden: Tensor = self.network(tokens, condition, mask)
        return hidden[:, :length]


class TimelessDenoiser(_Unprompted):
    """A network that is told nothing of time, and learned the leave-one-out law of noise over `noise_tokens`."""

    def __init__(self, network: Gidd | Sumi, head: LinearHead, noise_tokens: Tensor, schedule: Schedule) -> None:
        super().__init__(network, head, noise_tokens, schedule, Law.LEAVE_ONE_OUT)

    @torch.inference_mode()
    def hidden(self, tokens: Tensor, t: Tensor, context: Any = None) -> Tensor:
        length = tokens.shape[1]
        hidden: Tensor = self.network(*filled_up(tokens))
        return hidden[:, :length]


def read_network(request: Request, make: Callable[[], Timeless]) -> tuple[Timeless, str]:
    """The network that `make` makes with the weights of a folder, and their SHA-256. Raises CheckpointError."""
    folder = request.folder
    stored = stored_tensors(folder)
    with torch.device("meta"):
        network = make()
    expected = {name: tuple(p.shape) for name, p in network.state_dict().items()}
    check_tensors(folder, stored, expected)
    chosen = {name: stored[name] for name in expected}
    tensors = load_tensors(chosen, request.device, types(network, request.dtype))
    network.load_state_dict(tensors, assign=True)
    return network, tensors_sha256(tensors)


def filled_up(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
    """Rows (rows, length) filled up to whole blocks, and the mask (1, filled length) of real tokens, if any were added.

    Matrix products of few rows, attention over unaligned memory and the ends of buffers all round differently, and a
    row must not depend on its place in a batch.
    """
    length = tokens.shape[1]
    missing = -length % MIN_ROWS
    if not missing:
        return tokens, None
    mask = torch.arange(length + missing, device=tokens.device)[None] < length
    return torch.nn.functional.pad(tokens, (0, missing)), mask


def noise_condition(network: AdditiveTransformer | DiT, schedule: Schedule, t: Tensor) -> Tensor:
    """What the network is told of times t: sigma = -log alpha for the DiT, the level 1 - alpha for the additive one."""
    alpha = schedule.alpha(t)
    condition = -torch.log(alpha) if isinstance(network, DiT) else 1 - alpha
    return condition.float()
