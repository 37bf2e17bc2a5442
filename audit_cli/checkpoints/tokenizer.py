"""A tokenizer as the audit needs it: text to ids and back, and never silently something else."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from audit_cli.checkpoints.errors import CheckpointError, Untokenizable

PAD, SEPARATOR = "[PAD]", "[SEP]"
FILE_BYTES = 256 << 20
SPECIAL = {"cut": [], "pad": [PAD], "pack": [SEPARATOR]}


class TextTokenizer:
    """A `tokenizers.Tokenizer` that refuses what it cannot represent instead of dropping or replacing it."""

    def __init__(self, tokenizer: Tokenizer) -> None:
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

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids without special tokens. Raises Untokenizable, naming the first character that does not fit."""
        ids = self._ids(text)
        if ids is None:
            raise Untokenizable(self._misfit(text))
        return ids

    def _ids(self, text: str) -> tuple[int, ...] | None:
        try:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
            ids = tuple(encoding.ids)
            whole = self._covers(text, encoding.offsets)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException:
            # WordLevel has no other way to say that a character is not in its vocabulary, and some components panic.
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
        for character in dict.fromkeys(text):
            if self._ids(character) is None:
                return f"{character!r} is not in the model's vocabulary"
        return "the model's tokenizer cannot represent this text"

    def decode(self, ids: Sequence[int]) -> str:
        return str(self._tokenizer.decode(list(ids), skip_special_tokens=False))

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
        if file.stat().st_size > FILE_BYTES:
            raise CheckpointError(f"{file}: larger than {FILE_BYTES} bytes: not a tokenizer")
        return TextTokenizer(Tokenizer.from_file(str(file)))
    except (CheckpointError, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # The library raises bare Exceptions from Rust, and panics.
        raise CheckpointError(f"{file}: not a tokenizer.json that the tokenizers library reads ({error})") from None


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
