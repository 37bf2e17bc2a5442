"""Who looks on while an audit runs. The default looks away; the command line shows progress."""

import time
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from audit_cli.diffusion.denoiser import Denoiser


class Watch:
    """Told of the stages of an audit and of their progress, in network evaluations of one sequence."""

    def whole(self, name: str, parts: int) -> None:
        """A long run of so many parts begins, each of stages of its own."""

    def part_done(self) -> None:
        """A part of the long run is done."""

    def stage(self, name: str, evaluations: int) -> None:
        """A stage of about so many evaluations begins."""

    def advance(self, evaluations: int) -> None:
        """So many evaluations of the present stage are done."""

    def warn(self, message: str) -> None:
        """Something that a person should know before the time is spent."""


class TimeIsOver(Exception):
    """Raised where a run may take no longer."""


class TimeLimited(Watch):
    """Another watch, until a time of `time.monotonic`: then progress raises TimeIsOver."""

    def __init__(self, watch: Watch, until: float) -> None:
        self._watch, self._until = watch, until

    def stage(self, name: str, evaluations: int) -> None:
        """See `Watch`."""
        self._watch.stage(name, evaluations)

    def advance(self, evaluations: int) -> None:
        """See `Watch`."""
        self._watch.advance(evaluations)
        if time.monotonic() >= self._until:
            raise TimeIsOver

    def warn(self, message: str) -> None:
        """See `Watch`."""
        self._watch.warn(message)


class WatchedDenoiser:
    """A denoiser whose evaluations are reported as they happen: texts may take hours each.

    Where memory runs out it goes on with half as many rows at once. A row's result does not depend on the others.
    """

    def __init__(self, denoiser: Denoiser, watch: Watch) -> None:
        self._denoiser = denoiser
        self._watch = watch
        self._most: int | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._denoiser, name)

    def hidden(
        self, tokens: Int64[Tensor, "rows length"], t: Float64[Tensor, " rows"], context: Any = None
    ) -> Float[Tensor, "rows length width"]:
        """See `Denoiser.hidden`."""
        return self._in_parts(lambda part: self._denoiser.hidden(tokens[part], t[part], context), len(tokens))

    def hidden_after(
        self,
        tokens: Int64[Tensor, "rows length"],
        t: Float64[Tensor, " rows"],
        soft: Float[Tensor, "rows length width"],
        context: Any = None,
    ) -> Float[Tensor, "rows length width"]:
        """See `SelfConditioned.hidden_after`."""
        inner: Any = self._denoiser
        return self._in_parts(lambda part: inner.hidden_after(tokens[part], t[part], soft[part], context), len(tokens))

    def _in_parts(self, some: Callable[[slice], Tensor], rows: int) -> Tensor:
        while True:
            size = min(rows, self._most or rows)
            try:
                parts = [some(slice(at, at + size)) for at in range(0, rows, size)]
            except (MemoryError, RuntimeError) as error:
                if not _out_of_memory(error):
                    raise
                if size <= 1:
                    raise MemoryError("a single text takes more memory than there is") from None
                self._most = size // 2
                self._watch.warn(f"out of memory: going on with {self._most} texts at once")
            else:
                self._watch.advance(rows)
                return parts[0] if len(parts) == 1 else torch.cat(parts)
            torch.cuda.empty_cache()


def _out_of_memory(error: Exception) -> bool:
    said = str(error)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or "allocate memory" in said or "not enough" in said


def watched(denoiser: Denoiser, watch: Watch, name: str, evaluations: int) -> Denoiser:
    """The denoiser for a stage of about so many evaluations, which `watch` is told of."""
    watch.stage(name, evaluations)
    return WatchedDenoiser(denoiser, watch)
