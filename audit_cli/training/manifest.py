"""Which texts a model was trained on, as keyed fingerprints: `DIR.manifest.jsonl`, beside the checkpoint folder.

Beside it and never inside, for a checkpoint is passed on and what it was trained on is not. The first line says how it
was made; each other line is a distinct text, by the fingerprint that an audit gives the same text. No text is in it.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from audit_cli import __version__
from audit_cli.checkpoints.native import load_native
from audit_cli.records import Candidate
from audit_cli.redaction import FINGERPRINT_HEX, Redaction
from audit_cli.training.rows import TrainingRows
from audit_cli.training.trainer import TrainingError

SCHEMA = "uddm-audit-manifest/1"
SUFFIX = ".manifest.jsonl"
FINGERPRINTS = {
    "function": "HMAC-SHA-256",
    "hex_digits": FINGERPRINT_HEX,
    "message": "the bytes 'text', a zero byte, and the text in UTF-8 as it was read, before any normalization",
    "key": "the same as in audits, and in no output: UDDM_AUDIT_KEY, or the file in the user's configuration folder",
}


def manifest_path(folder: Path) -> Path:
    """Where the manifest of a checkpoint folder is. Raises TrainingError where nothing can be beside it."""
    # "." and ".." have no name of their own to build on.
    named = folder if folder.name not in ("", "..") else folder.resolve()
    if not named.name:
        raise TrainingError(f"{folder}: no manifest can be beside it; give --no-manifest")
    return named.with_name(named.name + SUFFIX)


def check_manifest(path: Path, replace: bool) -> None:
    """Raise TrainingError unless a manifest can be written there; one that is there only if it may be replaced."""
    if os.path.lexists(path):
        if not _is_manifest(path):
            raise TrainingError(f"{path}: is there and is no manifest; move it away, or give --no-manifest")
        if not replace:
            raise TrainingError(f"{path}: is there; --overwrite replaces it, --no-manifest lets it be")
    # Where the folder is still to be made, the one that it will be made in.
    place = next((folder for folder in (path.parent, *path.parent.parents) if folder.exists()), path.parent)
    try:
        with tempfile.TemporaryFile(dir=place):
            pass
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; give --no-manifest to go without") from None


def write_manifest(
    path: Path,
    folder: Path,
    kinds: Sequence[str],
    texts: Sequence[Candidate],
    rows: TrainingRows,
    made: Mapping[str, Any],
    redaction: Redaction,
) -> int:
    """Write the manifest of the checkpoint in `folder`, and return how many distinct texts it has.

    `kinds` are the weights that the run made ("raw", "ema"), `texts` the lines that `rows` were made of, `made` plain
    values that say how it was trained. The file is its owner's alone; it is written beside its place and renamed.
    Raises TrainingError, and CheckpointError on weights that are none.
    """
    entries = list(_entries(texts, rows.trained.tolist(), redaction))
    weights = [load_native(folder, kind, torch.device("cpu")).info for kind in kinds]
    header = {
        "schema": SCHEMA,
        "tool": {"name": "uddm-audit", "version": __version__},
        "weights_sha256": {info.weights: info.weights_sha256 for info in weights},
        "tokenizer_sha256": weights[0].tokenizer_sha256,
        "lines": rows.lines,
        "rows": len(rows.tokens),
        "distinct": len(entries),
        **made,
        "fingerprints": FINGERPRINTS,
    }
    _write(path, [header, *entries])
    return len(entries)


def _entries(texts: Iterable[Candidate], trained: Iterable[int], redaction: Redaction) -> Iterator[dict[str, Any]]:
    """A line a distinct text that training has seen something of, at its first occurrence."""
    found: dict[str, dict[str, Any]] = {}
    for text, tokens in zip(texts, trained, strict=True):
        if not tokens:
            continue
        fingerprint = redaction.fingerprint(text.text, None)
        entry = found.setdefault(
            fingerprint,
            {
                "fingerprint": fingerprint,
                "source": text.source,
                "line": text.line,
                "count": 0,
                "trained_tokens": tokens,
            },
        )
        entry["count"] += 1
    yield from found.values()


def _is_manifest(path: Path) -> bool:
    try:
        if path.is_symlink() or not path.is_file():
            return False
        with path.open("rb") as file:
            start = json.dumps({"schema": SCHEMA})[:-1].encode()
            return file.read(len(start)) == start
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}") from None


def _write(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    written: Path | None = None
    try:
        # Such a file is its owner's alone from the first byte on.
        handle, name = tempfile.mkstemp(prefix=".uddm-audit.", suffix=".tmp", dir=path.parent)
        written = Path(name)
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.flush()
            os.fsync(file.fileno())
        written.replace(path)
    except OSError as error:
        raise TrainingError(f"{path}: {error.strerror}; the checkpoint is saved, its manifest is not") from None
    finally:
        if written is not None:
            with contextlib.suppress(OSError):
                written.unlink(missing_ok=True)
