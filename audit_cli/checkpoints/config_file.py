"""JSON files of a checkpoint folder, read with suspicion: bounded, and every field checked before it is used."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from audit_cli.checkpoints.errors import CheckpointError

CONFIG_BYTES = 1 << 20


def read_json_object(path: Path, what: str = "a model configuration", limit: int = CONFIG_BYTES) -> dict[str, Any]:
    """The object in a JSON file of at most `limit` bytes. Raises CheckpointError."""
    try:
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path}: larger than {limit} bytes: not {what}")
        data = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise CheckpointError(f"{path}: not a JSON object, so not {what}")
    return data


def whole(config: Mapping[str, Any], key: str, most: int) -> int:
    """The whole number from 1 to `most` in a field. Raises ValueError."""
    value = config.get(key)
    if type(value) is not int or not 1 <= value <= most:
        raise ValueError(f"{key} must be a whole number from 1 to {most}, not {brief(value)}")
    return value


def real(config: Mapping[str, Any], key: str) -> float:
    """The finite number in a field. Raises ValueError."""
    value = config.get(key)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e9:
        raise ValueError(f"{key} must be a number, not {brief(value)}")
    return float(value)


def token_of(config: Mapping[str, Any], key: str, vocab_size: int) -> int | None:
    """The token id in a field; None where there is none of this vocabulary."""
    value = config.get(key)
    return value if type(value) is int and 0 <= value < vocab_size else None


def brief(value: object) -> str:
    """A value from a file as a message may show it: escaped, and not long."""
    shown = ascii(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."
