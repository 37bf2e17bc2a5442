"""What every output says of how it was made."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from audit_cli import __version__
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import RunInfo


def settings_id(command: str, settings: dict[str, Any], model: LoadedModel) -> str:
    """A hash of everything that decides the numbers: command, settings, held-out text, weights, tokenizer, version."""
    made_of = [model.info.weights_sha256, model.network_sha256, model.info.tokenizer_sha256]
    identity = [command, settings, *made_of, __version__]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def run_info(
    command: str, settings: Any, model: LoadedModel, more: dict[str, object], seconds: float, evaluations: int
) -> RunInfo:
    """The run of an audit under a settings dataclass of plain values, and `more` that decides its numbers."""
    plain = {k: v for k, v in asdict(settings).items() if k not in UNDECISIVE} | more
    return RunInfo(
        command=command,
        version=__version__,
        settings=plain,
        settings_id=settings_id(command, plain, model),
        device=str(model.denoiser.device),
        precision=model.info.precision,
        backend=model.backend_in_use,
        seconds=seconds,
        evaluations=evaluations,
    )


def identity(command: str, settings: Any, model: LoadedModel, more: dict[str, object]) -> dict[str, Any]:
    """What decides the measurements that a journal keeps; not what is only made of them."""
    plain = {k: v for k, v in asdict(settings).items() if k not in ("batch_size", "fdr")}
    return {
        "command": command,
        **plain,
        **more,
        "model": model.info.weights_sha256,
        "network": model.network_sha256,
        "tokenizer": model.info.tokenizer_sha256,
        "device": model.denoiser.device.type,
        "backend": model.backend,
        "version": __version__,
    }


# Settings that change how a result is computed or shown, not what it is.
UNDECISIVE = frozenset({"batch_size", "per_token", "argmax", "fillings"})
