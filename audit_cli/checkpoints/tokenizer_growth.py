"""How much longer a tokenizer's normalization can make a text, known before it has seen one.

Three replacements of "a" by a thousand "a"s in a row make 3 GB of "aaa": the growth is a product over the chain, and
the library ends the program when there is no memory. So each component's most is multiplied before the library gets
the file; a component whose growth is not known is refused.
"""

import base64
import binascii
import unicodedata
from collections.abc import Callable, Mapping
from typing import Any

from audit_cli.checkpoints.config_file import brief

# Above every published tokenizer's (ALBERT's has a bound of some 4,000); up to it, long texts are refused one by one.
MOST_GROWTH = 1 << 14
MOST_DECODED = 64.0
MOST_COMPONENTS, MOST_DEPTH = 64, 8
LONGEST_TOKEN, LONGEST_AFFIX = 1 << 13, 64

# Bytes out for a byte in, of all normalizations of Unicode together and however often: what they have made of a text
# they do not expand again. NFKC and NFKD make 11 of one at most, NFC and NFD 3, lower case 1.5.
_COMPATIBLE = {"NFKC", "NFKD"}
_CANONICAL = {"NFC", "NFD", "Lowercase", "BertNormalizer"}
_ALL_COMPATIBLE, _ALL_CANONICAL = 18.0, 5.0
_NESTED = ("normalizers", "pretokenizers", "processors", "decoders")

Growth = Callable[[Mapping[str, Any]], float]


def growth_of(tokenizer: Mapping[str, Any]) -> float:
    """The most bytes, or tokens, that encoding makes of a byte, before the vocabulary. Raises ValueError above a limit.

    `tokenizer` is what a `tokenizer.json` holds.
    """
    normalizers = _flat(tokenizer.get("normalizer"), "normalizer")
    kinds = {str(part["type"]) for part in normalizers}
    encoding = _ALL_COMPATIBLE if kinds & _COMPATIBLE else _ALL_CANONICAL if kinds & _CANONICAL else 1.0
    encoding *= _product(normalizers, "normalizer", _NORMALIZERS)
    for place, known in (("pre_tokenizer", _PRE_TOKENIZERS), ("post_processor", _POST_PROCESSORS)):
        encoding *= _product(_flat(tokenizer.get(place), place), place, known)
    decoding = _product(_flat(tokenizer.get("decoder"), "decoder"), "decoder", _DECODERS)
    if not encoding <= MOST_GROWTH or not decoding <= MOST_DECODED:
        raise ValueError("its normalization can make a text thousands of times longer; no published tokenizer does")
    return encoding


def check_vocabulary(tokenizer: Mapping[str, Any]) -> None:
    """Raise ValueError where a token, or what the model adds to each, is longer than any real one."""
    model = tokenizer.get("model")
    if not isinstance(model, dict):
        raise ValueError("it has no model")
    vocabulary = model.get("vocab")
    pieces: list[Any] = []
    if isinstance(vocabulary, dict):
        pieces = list(vocabulary)
    elif isinstance(vocabulary, list):
        if not all(isinstance(entry, list) and len(entry) == 2 for entry in vocabulary):
            raise ValueError("its vocabulary is no list of tokens and scores")
        pieces = [entry[0] for entry in vocabulary]
    added = tokenizer.get("added_tokens")
    pieces += [token.get("content") for token in (added if isinstance(added, list) else []) if isinstance(token, dict)]
    if max((len(piece) for piece in pieces if isinstance(piece, str)), default=0) > LONGEST_TOKEN:
        raise ValueError(f"a token of its vocabulary is longer than {LONGEST_TOKEN} characters")
    for name in ("continuing_subword_prefix", "end_of_word_suffix"):
        if isinstance(model.get(name), str) and len(model[name]) > LONGEST_AFFIX:
            raise ValueError(f"{name} is longer than {LONGEST_AFFIX} characters")


def _flat(component: object, place: str, depth: int = 0) -> list[Mapping[str, Any]]:
    """A component's parts in their order, those of nested sequences too."""
    if component is None:
        return []
    if depth > MOST_DEPTH:
        raise ValueError(f"its {place} is nested deeper than {MOST_DEPTH}")
    # The library reads a component of an unknown type, or of none, by its fields: as whatever fits.
    if not isinstance(component, dict) or not isinstance(component.get("type"), str):
        raise ValueError(f"its {place} is no object with a type")
    if component["type"] != "Sequence":
        return [component]
    parts: list[Mapping[str, Any]] = []
    for name in _NESTED:
        nested = component.get(name, [])
        if not isinstance(nested, list) or len(nested) > MOST_COMPONENTS:
            raise ValueError(f"its {place} has more than {MOST_COMPONENTS} parts")
        for part in nested:
            parts += _flat(part, place, depth + 1)
            if len(parts) > MOST_COMPONENTS:
                raise ValueError(f"its {place} has more than {MOST_COMPONENTS} parts")
    return parts


