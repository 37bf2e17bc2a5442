"""What loading a checkpoint gives: a denoiser, its tokenizer, how a text becomes a row, and provenance."""

import hashlib
import json
from dataclasses import dataclass, field, replace

from uddm_kernels.backend import choose, in_use

from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.memory import Memory
from audit_cli.checkpoints.tokenizer import PAD, SEPARATOR, TextTokenizer
from audit_cli.diffusion.denoiser import Denoiser
from audit_cli.diffusion.entropy_bound import EntropyBound
from audit_cli.diffusion.samplers import Ancestral
from audit_cli.records import Candidate, ModelInfo, Row, Skipped

# Of one text. More is a book: its parts are better audited as texts of their own.
MAX_CHARACTERS = 1 << 18
MAX_TOKENS = 1 << 18
FIRST_CHARACTERS = 1 << 10
# A prompt leaves a text that does not fit beside it at least this part of a row for its windows.
LEAST_ROOM = 4
ANCESTRAL, ENTROPY_BOUND = Ancestral.name, EntropyBound.name
NO_TOKENIZER = "the model has no tokenizer: give one with --tokenizer, or the tokens themselves as input_ids"


@dataclass(frozen=True)
class Layout:
    """How a candidate becomes a row of tokens: `natural` length, or `padded` to the model's with a pad token.

    `max_length` tokens of a text go into a row, between the tokens `before` and `after` it. A prompt stands in front
    of the text, unless the network takes up to `beside` tokens of it beside the row: then also what comes before a
    window of a long text. `packed` rows of training held several texts between separators: what is longer than a text
    between two of them has none at all. `whole` rows are corrupted and measured with all that surrounds the text, as
    the paper's code does.
    """

    max_length: int
    pad_id: int | None = None
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    beside: int = 0
    packed: bool = False
    whole: bool = False

    @property
    def row_length(self) -> int:
        """The longest row, `before` and `after` included."""
        return len(self.before) + self.max_length + len(self.after)

    def place(self, candidate: Candidate, ids: tuple[int, ...], offset: int = 0, prompt: tuple[int, ...] = ()) -> Row:
        """The row of a candidate's tokens from `offset` on, not more than the model takes.

        A candidate that was given as tokens is taken as it is, without any layout, and so are tokens beside which
        the layout has no room: references of the length of such a candidate.
        """
        inside, beside = ((), prompt) if self.beside else (prompt, ())
        if candidate.token_ids is not None or len(inside) + len(ids) > self.max_length:
            start = len(inside)
            return Row(candidate, inside + ids, start, start + len(ids), offset, beside, self.whole)
        padding = () if self.pad_id is None else (self.pad_id,) * (self.max_length - len(inside) - len(ids))
        start = len(self.before) + len(inside)
        tokens = self.before + inside + ids + self.after + padding
        return Row(candidate, tokens, start, start + len(ids), offset, beside, self.whole)

    def unframed(self, row: Row) -> Row:
        """A row that the model wrote by itself, with the tokens between `before` and `after` as its own."""
        if self.packed:
            return row
        start = len(self.before) if row.tokens[: len(self.before)] == self.before else 0
        width = len(self.after)
        ends = (i for i in range(start, len(row.tokens) - width + 1) if row.tokens[i : i + width] == self.after)
        stop = next(ends, len(row.tokens)) if width else len(row.tokens)
        return Row(row.candidate, row.tokens, start, stop, row.offset)

    def room(self, candidate: Candidate, tokens: int, prompt: tuple[int, ...] = ()) -> int:
        """How many of a candidate's `tokens` go into a row: all of a row's where they stand there without layout."""
        taken = 0 if self.beside else len(prompt)
        alone = candidate.token_ids is not None or (self.packed and tokens + taken > self.max_length)
        return (self.row_length if alone else self.max_length) - taken

    def offsets(self, tokens: int, room: int | None = None) -> tuple[int, ...]:
        """Where the windows of a text of so many tokens begin: one after the other, the last aligned to the end.

        A window has `room` for tokens, `max_length` by default.
        """
        room = room or self.max_length
        last = max(0, tokens - room)
        return (*range(0, last, room), last)


@dataclass(frozen=True)
class Sampling:
    """How the family itself goes back from noise: the name of its dynamics, whether its grid ends in a step that
    removes the last noise, and its entropy-bound loop, if the network can be taken through one."""

    dynamics: str = ANCESTRAL
    noise_removal: bool = True
    entropy_bound: EntropyBound | None = None


OWN = Sampling()


