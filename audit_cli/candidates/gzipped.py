"""Decompressing gzip in blocks, and no further than a text would."""

import zlib
from collections.abc import Iterable, Iterator

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
    inflater = zlib.decompressobj(GZIP_FORMAT)
    begun = anything = False
    out = bytearray()
    consumed = produced = 0
    for block in blocks:
        while block:
            if not begun and not (block := _member(block, anything, label)):
                break
            begun = anything = True
            given = len(block)
            try:
                piece = inflater.decompress(block, BLOCK_BYTES - len(out))
            except zlib.error:
                raise CandidateError(f"{label}: damaged, or not a gzip file") from None
            block = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            consumed += given - len(block)
            produced += len(piece)
            out += piece
            if inflater.eof:
                inflater, begun = zlib.decompressobj(GZIP_FORMAT), False
            if produced > max(BOMB_BYTES, BOMB_RATIO * consumed):
                raise CandidateError(
                    f"{label}: more than {BOMB_RATIO} times as large as its compressed form, as no text is; "
                    "decompress it first if that is right"
                )
            if len(out) == BLOCK_BYTES:
                yield bytes(out)
                out.clear()
    if begun or not anything:
        raise CandidateError(f"{label}: the gzip file is cut short")
    yield bytes(out)


def _member(block: bytes, is_later: bool, label: str) -> bytes:
    """The block from where a member begins; later members may follow a padding of zero bytes."""
    return block.lstrip(b"\0") if is_later else block
