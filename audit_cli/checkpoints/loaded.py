"""What loading a checkpoint gives: a denoiser, its tokenizer, how a text becomes a row, and provenance."""

from dataclasses import dataclass

from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import PAD, TextTokenizer
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.records import Candidate, ModelInfo, Row, Skipped

# Of one text. More is a book: its parts are better audited as texts of their own.
MAX_CHARACTERS = 1 << 18
MAX_TOKENS = 1 << 18
FIRST_CHARACTERS = 1 << 10
NO_TOKENIZER = "the model has no tokenizer: give one with --tokenizer, or the tokens themselves as input_ids"


@dataclass(frozen=True)
class Layout:
    """How a candidate becomes a row of tokens: `natural` length, or `padded` to the model's with a pad token.

    `max_length` tokens of a text go into a row, between the tokens `before` and `after` it.
    """

    max_length: int
    pad_id: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def row_length(self) -> int:
        """The longest row, `before` and `after` included."""
        return len(self.before) + self.max_length + len(self.after)

    def place(self, candidate: Candidate, ids: tuple[int, ...], offset: int = 0) -> Row:
        """The row of a candidate's tokens from `offset` on, not more than the model takes.

        A candidate that was given as tokens is taken as it is, without any layout, and so are tokens beside which
        the layout has no room: references of the length of such a candidate.
        """
        if candidate.token_ids is not None or len(ids) > self.max_length:
            return Row(candidate, ids, 0, len(ids), offset)
        padding = () if self.pad_id is None else (self.pad_id,) * (self.max_length - len(ids))
        start = len(self.before)
        return Row(candidate, self.before + ids + self.after + padding, start, start + len(ids), offset)

    def unframed(self, row: Row) -> Row:
        """A row that the model wrote by itself, with the tokens between `before` and `after` as its own."""
        start = len(self.before) if row.tokens[: len(self.before)] == self.before else 0
        width = len(self.after)
        ends = (i for i in range(start, len(row.tokens) - width + 1) if row.tokens[i : i + width] == self.after)
        stop = next(ends, len(row.tokens)) if width else len(row.tokens)
        return Row(row.candidate, row.tokens, start, stop, row.offset)

    def room(self, candidate: Candidate) -> int:
        """How many of a candidate's tokens go into a row: all of a row's where the candidate is tokens."""
        return self.max_length if candidate.token_ids is None else self.row_length

    def offsets(self, tokens: int, room: int | None = None) -> tuple[int, ...]:
        """Where the windows of a text of so many tokens begin: one after the other, the last aligned to the end.

        A window has `room` for tokens, `max_length` by default.
        """
        room = room or self.max_length
        last = max(0, tokens - room)
        return (*range(0, last, room), last)


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
                return Skipped(candidate, NO_TOKENIZER)
            text = candidate.text or ""
            if len(text) > MAX_CHARACTERS:
                return Skipped(candidate, f"{len(text):,} characters, and one text may have {MAX_CHARACTERS:,}")
            try:
                ids = self._encode(self.tokenizer, text)
            except Untokenizable as error:
                return Skipped(candidate, str(error))
        if len(ids) > MAX_TOKENS:
            return Skipped(candidate, f"more than {MAX_TOKENS:,} tokens, and one text may have that many")
        outside = next((i for i in ids if not 0 <= i < self.denoiser.vocab_size), None)
        if outside is not None:
            return Skipped(
                candidate, f"token {outside} is outside the model's vocabulary of {self.denoiser.vocab_size}"
            )
        return ids if ids else Skipped(candidate, "the text has no tokens")

    def rows(self, candidate: Candidate) -> list[Row] | Skipped:
        """The candidate's row of tokens; of one longer than the model its windows; or why it has none."""
        ids = self.token_ids(candidate)
        if isinstance(ids, Skipped):
            return ids
        offsets = self.layout.offsets(len(ids), self.layout.room(candidate))
        return [self.window(candidate, ids, offset) for offset in offsets]

    @staticmethod
    def _encode(tokenizer: TextTokenizer, text: str) -> tuple[int, ...]:
        """The tokens of a text, or too many of its beginning's: some tokenizers make thousands of a character."""
        length = FIRST_CHARACTERS
        while length < len(text):
            beginning = tokenizer.encode(text[:length])
            if len(beginning) > MAX_TOKENS:
                return beginning
            length *= 4
        return tokenizer.encode(text)

    def window(self, candidate: Candidate, ids: tuple[int, ...], offset: int) -> Row:
        """The row of the tokens that begin at `offset`, as many as the model takes."""
        return self.layout.place(candidate, ids[offset : offset + self.layout.room(candidate)], offset)


def layout_for(rows: str, max_length: int, tokenizer: TextTokenizer | None) -> Layout:
    """The layout of a model trained with `--rows rows`; packed rows have no padding, so texts keep their length."""
    pad_id = tokenizer.id_of(PAD) if rows == "pad" and tokenizer is not None else None
    return Layout(max_length, pad_id)