def _product(parts: list[Mapping[str, Any]], place: str, known: Mapping[str, float | Growth]) -> float:
    out = 1.0
    for part in parts:
        growth = known.get(part["type"])
        if growth is None:
            raise ValueError(f"its {place} is of a type that is not known here: {brief(part['type'])}")
        out *= growth if isinstance(growth, float) else growth(part)
    return out


def _weight(text: str) -> int:
    """How many bytes a text has at most, whatever Unicode normalization makes of it."""
    apart = unicodedata.normalize("NFKD", text)
    lower = unicodedata.normalize("NFKD", apart.lower())
    return max(len(form.encode(errors="replace")) for form in (text, apart, lower))


def _replace(part: Mapping[str, Any]) -> float:
    pattern, content = part.get("pattern"), part.get("content")
    if not isinstance(content, str) or not isinstance(pattern, dict | str):
        raise ValueError("a Replace in it has no pattern or no content")
    literal = pattern if isinstance(pattern, str) else pattern.get("String")
    if isinstance(literal, str) and literal:
        return max(1.0, _weight(content) / len(literal.encode(errors="replace")))
    # A regular expression may match nothing, before each character and at the end.
    return 1.0 + 2.0 * _weight(content)


def _prepend(part: Mapping[str, Any]) -> float:
    return 1.0 + _weight(str(part.get("prepend", "")))


def _precompiled(part: Mapping[str, Any]) -> float:
    """SentencePiece's table: a trie's size, the trie, and the strings it puts in a text, a zero byte after each."""
    try:
        table = base64.b64decode(str(part.get("precompiled_charsmap") or ""), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("the table of its Precompiled normalizer is damaged") from None
    strings = table[4 + int.from_bytes(table[:4], "little") :]
    return float(max(1, *(_weight(string.decode(errors="replace")) for string in strings.split(b"\0"))))


def _metaspace(part: Mapping[str, Any]) -> float:
    # In place of each space, and before each of what was split.
    return 2.0 * max(1, _weight(str(part.get("replacement", part.get("str_rep", "▁")))))


def _template(part: Mapping[str, Any]) -> float:
    """How often a template repeats the text; special tokens are not asked for."""
    single = part.get("single")
    if not isinstance(single, list):
        raise ValueError("the template of its post_processor is damaged")
    return float(max(1, sum(isinstance(piece, dict) and "Sequence" in piece for piece in single)))


_NORMALIZERS: dict[str, float | Growth] = {
    # Spaces around Chinese characters, again in each.
    "BertNormalizer": 2.0,
    "ByteLevel": 4.0,
    "Lowercase": 1.0,
    "NFC": 1.0,
    "NFD": 1.0,
    "NFKC": 1.0,
    "NFKD": 1.0,
    "Nmt": 1.0,
    "Precompiled": _precompiled,
    "Prepend": _prepend,
    "Replace": _replace,
    "Strip": 1.0,
    "StripAccents": 1.0,
}
_PRE_TOKENIZERS: dict[str, float | Growth] = {
    "BertPreTokenizer": 1.0,
    "ByteLevel": 4.0,
    "CharDelimiterSplit": 1.0,
    "Delimiter": 1.0,
    "Digits": 1.0,
    "FixedLength": 1.0,
    "Metaspace": _metaspace,
    "Punctuation": 1.0,
    "Split": 1.0,
    "UnicodeScripts": 1.0,
    "Whitespace": 1.0,
    "WhitespaceSplit": 1.0,
}
_POST_PROCESSORS: dict[str, float | Growth] = {
    "BertProcessing": 1.0,
    "ByteLevel": 1.0,
    "RobertaProcessing": 1.0,
    "TemplateProcessing": _template,
}
_DECODERS: dict[str, float | Growth] = {
    "BPEDecoder": 2.0,
    "ByteFallback": 1.0,
    "ByteLevel": 2.0,
    "CTC": 2.0,
    "Fuse": 1.0,
    "Metaspace": 1.0,
    "Replace": _replace,
    "Strip": 1.0,
    "WordPiece": 2.0,
}
