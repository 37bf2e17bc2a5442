"""The configuration of a native checkpoint: what `config.json` says, and every field of it checked.

Keys that training never writes come from conversion and are optional: `layout`, `never_noise`, `noise_removal`,
`family`, `weights`, `tokenizer`, `tokens_without_text`, `source`.
"""

from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from audit_cli.checkpoints.config_file import brief, read_json_object, real, whole
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.loaded import Layout
from audit_cli.diffusion.denoiser import Law
from audit_cli.diffusion.schedules import Schedule, schedule_config, schedule_from_config
from audit_cli.models.additive import AdditiveConfig, AdditiveTransformer, TimelessConfig
from audit_cli.models.dit import DiT, DiTConfig
from audit_cli.models.gidd import Gidd, GiddConfig
from audit_cli.models.sumi import Sumi, SumiConfig

MODEL_TYPE = "uddm-audit"
FORMAT = 1
NetworkConfig = AdditiveConfig | DiTConfig | GiddConfig | SumiConfig
Network = AdditiveTransformer | DiT | Gidd | Sumi
# What training makes; the others are only converted.
TRAINED: dict[str, type[AdditiveConfig] | type[DiTConfig]] = {
    "additive": AdditiveConfig,
    "timeless": TimelessConfig,
    "dit": DiTConfig,
}
BACKBONES: dict[str, tuple[type[NetworkConfig], type[Network]]] = {
    "additive": (AdditiveConfig, AdditiveTransformer),
    "timeless": (TimelessConfig, AdditiveTransformer),
    "dit": (DiTConfig, DiT),
    "gidd": (GiddConfig, Gidd),
    "sumi": (SumiConfig, Sumi),
}
# Their denoisers are told nothing of time and have one law.
TIMELESS = ("timeless", "gidd", "sumi")
ROWS = ("cut", "pad", "pack")
# Far above any published model; a configuration beyond these is damaged or hostile.
LIMITS = {"vocab_size": 1 << 22, "max_length": 1 << 17, "width": 1 << 16, "layers": 1024, "heads": 1024}
LIMITS |= {"kv_heads": 1024, "mlp_width": 1 << 18}
POSITIVE = ("soft_cap", "rotary_base", "norm_eps")
LABEL, DESCRIPTION = 60, 200
SOURCE = ("name", "family", "sha256")


@dataclass(frozen=True)
class NativeConfig:
    """Everything but the weights and the tokenizer. `backbone` is the network's own configuration.

    `rows` is one of `ROWS`, or, beside a `layout`, a description. Noise never draws the tokens `never_noise`;
    `noise_removal` says that the family's grid ends in a step that removes the last noise. `weights` is what the only
    set of weights is called. The folder has a tokenizer unless `tokenizer` is false; up to `tokens_without_text` ids at
    the end of the head have no token in it. `source` is what the checkpoint was converted from.
    """

    backbone_name: str
    backbone: NetworkConfig
    schedule: Schedule
    law: Law = Law.LEAVE_ONE_OUT
    rows: str = "cut"
    training: Mapping[str, Any] = field(default_factory=dict)
    layout: Layout | None = None
    never_noise: tuple[int, ...] = ()
    noise_removal: bool = True
    family: str = "native"
    weights: str = "raw"
    tokenizer: bool = True
    tokens_without_text: int = 0
    source: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {
            "model_type": MODEL_TYPE,
            "format": FORMAT,
            "backbone": {"name": self.backbone_name, **asdict(self.backbone)},
            "schedule": schedule_config(self.schedule),
            "law": str(self.law),
            "noise": "uniform",
            "rows": self.rows,
            "training": dict(self.training),
            **self._converted(),
        }

    def _converted(self) -> dict[str, Any]:
        """The optional keys, without those that say what is so by default."""
        out: dict[str, Any] = {}
        if self.layout is not None:
            out["layout"] = {
                "max_length": self.layout.max_length,
                "before": list(self.layout.before),
                "after": list(self.layout.after),
                "pad_id": self.layout.pad_id,
                "packed": self.layout.packed,
            }
        if self.never_noise:
            out["never_noise"] = list(self.never_noise)
        for key in ("noise_removal", "family", "weights", "tokens_without_text"):
            if getattr(self, key) != _DEFAULTS[key]:
                out[key] = getattr(self, key)
        if not self.tokenizer:
            out["tokenizer"] = None
        if self.source:
            out["source"] = dict(self.source)
        return out


