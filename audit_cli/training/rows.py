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

    `skipped` are line numbers (from 1) with the reason; `shortened` counts the lines that lost their end.
    """

    tokens: Int32[np.ndarray, "rows length"]
    lengths: Int32[np.ndarray, " rows"]
    lines: int
    shortened: int
    skipped: tuple[tuple[int, str], ...]


def make_rows(lines: Sequence[str], tokenizer: TextTokenizer, max_length: int, how: str) -> TrainingRows:
    """Rows of at most `max_length` tokens. Raises ValueError where no row comes out."""
    skipped: list[tuple[int, str]] = []
    encoded = list(_encode(lines, tokenizer, skipped))
    if how == "pack":
        rows, shortened = _pack(encoded, _special(tokenizer, SEPARATOR), max_length), 0
    else:
        rows = [ids[:max_length] for ids in encoded]
        shortened = sum(len(ids) > max_length for ids in encoded)
    if not rows:
        raise ValueError("no row of tokens comes out of the training text" + _first(skipped))
    lengths = np.array([len(row) for row in rows], dtype=np.int32)
    pad_id = _special(tokenizer, PAD) if how == "pad" else 0
    tokens = np.full((len(rows), max_length if how != "cut" else int(lengths.max())), pad_id, dtype=np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    if how == "pad":
        lengths[:] = max_length
    return TrainingRows(tokens, lengths, len(lines), shortened, tuple(skipped))


def _encode(
    lines: Sequence[str], tokenizer: TextTokenizer, skipped: list[tuple[int, str]]
) -> Iterator[tuple[int, ...]]:
    for number, line in enumerate(lines, start=1):
        try:
            ids = tokenizer.encode(line)
        except Untokenizable as error:
            skipped.append((number, str(error)))
            continue
        if ids:
            yield ids


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
