"""A tokenizer as the audit needs it: text to ids and back, and never silently something else."""

import contextlib
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from audit_cli.checkpoints.config_file import brief
from audit_cli.checkpoints.errors import CheckpointError, Untokenizable
from audit_cli.checkpoints.tokenizer_growth import check_vocabulary, growth_of

PAD, SEPARATOR = "[PAD]", "[SEP]"
# Twice the largest published ones; a hostile one takes some twenty times as much memory while it is read.
FILE_BYTES = 64 << 20
# A normalized text takes about twenty bytes a byte. Texts of 1 MiB pass the tokenizers of most models.
NORMALIZED_BYTES = 64 << 20
# What any tokenizer has to stand: words, and digits, an accent, another space, other scripts, no letter, nothing.
PROBES = ("the quick brown fox", "A 1 é\u00a0日本 ﬁ🙂\n", " ", "")
SPECIAL = {"cut": [], "pad": [PAD], "pack": [SEPARATOR]}


class TextTokenizer:
    """A `tokenizers.Tokenizer` that refuses what it cannot represent instead of dropping or replacing it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        # As the library has read them: of a hostile file that may be something else than what stands in it.
        self._most_characters = int(NORMALIZED_BYTES / growth_of(_components(tokenizer)))
        self._panics = False
        tokenizer.no_truncation()
        tokenizer.no_padding()
        if getattr(tokenizer.model, "dropout", None) is not None:
            # Dropped merges would give another answer in every run.
            tokenizer.model.dropout = None
        # A text that spells a special token is a text: "[PAD]" in it is five characters.
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer
        self._unknown = self._unknown_id()

    def _unknown_id(self) -> int | None:
        model = self._tokenizer.model
        name, number = getattr(model, "unk_token", None), getattr(model, "unk_id", None)
        return self._tokenizer.token_to_id(name) if isinstance(name, str) else number

    @property
    def size(self) -> int:
        """How many ids the tokenizer can produce, added tokens included."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 1

    def encode(self, text: str, special: bool = False) -> tuple[int, ...]:
        """Token ids without special tokens, but for those that the text spells where they are asked for.

        Raises Untokenizable, naming the first character that does not fit.
        """
        if len(text) > self._most_characters:
            raise Untokenizable(f"longer than the {self._most_characters:,} characters that its tokenizer is given")
        self._tokenizer.encode_special_tokens = not special
        try:
            ids = self._ids(text)
        finally:
            self._tokenizer.encode_special_tokens = True
        if ids is None:
            raise Untokenizable(self._misfit(text))
        return ids

    def holding(self, text: str, characters: Collection[int]) -> tuple[int, ...]:
        """Which tokens of the text, by their place in `encode(text)`, hold any of the characters at these places.

        A token that straddles them counts as a whole. Raises Untokenizable as `encode` does.
        """
        self.encode(text)
        offsets = self._tokenizer.encode(text, add_special_tokens=False).offsets
        wanted = set(characters)
        return tuple(i for i, (start, stop) in enumerate(offsets) if not wanted.isdisjoint(range(start, stop)))

    def stand_in(self) -> str | None:
        """A character that is a token of its own wherever it stands, a letter if there is one: of a tokenizer whose
        tokens are characters; else None."""
        special = {*self._tokenizer.get_added_tokens_decoder(), self._unknown}
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=False)
        pieces = [piece for piece, number in vocabulary.items() if number not in special]
        if any(len(piece) > 1 for piece in pieces):
            return None
        for piece in sorted(pieces, key=lambda piece: (not piece.isalpha(), piece)):
            if len(self._ids(piece * 3) or ()) == 3:
                return piece
        return None

    def _ids(self, text: str) -> tuple[int, ...] | None:
        try:
            # The panics of the library write to stderr themselves: after the first, nobody hears of them.
            with _no_stderr() if self._panics else contextlib.nullcontext():
                encoding = self._tokenizer.encode(text, add_special_tokens=False)
                ids = tuple(encoding.ids)
                whole = self._covers(text, encoding.offsets)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            # WordLevel has no other way to say that a character is not in its vocabulary, and some components panic.
            self._panics = self._panics or _is_panic(error)
            return None
        if self._unknown is not None and self._unknown in ids:
            return None
        return ids if whole else None

    def _covers(self, text: str, offsets: Sequence[tuple[int, int]]) -> bool:
        """Whether every character went into a token, white space and what the normalizer removes apart."""
        reached = 0
        for start, stop in offsets:
            if start > reached:
                break
            reached = max(reached, stop)
        else:
            if reached == len(text):
                return True
        covered = {i for start, stop in offsets for i in range(start, stop)}
        left_out = {c for i, c in enumerate(text) if i not in covered and not c.isspace()}
        normalizer = self._tokenizer.normalizer
        return not any(normalizer is None or normalizer.normalize_str(c).strip() for c in left_out)

    def _misfit(self, text: str) -> str:
        words = dict.fromkeys(text.split() or [text])
        good = {word for word in words if self._ids(word) is not None}
        # A word may be in the vocabulary and its letters not.
        innocent = {character for word in good for character in word}
        for character in dict.fromkeys(c for word in words if word not in good for c in word):
            if character not in innocent and self._ids(character) is None:
                return f"{character!r} is not in the model's vocabulary"
        return "the model's tokenizer cannot represent this text"

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids. Raises CheckpointError where the tokenizer fails on ids of its own."""
        try:
            with _no_stderr() if self._panics else contextlib.nullcontext():
                return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            self._panics = self._panics or _is_panic(error)
            raise CheckpointError(f"the model's tokenizer cannot decode its tokens ({brief(str(error))})") from None

    def panics(self) -> bool:
        """Whether the library panics at ordinary texts, or at its first tokens; it is kept from telling of it."""
        with _no_stderr():
            for probe in PROBES:
                with contextlib.suppress(CheckpointError):
                    self.decode(self._ids(probe) or ())
            with contextlib.suppress(CheckpointError):
                self.decode(range(min(self.size, 8)))
        return self._panics

    def piece(self, token_id: int) -> str:
        """The token as the vocabulary spells it, or its id where it has no spelling."""
        return str(self._tokenizer.id_to_token(token_id) or f"<{token_id}>")

    def id_of(self, piece: str) -> int | None:
        found = self._tokenizer.token_to_id(piece)
        return None if found is None else int(found)

    def to_json(self) -> str:
        return str(self._tokenizer.to_str(pretty=True))

    def sha256(self) -> str:
        """Hash of the tokenizer's canonical form, independent of how its file is laid out."""
        return hashlib.sha256(str(self._tokenizer.to_str(pretty=False)).encode()).hexdigest()


