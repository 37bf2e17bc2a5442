"""Decompressing gzip in blocks, and no further than a text would."""

import zlib
from collections.abc import Iterable, Iterator
from itertools import chain

from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.snapshot import BLOCK_BYTES

# Text compresses to a third or a tenth; only a file made for it does so to less than a two-hundredth.
BOMB_BYTES = 64 << 20
BOMB_RATIO = 200
GZIP_FORMAT = 31


def decompressed(blocks: Iterable[bytes], label: str) -> Iterator[bytes]:
    """The content of a gzip file of one or more members, in blocks of BLOCK_BYTES of which only the last is shorter.

    Raises CandidateError, with `label` as the file's name, where the file is damaged, cut short or a bomb.
    """
    compressed = iter(blocks)
    first = next(compressed, b"")
    # A bomb is small, or is one from its beginning: what the first block holds takes a second to inflate, and as
    # millions of short lines a minute to read.
    for _ in _Inflating(label).pieces([first]):
        pass
    inflating = _Inflating(label)
    out = bytearray()
    for piece in inflating.pieces(chain([first], compressed)):
        out += piece
        while len(out) >= BLOCK_BYTES:
            yield bytes(out[:BLOCK_BYTES])
            del out[:BLOCK_BYTES]
    if not inflating.is_at_an_end:
        raise CandidateError(f"{label}: the gzip file is cut short")
    yield bytes(out)


class _Inflating:
    """One pass over compressed blocks."""

    def __init__(self, label: str) -> None:
        self._label = label
        self._inflater = zlib.decompressobj(GZIP_FORMAT)
        self._begun = self._anything = False

    @property
    def is_at_an_end(self) -> bool:
        """Whether what was given ends with a member, and has one."""
        return self._anything and not self._begun

    def pieces(self, blocks: Iterable[bytes]) -> Iterator[bytes]:
        """The content, in pieces of at most BLOCK_BYTES."""
        consumed = produced = 0
        for block in blocks:
            while block:
                # Later members may follow a padding of zero bytes.
                if not self._begun and self._anything and not (block := block.lstrip(b"\0")):
                    break
                self._begun = self._anything = True
                given = len(block)
                try:
                    piece = self._inflater.decompress(block, BLOCK_BYTES)
                except zlib.error:
                    raise CandidateError(f"{self._label}: damaged, or not a gzip file") from None
                is_whole = self._inflater.eof
                block = self._inflater.unused_data if is_whole else self._inflater.unconsumed_tail
                consumed += given - len(block)
                produced += len(piece)
                if is_whole:
                    self._inflater, self._begun = zlib.decompressobj(GZIP_FORMAT), False
                if produced > max(BOMB_BYTES, BOMB_RATIO * consumed):
                    raise CandidateError(
                        f"{self._label}: more than {BOMB_RATIO} times as large as its compressed form, as no text is; "
                        "decompress it first if that is right"
                    )
                yield piece
