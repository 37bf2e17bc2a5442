"""The text that a network is trained on, and its tokenizer."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from audit_cli.candidates import open_texts
from audit_cli.checkpoints.tokenizer import TextTokenizer, load_tokenizer, train_tokenizer
from audit_cli.records import Candidate, Skipped


def training_text(path: Path, skip: int = 0) -> list[Candidate]:
    """The texts of a file, duplicates too. Raises ValueError on one that cannot be trained on."""
    out = []
    for text in islice(open_texts([path]), skip, None):
        if isinstance(text, Skipped):
            raise ValueError(f"{text.candidate.id}: {text.reason}")
        if text.text is None:
            raise ValueError(f"{text.id}: input_ids cannot be trained on; give the text")
        out.append(text)
    return out


def training_tokenizer(name: str, texts: Sequence[str], rows: str, normalize: str) -> TextTokenizer:
    """`char`, `bpe:N`, or a tokenizer.json. Its vocabulary is the whole file's, so that models of different subsets can
    be compared. Raises ValueError on a name or a text that gives none."""
    if name == "char" or name.startswith("bpe:"):
        return train_tokenizer(name, texts, rows, normalize)
    return load_tokenizer(Path(name))
