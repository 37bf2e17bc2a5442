"""How lines of text become rows of tokens.

`cut`: a line is a row; a longer line loses its end, a shorter one stays short. `pad`: the same, and short rows are
filled with a pad token that the model learns like any other. `pack`: lines are joined, a separator after each, and
the stream is cut into full rows.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int32

from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.tokenizer import PAD, SEPARATOR, TextTokenizer


@dataclass(frozen=True)
class TrainingRows:
    """Rows padded to one length, how much of each is real, and what happened to the lines.

    `skipped` are line numbers (from 1) with the reason; `shortened` counts the lines that lost their end; `trained`
    has of every line how many of its tokens are in a row: none of one that was left out.
    """

    tokens: Int32[np.ndarray, "rows length"]
    lengths: Int32[np.ndarray, " rows"]
    lines: int
    shortened: int
    skipped: tuple[tuple[int, str], ...]
    trained: Int32[np.ndarray, " lines"]


def make_rows(lines: Sequence[str], tokenizer: TextTokenizer, max_length: int, how: str) -> TrainingRows:
    """Rows of at most `max_length` tokens. Raises ValueError where no row comes out."""
    skipped: list[tuple[int, str]] = []
    every = list(_encode(lines, tokenizer, skipped))
    encoded = [ids for ids in every if ids]
    counts = np.array([len(ids) for ids in every], dtype=np.int64)
    if how == "pack":
        rows, shortened = _pack(encoded, _special(tokenizer, SEPARATOR), max_length), 0
        # Each line begins after those before it and their separators, and what is no full row is left out.
        begins = np.cumsum(counts + (counts > 0)) - counts - (counts > 0)
        trained = np.clip(len(rows) * max_length - begins, 0, counts)
    else:
        rows = [ids[:max_length] for ids in encoded]
        shortened = sum(len(ids) > max_length for ids in encoded)
        trained = np.minimum(counts, max_length)
    if not rows:
        raise ValueError("no row of tokens comes out of the training text" + _first(skipped))
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    pad_id = _special(tokenizer, PAD) if how == "pad" else 0
    tokens = np.full((len(rows), max_length if how != "cut" else int(lengths.max())), pad_id, dtype=np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    if how == "pad":
        lengths[:] = max_length
    return TrainingRows(tokens, lengths, len(lines), shortened, tuple(skipped), trained.astype(np.int32))


def _encode(
    lines: Sequence[str], tokenizer: TextTokenizer, skipped: list[tuple[int, str]]
) -> Iterator[tuple[int, ...]]:
    """The tokens of every line; none of one that is skipped."""
    for number, line in enumerate(lines, start=1):
        try:
            yield tokenizer.encode(line)
        except Untokenizable as error:
            skipped.append((number, str(error)))
            yield ()


def _pack(encoded: Sequence[tuple[int, ...]], separator: int, max_length: int) -> list[tuple[int, ...]]:
    stream = [token for ids in encoded for token in (*ids, separator)]
    whole = len(stream) // max_length * max_length
    return [tuple(stream[i : i + max_length]) for i in range(0, whole, max_length)]


def _special(tokenizer: TextTokenizer, piece: str) -> int:
    found = tokenizer.id_of(piece)
    if found is None:
        raise ValueError(f"the tokenizer has no {piece} token, which these rows need")
    return found


def _first(skipped: Sequence[tuple[int, str]]) -> str:
    return f" (line {skipped[0][0]}: {skipped[0][1]})" if skipped else ""
