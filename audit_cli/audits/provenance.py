"""What every output says of how it was made."""

import hashlib
import json
from dataclasses import asdict
from typing import Any

from audit_cli import __version__
from audit_cli.audits.texts import References
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import RunInfo


def settings_id(command: str, settings: dict[str, Any], model: LoadedModel) -> str:
    """A hash of everything that decides the numbers: command, settings, held-out text, weights, tokenizer, version."""
    identity = [command, settings, model.info.weights_sha256, model.info.tokenizer_sha256, __version__]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:12]


def run_info(
    command: str, settings: object, model: LoadedModel, heldout: References | None, seconds: float, evaluations: int
) -> RunInfo:
    """The run of an audit under a settings dataclass of plain values, against some held-out text."""
    plain = {k: v for k, v in asdict(settings).items() if k not in UNDECISIVE}  # type: ignore[call-overload]
    plain["heldout_sha256"] = None if heldout is None else heldout.sha256()
    return RunInfo(
        command=command,
        version=__version__,
        settings=plain,
        settings_id=settings_id(command, plain, model),
        device=str(model.denoiser.device),
        precision="float32",
        seconds=seconds,
        evaluations=evaluations,
    )


# Settings that change how a result is computed or shown, not what it is.
UNDECISIVE = frozenset({"batch_size", "per_token", "argmax"})
