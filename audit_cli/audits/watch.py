"""Who looks on while an audit runs. The default looks away; the command line shows progress."""

from typing import Any

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from audit_cli.diffusion.denoiser import Denoiser


class Watch:
    """Told of the stages of an audit and of their progress, in network evaluations of one sequence."""

    def stage(self, name: str, evaluations: int) -> None:
        """A stage of about so many evaluations begins."""

    def advance(self, evaluations: int) -> None:
        """So many evaluations of the present stage are done."""

    def warn(self, message: str) -> None:
        """Something that a person should know before the time is spent."""


class WatchedDenoiser:
    """A denoiser whose evaluations are reported as they happen: texts may take hours each."""

    def __init__(self, denoiser: Denoiser, watch: Watch) -> None:
        self._denoiser = denoiser
        self._watch = watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def hidden(
        self, tokens: Int64[Tensor, "rows length"], t: Float64[Tensor, " rows"], context: Any = None
    ) -> Float[Tensor, "rows length width"]:
        """See `Denoiser.hidden`."""
        self._watch.advance(len(tokens))
        return self._denoiser.hidden(tokens, t, context)


def watched(denoiser: Denoiser, watch: Watch, name: str, evaluations: int) -> Denoiser:
    """The denoiser for a stage of about so many evaluations, which `watch` is told of."""
    watch.stage(name, evaluations)
    return WatchedDenoiser(denoiser, watch)