_DEFAULTS = {f.name: f.default for f in fields(NativeConfig)}


def read_config(path: Path) -> NativeConfig:
    """Parse and validate `config.json`. Raises CheckpointError naming the field."""
    data = read_json_object(path)
    if data.get("model_type") != MODEL_TYPE:
        found = str(data.get("model_type"))[:60]
        raise CheckpointError(f"{path}: model_type is {found!r}, and a native checkpoint's is {MODEL_TYPE!r}")
    if data.get("format") != FORMAT:
        raise CheckpointError(f"{path}: format {brief(data.get('format'))}; this version reads format {FORMAT}")
    try:
        return parse_config(data)
    except (KeyError, TypeError, ValueError) as error:
        detail = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)[:300]
        raise CheckpointError(f"{path}: {detail}") from None


def parse_config(data: Mapping[str, Any]) -> NativeConfig:
    """The configuration in a JSON object. Raises ValueError, or KeyError where something is missing."""
    name, backbone = _backbone(data["backbone"])
    if data.get("noise") != "uniform":
        raise ValueError(f"noise is {brief(data.get('noise'))}; this audit is for uniform-state models")
    layout = _layout(data["layout"], backbone) if "layout" in data else None
    if layout is None and data["rows"] not in ROWS:
        raise ValueError(f"rows must be one of {', '.join(ROWS)}")
    law = Law(data["law"])
    if name in TIMELESS and law is not Law.LEAVE_ONE_OUT:
        raise ValueError(f"law must be {Law.LEAVE_ONE_OUT} with the backbone {name}")
    training = data.get("training", {})
    return NativeConfig(
        backbone_name=name,
        backbone=backbone,
        schedule=_schedule(data["schedule"]),
        law=law,
        rows=_words(data, "rows", DESCRIPTION),
        training=training if isinstance(training, dict) else {},
        layout=layout,
        never_noise=_never_noise(data.get("never_noise", []), name, backbone.vocab_size),
        noise_removal=_flag(data, "noise_removal", True),
        family=_words(data, "family", LABEL),
        weights=_words(data, "weights", LABEL),
        tokenizer=_has_tokenizer(data),
        tokens_without_text=_spare(data.get("tokens_without_text", 0), backbone.vocab_size),
        source=_source(data.get("source", {})),
    )


def _backbone(data: object) -> tuple[str, NetworkConfig]:
    """The network's configuration, every field of the type that its class declares."""
    if not isinstance(data, dict) or str(data.get("name")) not in BACKBONES:
        raise ValueError(f"backbone must be an object whose name is one of {', '.join(BACKBONES)}")
    name = str(data["name"])
    kind = BACKBONES[name][0]
    declared = {f.name: f for f in fields(kind)}
    unknown = data.keys() - declared.keys() - {"name"}
    if unknown:
        raise ValueError(f"backbone has {brief(min(unknown))}, which {name} has not")
    # Under the names that messages give.
    given = {f"backbone.{key}": value for key, value in data.items()}
    values: dict[str, Any] = {}
    for key, declaration in declared.items():
        where = f"backbone.{key}"
        if where not in given and declaration.default is not MISSING:
            continue
        if declaration.type is int:
            values[key] = whole(given, where, LIMITS.get(key, 1 << 16))
        else:
            values[key] = real(given, where)
            if key in POSITIVE and values[key] <= 0:
                raise ValueError(f"{where} must be positive")
    if values["vocab_size"] < 2:
        raise ValueError("backbone.vocab_size must be at least 2")
    return name, kind(**values)