def load_tokenizer(path: Path) -> TextTokenizer:
    """A `tokenizer.json`, or a folder that holds one. Raises CheckpointError."""
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        raise CheckpointError(f"{file}: no such tokenizer file")
    try:
        with file.open("rb") as opened:
            state = opened.read(FILE_BYTES + 1)
        return parse_tokenizer(state)
    except OSError as error:
        raise CheckpointError(f"{file}: {error.strerror}") from None
    except ValueError as error:
        raise CheckpointError(f"{file}: not a tokenizer.json that can be used: {error}") from None


def parse_tokenizer(state: bytes) -> TextTokenizer:
    """The tokenizer of what a `tokenizer.json` holds. Raises ValueError with the reason.

    It is refused before the library sees it where it could take any amount of memory, and after it where it panics.
    """
    if len(state) > FILE_BYTES:
        raise ValueError(f"larger than {FILE_BYTES} bytes")
    try:
        # Which of two equal names counts is for each reader to say, so there may be none.
        data = json.loads(state.decode(), object_pairs_hook=_distinct)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    if not isinstance(data, dict):
        raise ValueError("not a JSON object")
    growth_of(data)
    check_vocabulary(data)
    del data
    try:
        with _no_stderr():
            read = Tokenizer.from_buffer(state)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # The library raises bare Exceptions from Rust, and panics.
        raise ValueError(f"the tokenizers library does not read it ({brief(str(error))})") from None
    tokenizer = TextTokenizer(read)
    if tokenizer.panics():
        raise ValueError("the tokenizers library fails on ordinary text with it")
    return tokenizer


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out = dict(pairs)
    if len(out) != len(pairs):
        raise ValueError("a name stands twice in one of its objects")
    return out


def _components(tokenizer: Tokenizer) -> dict[str, Any]:
    """What stands before and after the model, in the library's own words."""
    names = ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    parts = {name: getattr(tokenizer, name) for name in names}
    return {name: json.loads(part.__getstate__()) for name, part in parts.items() if part is not None}


def _is_panic(error: BaseException) -> bool:
    return type(error).__name__ == "PanicException"


@contextlib.contextmanager
def _no_stderr() -> Iterator[None]:
    """Nothing that is written to the program's stderr arrives, whoever writes it; there may be none."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    try:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, 2)
        finally:
            os.close(nowhere)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def train_tokenizer(kind: str, lines: Sequence[str], rows: str, normalize: str) -> TextTokenizer:
    """A tokenizer of `lines`: kind `char`, or `bpe:N` for byte-level BPE with N tokens in all.

    `normalize` is `none`, `lower`, or `letters` (lower case without accents; punctuation and
    symbols become single spaces). Raises ValueError.
    """
    special = SPECIAL[rows]
    normalizer = _normalizer(normalize)
    if kind == "char":
        characters = sorted({c for line in lines for c in (normalizer.normalize_str(line) if normalizer else line)})
        if len(characters) + len(special) < 2:
            raise ValueError("the training text has too few characters to make a vocabulary of")
        vocab = {piece: i for i, piece in enumerate([*special, *characters])}
        tokenizer = Tokenizer(models.WordLevel(vocab))
        tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
        tokenizer.decoder = decoders.Fuse()
        tokenizer.add_special_tokens(special)
    elif kind.startswith("bpe:") and kind[4:].isdigit():
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        size, least = int(kind[4:]), len(alphabet) + len(special)
        if not least <= size <= 1 << 20:
            raise ValueError(f"a byte-level BPE vocabulary has {least} to {1 << 20} tokens, not {size}")
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size, special_tokens=special, initial_alphabet=sorted(alphabet), show_progress=False
        )
        text = (normalizer.normalize_str(line) for line in lines) if normalizer else lines
        tokenizer.train_from_iterator(text, trainer)
    else:
        raise ValueError(f"unknown tokenizer {kind!r}: char, bpe:N, or the path of a tokenizer.json")
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    return TextTokenizer(tokenizer)


def _normalizer(name: str) -> normalizers.Normalizer | None:
    if name == "none":
        return None
    if name == "lower":
        return normalizers.Lowercase()
    if name == "letters":
        return normalizers.Sequence(
            [
                normalizers.NFKD(),
                normalizers.StripAccents(),
                normalizers.Lowercase(),
                normalizers.Replace(Regex("['’]"), ""),
                normalizers.Replace(Regex(r"[\p{P}\p{S}\s]+"), " "),
                normalizers.Strip(),
            ]
        )
    raise ValueError(f"unknown normalization {name!r}: none, lower, letters")