@dataclass(frozen=True)
class LoadedModel:
    """A checkpoint, ready to be audited."""

    denoiser: Denoiser
    tokenizer: TextTokenizer | None
    layout: Layout
    info: ModelInfo
    sampling: Sampling = OWN
    # What a person should know of how it was loaded, a sentence each.
    notes: tuple[str, ...] = ()
    memory: Memory = field(default_factory=Memory, compare=False)

    @property
    def network_sha256(self) -> str:
        """A hash of what makes answers out of the weights: the network's configuration, its head, noise and law."""
        net, head = self.denoiser, self.denoiser.head
        made = [type(net).__name__, repr(getattr(getattr(net, "network", None), "config", None)), repr(net.schedule)]
        made += [str(net.law), repr((head.scale, head.soft_cap, head.forbidden)), repr(self.sampling)]
        made += [str(net.vocab_size), str(net.max_length), str(len(net.noise_tokens)), self.info.precision]
        return hashlib.sha256(json.dumps(made).encode()).hexdigest()

    @property
    def backend(self) -> str:
        """The implementation of the kernels that measurements are made with."""
        head = self.denoiser.head
        return head.backend or choose(head.weight, head.bias)

    @property
    def backend_in_use(self) -> str:
        """`backend`, and which kernels it could not run here."""
        head = self.denoiser.head
        return in_use(head.weight, head.bias, backend=head.backend)

    def in_whole_rows(self) -> "LoadedModel":
        """The same model, whose rows are corrupted and measured with all that surrounds the text in them."""
        return replace(self, layout=replace(self.layout, whole=True))

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
        prompt = self.prompt_ids(candidate)
        for found in (ids, prompt):
            if isinstance(found, Skipped):
                return found
        assert isinstance(ids, tuple) and isinstance(prompt, tuple)  # noqa: S101 - they are not Skipped
        room = self.layout.room(candidate, len(ids), prompt)
        # Windows of a token or two are no text.
        if room < min(len(ids), self.layout.max_length // LEAST_ROOM) or room < 1:
            return Skipped(candidate, f"a prompt of {len(prompt):,} tokens leaves no room for the text")
        rows = [self.window(candidate, ids, at, room) for at in self.layout.offsets(len(ids), room)]
        placed = [row for row in rows if row is not None]
        if len(placed) < len(rows):
            with_prompt = f", {len(prompt):,} of a prompt among them" if prompt else ""
            return Skipped(candidate, f"more tokens than the model's context of {self.context:,}{with_prompt}")
        return placed

    @property
    def context(self) -> int:
        """How many tokens the network takes, those before a row included."""
        return self.layout.beside + self.layout.row_length

    def prompt_ids(self, candidate: Candidate) -> tuple[int, ...] | Skipped:
        """The tokens of the candidate's prompt, special ones where it spells them, or why it has none."""
        if not candidate.prompt:
            return ()
        if self.tokenizer is None:
            return Skipped(candidate, "its prompt is text, and the model has no tokenizer: give one with --tokenizer")
        if len(candidate.prompt) > MAX_CHARACTERS:
            return Skipped(
                candidate, f"a prompt of {len(candidate.prompt):,} characters, and it may have {MAX_CHARACTERS:,}"
            )
        try:
            return self.tokenizer.encode(candidate.prompt, special=True)
        except Untokenizable as error:
            return Skipped(candidate, f"its prompt: {error}")

    def window(self, candidate: Candidate, ids: tuple[int, ...], offset: int, room: int) -> Row | None:
        """The row of the `room` tokens at `offset` of a candidate; None where what stands before leaves no room."""
        return self.place(candidate, ids[offset : offset + room], offset, ids[:offset] if self.layout.beside else ())

    def place(
        self, candidate: Candidate, ids: tuple[int, ...], offset: int = 0, earlier: tuple[int, ...] = ()
    ) -> Row | None:
        """The row of these tokens of a candidate, which follow its `earlier` ones; None where there is no room."""
        prompt = self.prompt_ids(candidate)
        if isinstance(prompt, Skipped):
            return None
        row = self.layout.place(candidate, ids, offset, prompt + earlier)
        fits = len(row.tokens) <= self.layout.row_length and len(row.prompt) <= self.layout.beside
        return row if fits else None

    def room(self, candidate: Candidate, tokens: int) -> int:
        """How many of a candidate's `tokens` go into a row, beside its prompt."""
        prompt = self.prompt_ids(candidate)
        return self.layout.room(candidate, tokens, () if isinstance(prompt, Skipped) else prompt)

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


def layout_for(rows: str, max_length: int, tokenizer: TextTokenizer | None) -> Layout:
    """The layout of a model trained with `--rows rows`."""
    if rows == "pack":
        return packed_layout(max_length, None if tokenizer is None else tokenizer.id_of(SEPARATOR))
    pad_id = tokenizer.id_of(PAD) if rows == "pad" and tokenizer is not None else None
    return Layout(max_length, pad_id)


def packed_layout(max_length: int, separator: int | None) -> Layout:
    """A text between two separators, at its natural length: `examples/packed_rows.py` measures what else could be."""
    if separator is None or max_length < 3:
        return Layout(max_length)
    return Layout(max_length - 2, None, (separator,), (separator,), packed=True)
