"""Tokenizers made to harm: that grow a text without bound, panic, or fill a message."""

import base64
import json
import os

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from audit_cli.checkpoints import CheckpointError, Untokenizable, tokenizer_growth
from audit_cli.checkpoints import tokenizer as module
from audit_cli.checkpoints.bert_vocabulary import word_piece
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer, parse_tokenizer, train_tokenizer

N, P, D = normalizers, pre_tokenizers, decoders
ALPHABET = P.ByteLevel.alphabet()


def charsmap(*strings):
    return base64.b64encode(bytes(4) + b"\0".join(s.encode() for s in strings) + b"\0").decode()


def made(normalizer=None, pre=None, post=None, decoder=None, model=None):
    tokenizer = Tokenizer(model or models.WordLevel({"a": 0, "b": 1, "[UNK]": 2}, "[UNK]"))
    for name, part in (("normalizer", normalizer), ("pre_tokenizer", pre), ("post_processor", post)):
        if part is not None:
            setattr(tokenizer, name, part)
    if decoder is not None:
        tokenizer.decoder = decoder
    return json.loads(tokenizer.to_str())


def load(data, folder):
    text = data if isinstance(data, str) else json.dumps(data)
    (folder / "tokenizer.json").write_text(text)
    return load_tokenizer(folder)


A = "a" * 1000
HOSTILE = {
    "replacements in a row": made(N.Sequence([N.Replace("a", A)] * 3)),
    "regular expressions": made(N.Sequence([N.Replace(Regex("."), "aaaaaaaaaaaaaaaaaaa")] * 4)),
    "nothing replaced": made(N.Sequence([N.Replace(Regex(""), A)] * 2)),
    "nested": made(N.Sequence([N.Sequence([N.Replace("a", A)]), N.Sequence([N.Replace("a", A)])])),
    "prepended": made(N.Sequence([N.Prepend(A)] * 2)),
    "compatibility": made(N.Sequence([N.Replace("a", "ﷺ" * 300), N.NFKD(), N.Replace("ص", "ﷺ" * 300)])),
    "bytes": made(N.Sequence([N.ByteLevel()] * 20)),
    "spaces": made(pre=P.Sequence([P.Metaspace(split=True)] * 12)),
    "a template": made(post=processors.Sequence([processors.TemplateProcessing(single=" ".join(["$A"] * 100))] * 4)),
    "decoders": made(decoder=D.Sequence([D.Replace("a", "a" * 50)] * 3)),
    "many parts": made(N.Sequence([N.NFD()] * 100)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_grows_a_text_without_bound_is_refused_before_the_library_has_it(name, tmp_path, monkeypatch):
    # The library normalizes the added tokens while it reads the file.
    monkeypatch.setattr(module, "Tokenizer", None)
    with pytest.raises(CheckpointError, match=r"times longer|more than \d+ parts"):
        load(HOSTILE[name], tmp_path)


@pytest.mark.parametrize(
    "normalizer",
    [
        {"type": "Foo", "prepend": A * 100},
        {"prepend": A * 100},
        {"type": "Sequence", "normalizers": [{"type": "Foo", "pattern": {"String": "a"}, "content": A}] * 3},
        "NFKD",
    ],
)
def test_a_component_of_no_known_type_is_refused(normalizer, tmp_path):
    # The library takes it by its fields.
    with pytest.raises(CheckpointError, match=r"not known here|no object with a type"):
        load(made() | {"normalizer": normalizer}, tmp_path)


def test_a_table_of_sentencepiece_counts_by_its_longest_string(tmp_path):
    small = {"type": "Precompiled", "precompiled_charsmap": charsmap("a", "x" * 33)}
    assert tokenizer_growth.growth_of({"normalizer": small}) == 33
    large = {"type": "Precompiled", "precompiled_charsmap": charsmap("x" * 1000)}
    with pytest.raises(ValueError, match="times longer"):
        tokenizer_growth.growth_of({"normalizer": {"type": "Sequence", "normalizers": [large] * 2}})
    # ALBERT's: everything that a published tokenizer has, in one.
    parts = [made(N.Replace("``", '"'))["normalizer"], {"type": "NFKD"}, {"type": "StripAccents"}, small]
    data = made(pre=P.Metaspace()) | {"normalizer": {"type": "Sequence", "normalizers": parts}}
    assert tokenizer_growth.growth_of(made(N.Replace(Regex(""), "xx"))) == len(
        N.Replace(Regex(""), "xx").normalize_str("a")
    )
    assert 1000 < tokenizer_growth.growth_of(data) < tokenizer_growth.MOST_GROWTH


def test_a_name_that_stands_twice_is_refused(tmp_path):
    text, twice = json.dumps(made(N.Lowercase())), '"normalizer": {"type": "NFC"}, "normalizer":'
    with pytest.raises(CheckpointError, match="stands twice"):
        load(text.replace('"normalizer":', twice), tmp_path)


def test_what_the_library_made_of_a_file_is_looked_at_too():
    tokenizer = Tokenizer(models.WordLevel({"a": 0}, "a"))
    tokenizer.normalizer = N.Sequence([N.Replace("a", A)] * 2)
    with pytest.raises(ValueError, match="times longer"):
        TextTokenizer(tokenizer)


def test_a_text_is_refused_that_would_take_too_much_memory(monkeypatch, tmp_path):
    tokenizer = load(made(N.Replace("b", "a" * 100), P.Split(Regex("."), "isolated")), tmp_path)
    assert len(tokenizer.encode("b" * 100)) == 10_000
    with pytest.raises(Untokenizable, match="longer than the 671,088 characters"):
        tokenizer.encode("b" * 671_089)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not a JSON object"),
        ("{", "tokenizer.json"),
        ("{}", "no model"),
        ('{"model": {"vocab": [[]]}}', "no list of tokens and scores"),
        (json.dumps(made() | {"version": "x" * 10_000}), "tokenizer"),
        (json.dumps(made() | {"normalizer": {"type": "x" * 10_000}}), r"not known here: 'x+\.\.\.$"),
        (json.dumps(made(model=models.WordLevel({"a" * 9000: 0}))), "longer than 8192"),
        (json.dumps(made(model=models.WordPiece({"a": 0}, continuing_subword_prefix="#" * 100))), "subword_prefix"),
    ],
)
def test_a_damaged_file_is_refused_in_few_words(text, reason, tmp_path):
    with pytest.raises(CheckpointError, match=reason) as caught:
        load(text, tmp_path)
    assert len(str(caught.value)) < len(str(tmp_path)) + 250


