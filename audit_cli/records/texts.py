"""Texts and rows of tokens."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text to audit, and where it stands: `text`, or `token_ids` to be taken as they are.

    `prompt` is a text that stands before the candidate and is never corrupted or measured. Without an `id` it gets one
    when it is given to an audit.
    """

    source: str = ""
    line: int = 0
    id: str = ""
    text: str | None = None
    token_ids: tuple[int, ...] | None = None
    prompt: str | None = None


@dataclass(frozen=True, slots=True)
class Skipped:
    """A candidate that could not be measured, and why. `reason` holds no text of the candidate."""

    candidate: Candidate
    reason: str


@dataclass(frozen=True, slots=True)
class Row:
    """A candidate, or a window of it, as the network sees it.

    Its own tokens are positions `start` to `stop`, the rest is layout; a window begins at the candidate's token
    `offset`. `prompt` are tokens that the network takes beside the row. Only own tokens are corrupted and measured,
    unless `whole`: then all are.
    """

    candidate: Candidate
    tokens: tuple[int, ...]
    start: int
    stop: int
    offset: int = 0
    prompt: tuple[int, ...] = ()
    whole: bool = False

    @property
    def own(self) -> tuple[int, ...]:
        return self.tokens[self.start : self.stop]

    @property
    def free(self) -> tuple[int, ...]:
        """The tokens that are corrupted and measured."""
        return self.tokens if self.whole else self.own
