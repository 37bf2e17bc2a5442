"""Names of checkpoints on the Hugging Face hub, and the few files of them that an audit needs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_cli.checkpoints.errors import CheckpointError

CONFIG = ("config.json",)
# Never code, never pickles.
FILES = (
    *CONFIG,
    "model.safetensors",
    "ema.safetensors",
    "model-*-of-*.safetensors",
    "model.safetensors.index.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
)
PICKLED = (".ckpt", ".pt", ".pth", ".bin")
_PART = r"[A-Za-z0-9][\w.-]{0,95}"
# A path that was a Path has one slash after the colon.
_NAME = re.compile(rf"(?:hf:/{{1,2}})?({_PART}/{_PART})(?:@([\w.-]{{1,100}}))?((?:/[\w.@+=-]+)*)", re.ASCII)


@dataclass(frozen=True)
class HubName:
    """A repository, the revision (a branch, tag or commit; None is the newest) and a path in it, "" for all.

    `explicit` says that it was given as a name on the hub, and could not be one of a folder.
    """

    repository: str
    revision: str | None = None
    path: str = ""
    explicit: bool = False

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        return f"{self.repository}{revision}{'/' if self.path else ''}{self.path}"

    @property
    def is_file(self) -> bool:
        """Whether the path is one of a pickled checkpoint; other paths are folders."""
        return self.path.endswith(PICKLED)


def hub_name(text: str) -> HubName | None:
    """`owner/name`, `owner/name@revision`, or with `hf://` in front, which also takes a path inside; else None."""
    found = _NAME.fullmatch(text)
    if found is None:
        return None
    path, explicit = found[3].strip("/"), text.startswith("hf:")
    if (path and not explicit) or {".", ".."} & set(path.split("/")):
        return None
    # `models/file.ckpt` is a path that was mistyped, not a repository.
    if not explicit and found[1].endswith(PICKLED):
        return None
    return HubName(found[1], found[2], path, explicit)


def fetch(name: HubName, files: Sequence[str] = FILES) -> Path:
    """A local copy of a checkpoint's `files`, from the hub's cache where they are in it. Raises CheckpointError."""
    # Only names need the library, which brings an HTTP client along.
    import huggingface_hub

    try:
        patterns = [f"{name.path}/{file}" if name.path else file for file in files]
        if name.is_file:
            patterns = [name.path]
        root = huggingface_hub.snapshot_download(name.repository, revision=name.revision, allow_patterns=patterns)
    except Exception as error:
        # Its own errors, the disk's, and those of whichever HTTP client it has.
        raise CheckpointError(f"{name}: {_reason(name, error)}") from None
    found = Path(root) / name.path
    if name.is_file and not found.is_file():
        raise CheckpointError(f"{name}: the repository has no such file")
    return found


def _reason(name: HubName, error: Exception) -> str:
    from huggingface_hub import errors

    page = f"https://huggingface.co/{name.repository}"
    # From the particular to the general: a gated repository is one that is not found, a missing entry an OSError.
    reasons: list[tuple[type[Exception], str]] = [
        (errors.GatedRepoError, f"a gated repository: ask for access at {page}, then sign in with `hf auth login`"),
        (errors.RepositoryNotFoundError, "no such repository on the hub (a private one needs `hf auth login`)"),
        (errors.RevisionNotFoundError, f"the repository has no revision {name.revision}"),
        (errors.LocalEntryNotFoundError, _offline(name)),
        (ConnectionError, _offline(name)),
        (errors.EntryNotFoundError, "the repository has no such file"),
        (errors.HFValidationError, "no name that the hub can have"),
        (errors.HfHubHTTPError, f"the hub refused ({type(error).__name__}); try again later"),
    ]
    because = " ".join(str(error).split())[:200]
    unforeseen = f"not fetched ({type(error).__name__}{': ' if because else ''}{because})"
    told = next((reason for kind, reason in reasons if isinstance(error, kind)), unforeseen)
    return told if name.explicit else f"no such folder here, and as a name on the hub: {told}"


def _offline(name: HubName) -> str:
    return (
        "the hub cannot be reached (offline?) and its files are not in the cache; download them where there is a "
        f"network with `hf download {name.repository}`"
    )


def shown_name(name: HubName, folder: Path) -> str:
    """The name with the commit that was loaded, which the cache keeps in the folder's path."""
    parts = folder.parts
    commit = parts[parts.index("snapshots") + 1][:12] if "snapshots" in parts[:-1] else name.revision
    return str(HubName(name.repository, commit, name.path))