def test_deep_sequences_and_large_files_are_refused(tmp_path, monkeypatch):
    part = {"type": "NFC"}
    for _ in range(20):
        part = {"type": "Sequence", "normalizers": [part]}
    with pytest.raises(CheckpointError, match="nested deeper"):
        load(made() | {"normalizer": part}, tmp_path)
    monkeypatch.setattr(module, "FILE_BYTES", 100)
    with pytest.raises(CheckpointError, match="larger than 100 bytes"):
        load(made(), tmp_path)


def test_a_tokenizer_that_panics_is_refused_and_nobody_hears_of_it(tmp_path, capfd):
    data = made() | {"pre_tokenizer": {"type": "FixedLength", "length": 0}}
    with pytest.raises(CheckpointError, match="fails on ordinary text"):
        load(data, tmp_path)
    assert capfd.readouterr().err == ""
    os.write(2, b"heard")
    assert capfd.readouterr().err == "heard"


def test_a_panic_that_comes_later_is_heard_of_once(capfd):
    tokenizer = TextTokenizer(Tokenizer.from_str(json.dumps(made(pre=P.FixedLength(length=5)))))
    tokenizer._tokenizer.pre_tokenizer = P.FixedLength(length=0)
    for _ in range(5):
        with pytest.raises(Untokenizable):
            tokenizer.encode("aa")
    assert capfd.readouterr().err.count("panicked") == 1


def test_without_a_stderr_a_tokenizer_is_read_too(tmp_path, monkeypatch):
    def closed(_):
        raise OSError(9, "Bad file descriptor")

    monkeypatch.setattr(module.os, "dup", closed)
    assert load(made(), tmp_path).size == 3


def byte_level():
    vocabulary = {piece: i for i, piece in enumerate([*sorted(ALPHABET), "th"])}
    return models.BPE(vocabulary, [("t", "h")])


def llama():
    return models.BPE({"<unk>": 0, "▁": 1, "a": 2, "▁a": 3}, [("▁", "a")], byte_fallback=True, **{"unk_token": "<unk>"})


BERT = json.loads(word_piece({"[UNK]": 0, "the": 1, "##s": 2}).to_json())
REAL = {
    "bert": BERT | {"post_processor": made(post=processors.BertProcessing(("b", 1), ("a", 0)))["post_processor"]},
    "gpt2": made(None, P.ByteLevel(), processors.ByteLevel(), D.ByteLevel(), byte_level()),
    "llama": made(
        N.Sequence([N.Prepend("▁"), N.Replace(" ", "▁")]),
        None,
        processors.TemplateProcessing(single="a $A", pair="a $A b $B:1", special_tokens=[("a", 0), ("b", 1)]),
        D.Sequence([D.Replace("▁", " "), D.ByteFallback(), D.Fuse(), D.Strip(" ", 1, 0)]),
        llama(),
    ),
    "llama 3": made(None, P.Sequence([P.Split(Regex(r"\s+"), "isolated"), P.ByteLevel()]), None, None, byte_level()),
    "qwen": made(N.NFC(), P.ByteLevel(), processors.ByteLevel(), D.ByteLevel(), byte_level()),
    "clip": made(
        N.Sequence([N.NFC(), N.Replace(Regex(r"\s+"), " "), N.Lowercase()]), P.ByteLevel(), None, None, byte_level()
    ),
    "letters": json.loads(train_tokenizer("char", ["the quick brown fox"], "pad", "letters").to_json()),
    "bpe": json.loads(train_tokenizer("bpe:300", ["the quick brown fox"], "pack", "none").to_json()),
}


@pytest.mark.parametrize("name", REAL)
def test_published_tokenizers_load_and_take_long_texts(name, tmp_path, capfd):
    tokenizer = load(REAL[name], tmp_path)
    assert tokenizer._most_characters >= 400_000
    assert tokenizer.sha256() == parse_tokenizer(json.dumps(REAL[name], indent=1).encode()).sha256()
    assert capfd.readouterr().err == ""