def _schedule(data: object) -> Schedule:
    if not isinstance(data, dict):
        raise ValueError("schedule must be an object")
    try:
        return schedule_from_config(data)
    except (ArithmeticError, RuntimeError):
        raise ValueError(f"schedule has a number that is out of range: {brief(data)}") from None


def _layout(data: object, backbone: NetworkConfig) -> Layout:
    if not isinstance(data, dict):
        raise ValueError(f"layout must be an object, not {brief(data)}")
    unknown = data.keys() - {"max_length", "before", "after", "pad_id", "packed"}
    if unknown:
        raise ValueError(f"layout has {brief(min(unknown))}, which no layout has")
    given = {f"layout.{key}": value for key, value in data.items()}
    before, after = (
        _tokens(given.get(key, []), key, backbone.vocab_size, backbone.max_length)
        for key in ("layout.before", "layout.after")
    )
    room = backbone.max_length - len(before) - len(after)
    if room < 1:
        raise ValueError("layout.before and layout.after leave no room in backbone.max_length")
    pad = given.get("layout.pad_id")
    return Layout(
        max_length=whole(given, "layout.max_length", room),
        pad_id=None if pad is None else _token(pad, "layout.pad_id", backbone.vocab_size),
        before=before,
        after=after,
        packed=_flag(given, "layout.packed", False),
    )


def _token(value: object, key: str, vocab: int) -> int:
    if type(value) is not int or not 0 <= value < vocab:
        raise ValueError(f"{key} must be a token from 0 to {vocab - 1}, not {brief(value)}")
    return value


def _tokens(value: object, key: str, vocab: int, most: int) -> tuple[int, ...]:
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{key} must be a list of at most {most} tokens, not {brief(value)}")
    return tuple(_token(token, key, vocab) for token in value)


def _never_noise(value: object, backbone: str, vocab: int) -> tuple[int, ...]:
    tokens = _tokens(value, "never_noise", vocab, vocab - 2)
    if len(set(tokens)) < len(tokens):
        raise ValueError("never_noise names a token twice")
    if backbone == "gidd" and len(tokens) != 1:
        raise ValueError("never_noise must be the one mask token with the backbone gidd")
    if backbone == "sumi" and tokens:
        raise ValueError("never_noise must be empty with the backbone sumi")
    return tuple(sorted(tokens))


def _spare(value: object, vocab: int) -> int:
    if type(value) is not int or not 0 <= value < vocab:
        raise ValueError(f"tokens_without_text must be a whole number from 0 to {vocab - 1}, not {brief(value)}")
    return value


def _flag(data: Mapping[str, Any], key: str, default: bool) -> bool:
    value = data.get(key, default)
    if not isinstance(value, bool):
        raise ValueError(f"{key} must be true or false, not {brief(value)}")
    return value


def _words(data: Mapping[str, Any], key: str, most: int) -> str:
    value = data.get(key, _DEFAULTS[key])
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
        raise ValueError(f"{key} must be 1 to {most} printable characters, not {brief(value)}")
    return value


def _has_tokenizer(data: Mapping[str, Any]) -> bool:
    if "tokenizer" not in data:
        return True
    if data["tokenizer"] is not None:
        raise ValueError(f"tokenizer must be null, or left out, not {brief(data['tokenizer'])}")
    return False


def _source(data: object) -> Mapping[str, str]:
    if not isinstance(data, dict):
        raise ValueError(f"source must be an object, not {brief(data)}")
    unknown = data.keys() - set(SOURCE)
    if unknown:
        raise ValueError(f"source has {brief(min(unknown))}, and may have {', '.join(SOURCE)}")
    given = {f"source.{key}": value for key, value in data.items()}
    for key, value in given.items():
        if not isinstance(value, str) or len(value) > DESCRIPTION or not value.isprintable():
            raise ValueError(f"{key} must be at most {DESCRIPTION} printable characters, not {brief(value)}")
    return data
