"""Tokenizers as published models have them: `tokenizer.json`, or the vocabulary files of GPT-2 and of BERT."""

from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from audit_cli.checkpoints.bert_vocabulary import read_vocabulary
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.tokenizer import FILE_BYTES, TextTokenizer, load_tokenizer

GPT2_SPECIAL = "<|endoftext|>"


def find_tokenizer(folder: Path) -> Path | None:
    """The file of a folder from which its tokenizer is read, or None."""
    if (folder / "tokenizer.json").is_file():
        return folder / "tokenizer.json"
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        return folder / "vocab.json"
    return folder / "vocab.txt" if (folder / "vocab.txt").is_file() else None


def read_tokenizer(path: Path) -> tuple[TextTokenizer, str]:
    """The tokenizer of a file, or of a folder that has one, and the file's name. Raises CheckpointError."""
    file = find_tokenizer(path) if path.is_dir() else path
    if file is None:
        raise CheckpointError(f"{path}: no tokenizer in it (tokenizer.json, vocab.txt, or vocab.json with merges.txt)")
    if not file.is_file():
        raise CheckpointError(f"{file}: no such tokenizer file or folder")
    if file.suffix == ".txt":
        return read_vocabulary(file), file.name
    if file.name == "vocab.json":
        return _byte_level_bpe(file), file.name
    return load_tokenizer(file), file.name


def model_tokenizer(
    folder: Path, given: Path | None, vocab_size: int, spare: int = 0, added: str | None = None
) -> tuple[TextTokenizer | None, str]:
    """The tokenizer that was given, else the folder's own, and the name of its file; None where there is neither.

    Its ids must be those of the network's head, of which at most `spare` at the end may have no token. `added` is a
    token that training appended to a published tokenizer. Raises CheckpointError.
    """
    path = given or find_tokenizer(folder)
    if path is None:
        return None, "none; texts must be given as input_ids"
    tokenizer, source = read_tokenizer(path)
    if added is not None and tokenizer.size == vocab_size - 1 and tokenizer.id_of(added) is None:
        tokenizer = _with_token(tokenizer, added)
    # Of a small vocabulary that would be all of it.
    if not vocab_size - min(spare, vocab_size // 2) <= tokenizer.size <= vocab_size:
        raise CheckpointError(
            f"{path}: the tokenizer has {tokenizer.size} tokens and the network {vocab_size}: "
            "they do not belong together"
        )
    return tokenizer, source


def _with_token(tokenizer: TextTokenizer, token: str) -> TextTokenizer:
    extended = Tokenizer.from_str(tokenizer.to_json())
    extended.add_special_tokens([token])
    return TextTokenizer(extended)


def _byte_level_bpe(file: Path) -> TextTokenizer:
    """GPT-2's: `vocab.json` with `merges.txt` beside it. Raises CheckpointError."""
    merges = file.with_name("merges.txt")
    if not merges.is_file():
        raise CheckpointError(f"{merges}: no such file, and {file.name} needs it")
    for part in (file, merges):
        if part.stat().st_size > FILE_BYTES:
            raise CheckpointError(f"{part}: larger than {FILE_BYTES} bytes: not a vocabulary")
    try:
        tokenizer = Tokenizer(models.BPE.from_file(str(file), str(merges)))
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        if tokenizer.token_to_id(GPT2_SPECIAL) is not None:
            tokenizer.add_special_tokens([GPT2_SPECIAL])
        return TextTokenizer(tokenizer)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        # The library raises bare Exceptions from Rust, and panics.
        raise CheckpointError(f"{file}: not a vocabulary that the tokenizers library reads ({error})") from None
