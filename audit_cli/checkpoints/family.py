"""What the loaders of published models share: the request, and how a folder is recognised as a family's."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from audit_cli.checkpoints.config_file import read_json_object
from audit_cli.checkpoints.errors import CheckpointError
from audit_cli.checkpoints.loaded import LoadedModel


@dataclass(frozen=True)
class Request:
    """A folder to load: `name` is what outputs call it, `tokenizer` a file or folder, or None for the folder's own.

    Matrices are held as `dtype`, everything else as float32; None keeps all as the files have it. A network that is too
    large for one device may be `spread` over all.
    """

    folder: Path
    name: str
    weights: str | None
    device: torch.device
    tokenizer: Path | None
    dtype: torch.dtype | None = torch.float32
    spread: bool = False

    @cached_property
    def config(self) -> dict[str, Any]:
        """The folder's `config.json`. Raises CheckpointError."""
        if not self.config_file.is_file():
            raise CheckpointError(f"{self.name}: no config.json, so no checkpoint")
        return read_json_object(self.config_file)

    @property
    def config_file(self) -> Path:
        return self.folder / "config.json"

    def one_set_of_weights(self, kind: str) -> str:
        """`kind`, which the only weights of a folder are; raises CheckpointError if others were asked for."""
        if self.weights not in (None, kind):
            raise CheckpointError(
                f"{self.folder}: there are no {self.weights} weights, only one set ({kind}); leave out --weights"
            )
        return kind


@dataclass(frozen=True)
class Family:
    """A kind of checkpoint, known by the names in its `config.json`: of classes, of a model type, or of its keys.

    `check` raises CheckpointError at a configuration that `load` could not load, before weights are looked at or
    fetched. A family to which this audit does not apply is not `supported`: its check always raises. One that is
    `stored` keeps the precision of its files unless another is asked for.
    """

    name: str
    check: Callable[[Request], None]
    load: Callable[[Request], LoadedModel]
    model_types: tuple[str, ...] = ()
    architectures: tuple[str, ...] = ()
    keys: frozenset[str] = frozenset()
    supported: bool = True
    stored: bool = False

    def has_architecture(self, config: Mapping[str, Any]) -> bool:
        named = config.get("architectures")
        return isinstance(named, list) and any(name in self.architectures for name in named if isinstance(name, str))

    def has_model_type(self, config: Mapping[str, Any]) -> bool:
        named = config.get("model_type")
        return isinstance(named, str) and named.lower() in self.model_types

    def has_keys(self, config: Mapping[str, Any]) -> bool:
        return bool(self.keys) and self.keys <= config.keys()
