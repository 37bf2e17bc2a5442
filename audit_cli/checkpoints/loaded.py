"""What loading a checkpoint gives: a denoiser, its tokenizer, how a text becomes a row, and provenance."""

from dataclasses import dataclass

from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import PAD, TextTokenizer
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.records import Candidate, ModelInfo, Row, Skipped

MAX_CHARACTERS_A_TOKEN = 64


@dataclass(frozen=True)
class Layout:
    """How a candidate becomes a row of tokens: `natural` length, or `padded` to the model's with a pad token."""

    max_length: int
    pad_id: int | None = None

    def place(self, candidate: Candidate, ids: tuple[int, ...]) -> Row:
        """The row of a candidate that is not longer than the model."""
        padding = 0 if self.pad_id is None else self.max_length - len(ids)
        return Row(candidate, ids + (self.pad_id or 0,) * padding, 0, len(ids))


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint, ready to be audited."""

    denoiser: Denoiser
    tokenizer: TextTokenizer | None
    layout: Layout
    info: ModelInfo

    def token_ids(self, candidate: Candidate) -> tuple[int, ...] | Skipped:
        """The candidate's own tokens, however many, or why it has none."""
        ids = candidate.token_ids
        if ids is None:
            if self.tokenizer is None:
                return Skipped(candidate, "the model has no tokenizer: give the tokens themselves as input_ids")
            # A text far longer than the model is not worth tokenizing whole; a few tokens may spell many characters.
            text = (candidate.text or "")[: MAX_CHARACTERS_A_TOKEN * (self.layout.max_length + 1)]
            try:
                ids = self.tokenizer.encode(text)
            except Untokenizable as error:
                return Skipped(candidate, str(error))
        outside = next((i for i in ids if not 0 <= i < self.denoiser.vocab_size), None)
        if outside is not None:
            return Skipped(
                candidate, f"token {outside} is outside the model's vocabulary of {self.denoiser.vocab_size}"
            )
        return ids if ids else Skipped(candidate, "the text has no tokens")

    def row(self, candidate: Candidate) -> Row | Skipped:
        """The candidate's row of tokens, or why it has none."""
        ids = self.token_ids(candidate)
        if isinstance(ids, Skipped):
            return ids
        if len(ids) > self.layout.max_length:
            return Skipped(candidate, f"{len(ids)} tokens, and the model takes at most {self.layout.max_length}")
        if candidate.token_ids is not None:
            return Row(candidate, ids, 0, len(ids))
        return self.layout.place(candidate, ids)


def layout_for(rows: str, max_length: int, tokenizer: TextTokenizer | None) -> Layout:
    """The layout of a model trained with `--rows rows`; packed rows have no padding, so texts keep their length."""
    pad_id = tokenizer.id_of(PAD) if rows == "pad" and tokenizer is not None else None
    return Layout(max_length, pad_id)
