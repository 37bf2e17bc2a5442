"""Tokenizers that come as a vocabulary: BERT's `vocab.txt`, and what a pickled tokenizer holds.

WordPiece with the normalization of `bert-base-uncased` (transformers@4.38.2 `tokenization_bert.py`): control
characters removed, Chinese characters set apart, lower case and, with it, no accents. A vocabulary with capital letters
is a cased one and keeps them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from audit_cli.checkpoints.config_file import brief, read_json_object
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.inert_values import Inert
from audit_cli.checkpoints.tokenizer import TextTokenizer, parse_tokenizer

UNKNOWN = "[UNK]"
SPECIAL = ("[PAD]", UNKNOWN, "[CLS]", "[SEP]", "[MASK]")
VOCABULARY_BYTES = 64 << 20
LONGEST_WORD = 100


def read_vocabulary(path: Path) -> TextTokenizer:
    """BERT's WordPiece from a file of one token a line. `do_lower_case` of a `tokenizer_config.json` beside it counts.

    Raises CheckpointError.
    """
    try:
        if path.stat().st_size > VOCABULARY_BYTES:
            raise CheckpointError(f"{path}: larger than {VOCABULARY_BYTES} bytes: not a vocabulary")
        lines = path.read_bytes().decode().removesuffix("\n").split("\n")
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CheckpointError(f"{path}: not UTF-8, so not a vocabulary") from None
    vocabulary = {line.removesuffix("\r"): i for i, line in enumerate(lines)}
    if len(vocabulary) != len(lines):
        raise CheckpointError(f"{path}: a token stands in it twice")
    beside = path.with_name("tokenizer_config.json")
    options = read_json_object(beside, "a tokenizer's configuration") if beside.is_file() else {}
    try:
        return word_piece(vocabulary, options)
    except ValueError as error:
        raise CheckpointError(f"{path}: {error}") from None


def word_piece(vocabulary: Mapping[str, int], options: Mapping[str, Any] | None = None) -> TextTokenizer:
    """BERT's tokenizer of a vocabulary whose ids run from 0. Raises ValueError.

    `options` are `do_lower_case`, `tokenize_chinese_chars` and `strip_accents`, as transformers calls them.
    """
    options = options or {}
    if UNKNOWN not in vocabulary:
        raise ValueError(f"its vocabulary has no {UNKNOWN}, so it is not BERT's")
    if sorted(vocabulary.values()) != list(range(len(vocabulary))):
        raise ValueError("the ids of its vocabulary do not run from 0 without a gap")
    capitals = sum(piece != piece.lower() for piece in vocabulary if not piece.startswith("["))
    cased = capitals > len(vocabulary) // 100
    strip_accents = options.get("strip_accents")
    try:
        model = models.WordPiece(vocab=dict(vocabulary), unk_token=UNKNOWN, max_input_chars_per_word=LONGEST_WORD)
        tokenizer = Tokenizer(model)
        tokenizer.normalizer = normalizers.BertNormalizer(
            clean_text=True,
            handle_chinese_chars=options.get("tokenize_chinese_chars") is not False,
            strip_accents=strip_accents if isinstance(strip_accents, bool) else None,
            lowercase=options.get("do_lower_case", not cased) is True,
        )
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        tokenizer.decoder = decoders.WordPiece("##")
        tokenizer.add_special_tokens([piece for piece in SPECIAL if piece in vocabulary])
        return TextTokenizer(tokenizer)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # The library raises bare Exceptions from Rust, and panics.
        raise ValueError(f"its vocabulary is none that the tokenizers library takes ({brief(str(error))})") from None


def pickled_tokenizer(pickled: object) -> TextTokenizer | None:
    """The tokenizer that an inert record of a transformers tokenizer holds, or None. Raises ValueError if damaged.

    A slow BertTokenizer has its `vocab`; a fast one of any kind carries the JSON state of its `tokenizers.Tokenizer`.
    """
    state = pickled.state if isinstance(pickled, Inert) else None
    if not isinstance(state, dict):
        return None
    fast = state.get("_tokenizer")
    if isinstance(fast, Inert) and isinstance(fast.state, bytes | str):
        return _from_json(fast.state)
    vocabulary = state.get("vocab")
    if isinstance(vocabulary, dict) and UNKNOWN in vocabulary:
        if not all(isinstance(piece, str) and type(number) is int for piece, number in vocabulary.items()):
            raise ValueError("the vocabulary of the tokenizer in it is damaged")
        basic = state.get("basic_tokenizer")
        options = basic.state if isinstance(basic, Inert) and isinstance(basic.state, dict) else {}
        return word_piece(vocabulary, options)
    return None


def _from_json(state: bytes | str) -> TextTokenizer:
    try:
        return parse_tokenizer(state if isinstance(state, bytes) else state.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        raise ValueError(f"the tokenizer in it is damaged ({brief(str(error))})") from None
