"""The policy of a gate: a TOML file of its own, or `[tool.uddm-audit]` in a pyproject."""

import difflib
import glob
import os
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from audit_cli.statistics.conformal import references_needed
from audit_cli.verdicts import gate
from audit_cli.verdicts.globs import Globs, TooMany
from audit_cli.verdicts.policy_lines import Source, set_lines, too_deep
from audit_cli.verdicts.regular import content_of, why
from audit_cli.verdicts.toml_text import toml_of

TABLE = "uddm-audit"
MOST_BYTES, MOST_FILES = 1 << 20, 10_000
# Entries of folders that all globs of a policy may look at together.
MOST_LOOKED_AT = 1_000_000
# Characters of a set's name, and of a word of the policy in a message.
MOST_NAME, SHOWN = 200, 80
STDIN = Path("-")
OUTSIDE = "leaves the policy's folder (--allow-outside allows it)"

Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive = Annotated[int, Meta(ge=1, le=1_000_000)]
Word = Annotated[str, Meta(max_length=1 << 12)]
Names = str | list[str]
Key = tuple[str, ...]
Asked = TypeVar("Asked", bound=msgspec.Struct)


class PolicyError(Exception):
    """A policy that cannot be followed; the message names the file, the line, the key and the reason."""


class _Table(msgspec.Struct, rename="kebab", forbid_unknown_fields=True, frozen=True):
    """A table of a policy; its keys are the fields with hyphens."""


class Measure(_Table, frozen=True):
    """How texts are measured. What is left out is the command's default, or the model's family's."""

    probe: Literal["basins", "entropy"] = "basins"
    recipe: str | UnsetType = UNSET
    levels: Annotated[list[Annotated[float, Meta(gt=0, le=1)]], Meta(min_length=1, max_length=64)] | UnsetType = UNSET
    restarts: Positive | UnsetType = UNSET
    steps: Positive | UnsetType = UNSET
    sampler: str | UnsetType = UNSET
    pattern: Literal["uniform", "span", "prefix"] | UnsetType = UNSET
    t: Annotated[float, Meta(ge=0, le=1)] | UnsetType = UNSET
    draws: Count | UnsetType = UNSET


class RegimeLimits(_Table, frozen=True):
    """Limits to what the model writes by itself, over so many of its own `samples`."""

    samples: Annotated[int, Meta(ge=8, le=100_000)] = 256
    max_vanishing_share: Share | UnsetType = UNSET
    min_entropy_share: Share | UnsetType = UNSET
    min_distinct_share: Share | UnsetType = UNSET

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        asked = {
            gate.VANISHING: self.max_vanishing_share,
            gate.ENTROPY_SHARE: self.min_entropy_share,
            gate.DISTINCT: self.min_distinct_share,
        }
        return {name: float(bound) for name, bound in asked.items() if not isinstance(bound, UnsetType)}


class CandidateSet(_Table, frozen=True):
    """Texts that may be stored, and what they are compared with; paths and globs count from the policy's folder."""

    candidates: Names
    heldout: Names = ()  # type: ignore[assignment]
    calibration: str = ""
    twins: Annotated[int, Meta(ge=0, le=100_000)] = 0
    slot: Word = ""
    input_format: Word = ""
    text_column: Word = ""


class _Policy(_Table, frozen=True):
    """The whole file, its sets unread."""

    fdr: Annotated[float, Meta(ge=0.0001, le=0.5)] = 0.01
    fail_on: Literal["memorized", "familiar", "recoverable"] = "memorized"
    min_references: Count | UnsetType = UNSET
    max_skipped: Count = 0
    seed: Annotated[int, Meta(ge=0, le=2**63 - 1)] = 0
    baseline: str = ""
    reference_model: str = ""
    measure: dict[str, Any] = {}
    regime: dict[str, Any] | UnsetType = UNSET
    sets: dict[str, Any] = {}


class ReadSet(msgspec.Struct, frozen=True):
    """A set whose files are found; `line` is where it begins in the policy, 0 without one."""

    name: str
    files: tuple[Path, ...]
    heldout: tuple[Path, ...] = ()
    calibration: Path | None = None
    twins: int = 0
    slot: str = ""
    input_format: str | None = None
    text_column: str | None = None
    line: int = 0


class Policy(msgspec.Struct, frozen=True):
    """A policy in force. `path` is None where the command line is all there is."""

    path: Path | None = None
    source: Source | None = None
    fdr: float = 0.01
    fail_on: str = "memorized"
    min_references: int | None = None
    max_skipped: int = 0
    seed: int = 0
    baseline: Path | None = None
    reference_model: Path | None = None
    measure: Measure = Measure()
    regime: RegimeLimits | None = None
    sets: tuple[ReadSet, ...] = ()

    @property
    def least_references(self) -> int:
        """Texts that are compared with fewer cannot be judged: by default with so few that nothing can be found."""
        return references_needed(1, 1, self.fdr) if self.min_references is None else self.min_references

    def at(self, *keys: str) -> str:
        """The file and line of a key, for the beginning of a message; empty without a file."""
        return "" if self.source is None else f"{self.source.at(*keys)}: "

    def plain(self) -> dict[str, Any]:
        """What is in force, as JSON and TOML have it; what depends on the model is left out."""
        measure = msgspec.to_builtins(self.measure)
        return {
            "fdr": self.fdr,
            "fail-on": self.fail_on,
            "min-references": self.least_references,
            "max-skipped": self.max_skipped,
            "seed": self.seed,
            **({"baseline": str(self.baseline)} if self.baseline else {}),
            **({"reference-model": str(self.reference_model)} if self.reference_model else {}),
            "measure": measure,
            **({"regime": msgspec.to_builtins(self.regime)} if self.regime else {}),
            "sets": {one.name: _plain_set(one) for one in self.sets},
        }

    def toml(self) -> str:
        """What is in force, as a policy of its own."""
        return toml_of(self.plain())


def read(path: Path, allow_outside: bool = False) -> Policy:
    """The policy in a file. Its paths stay within its folder unless `allow_outside`.

    Raises PolicyError on what is no policy: the file, line, key and reason, and the nearest key to one that is not
    known.
    """
    content = _content(path)
    data: Any
    if too_deep(content):
        raise PolicyError(f"{path}: nested too deeply")
    try:
        data = tomllib.loads(content)
    except RecursionError:
        raise PolicyError(f"{path}: nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise PolicyError(f"{path}: no TOML: {error}") from None
    except ValueError:
        raise PolicyError(f"{path}: no TOML: a number of too many digits") from None
    root: tuple[str, ...] = ()
    if path.name == "pyproject.toml" or "tool" in data:
        found = data.get("tool")
        data = found.get(TABLE) if isinstance(found, dict) else None
        root = ("tool", TABLE)
        if not isinstance(data, dict):
            raise PolicyError(f"{path}: has no [tool.{TABLE}]")
    source = Source(path, content, root)
    whole = _converted(source, (), data, _Policy)
    found_regime = None if whole.regime is UNSET else _converted(source, ("regime",), whole.regime, RegimeLimits)
    if found_regime is not None and not found_regime.limits():
        raise PolicyError(f"{source.at('regime')}: regime: sets no limit: {', '.join(_keys(RegimeLimits)[1:])}")
    where = _Folder(source, allow_outside)
    lines = set_lines(content, root)
    return Policy(
        path=path,
        source=source,
        fdr=whole.fdr,
        fail_on=whole.fail_on,
        min_references=None if isinstance(whole.min_references, UnsetType) else whole.min_references,
        max_skipped=whole.max_skipped,
        seed=whole.seed,
        baseline=where.one(("baseline",), whole.baseline),
        reference_model=where.model(("reference-model",), whole.reference_model),
        measure=_converted(source, ("measure",), whole.measure, Measure),
        regime=found_regime,
        sets=tuple(_set(where, name, given, lines.get(name, lines.get("", 1))) for name, given in whole.sets.items()),
    )


def has_policy(path: Path) -> bool:
    """Whether there is a pyproject with a policy."""
    try:
        return path.is_file() and f"tool.{TABLE}" in _content(path)
    except PolicyError:
        return False


def _content(path: Path) -> str:
    try:
        content = content_of(path, MOST_BYTES)
        if len(content) > MOST_BYTES:
            raise PolicyError(f"{path}: larger than a policy may be ({MOST_BYTES:,} bytes)")
        return content.decode()
    except UnicodeDecodeError:
        raise PolicyError(f"{path}: no TOML: it is not UTF-8") from None
    except (OSError, ValueError) as error:
        raise PolicyError(f"{path}: {why(error)}") from None


def _converted(source: Source, table: Key, data: Any, kind: type[Asked]) -> Asked:
    """A table as its kind."""
    of = f"{'.'.join(table)}: " if table else ""
    if not isinstance(data, dict):
        raise PolicyError(f"{source.at(*table)}: {of}must be a table")
    known = _keys(kind)
    for key in data:
        if key not in known:
            raise PolicyError(f"{source.at(*table, key)}: {of}unknown key {_short(key)}{nearest(key, known)}")
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        said, _, place = str(error).partition(" - at `$")
        key = place.strip("`").lstrip(".").replace("[...]", "")
        said = f"{said[0].lower()}{said[1:]}".replace("`", "").replace("object", "table").replace("array", "list")
        # An item of a list is told by its number, and the line is the list's.
        at = source.at(*table, *filter(None, [key.partition("[")[0]]))
        raise PolicyError(f"{at}: {of}{f'{key}: ' if key else ''}{said}{_choices(kind, key)}") from None


def _choices(kind: type[msgspec.Struct], key: str) -> str:
    """What a key that takes one of some words takes."""
    types = {field.encode_name: field.type for field in msgspec.structs.fields(kind)}
    words = [word for part in (types.get(key), *get_args(types.get(key))) for word in get_args(part)]
    return f"; known: {', '.join(words)}" if words and all(isinstance(word, str) for word in words) else ""


def nearest(word: str, known: Sequence[str]) -> str:
    """The word among the known ones that was meant, perhaps, and all of them."""
    close = difflib.get_close_matches(word[:SHOWN], known, 1, 0.6)
    return f"; did you mean {close[0]}?" if close else f"; known: {', '.join(known)}"


def _keys(kind: type[msgspec.Struct]) -> list[str]:
    return [field.encode_name for field in msgspec.structs.fields(kind)]


def _set(where: "_Folder", name: str, given: Any, line: int) -> ReadSet:
    table = ("sets", name)
    if not name.strip():
        raise PolicyError(f"{where.source.at(*table)}: a set without a name")
    if len(name) > MOST_NAME:
        raise PolicyError(
            f"{where.source.at(*table)}: sets: {_short(name)}: a name of more than {MOST_NAME} characters"
        )
    asked = _converted(where.source, table, given, CandidateSet)
    compared = [key for key in ("heldout", "calibration", "twins") if getattr(asked, key)]
    if len(compared) > 1:
        both = " and ".join(compared)
        raise PolicyError(f"{where.source.at(*table)}: sets.{name}: {both} are a comparison each: give one")
    if asked.slot and not asked.twins:
        raise PolicyError(f"{where.at((*table, 'slot'))} says what twins redraw, and there are none")
    return ReadSet(
        name=name,
        files=where.every((*table, "candidates"), asked.candidates),
        heldout=where.every((*table, "heldout"), asked.heldout) if asked.heldout else (),
        calibration=where.one((*table, "calibration"), asked.calibration),
        twins=asked.twins,
        slot=asked.slot,
        input_format=asked.input_format or None,
        text_column=asked.text_column or None,
        line=line,
    )


class _Folder:
    """The folder that a policy's paths count from, and may not leave unless that is allowed."""

    def __init__(self, source: Source, allow_outside: bool) -> None:
        self.source, self._allow_outside = source, allow_outside
        self._folder = source.path.parent
        try:
            self._home = self._folder.resolve()
        except (OSError, RuntimeError) as error:
            raise PolicyError(f"{source.path}: {error}") from None
        self._globs = Globs(self._folder, self._is_inside, MOST_LOOKED_AT)

    def at(self, key: Key) -> str:
        """File, line, table and name of a key, for a message."""
        return f"{self.source.at(*key)}: {': '.join(filter(None, ('.'.join(key[:-1]), key[-1])))}"

    def one(self, key: Key, name: str) -> Path | None:
        """The path of that name, None for an empty one."""
        return self._within(key, name, self._folder / name) if name else None

    def model(self, key: Key, name: str) -> Path | None:
        """The path of a model. One that is not there may be a name on the hub, which is outside."""
        path = self.one(key, name)
        if path is None or path.exists():
            return path
        if not self._allow_outside:
            raise PolicyError(f"{self.at(key)}: {_short(name)}: no such file or folder")
        return Path(name)

    def every(self, key: Key, names: Names) -> tuple[Path, ...]:
        """The files that names and globs stand for, each once, those of a glob in order."""
        found: dict[Path, None] = {}
        for name in [names] if isinstance(names, str) else names:
            if not name:
                raise PolicyError(f"{self.at(key)}: an empty name")
            matches = self._matches(key, name)
            if not matches:
                raise PolicyError(f"{self.at(key)}: {_short(name)} matches no file")
            if len(found) + len(matches) > MOST_FILES:
                raise PolicyError(f"{self.at(key)}: {_short(name)} matches more than {MOST_FILES:,} files")
            found |= dict.fromkeys(self._within(key, name, path) for path in matches)
        if not found:
            raise PolicyError(f"{self.at(key)}: names no file")
        return tuple(found)

    def _matches(self, key: Key, name: str) -> list[Path]:
        path = self._folder / name
        # A file may be called as a pattern is written.
        if not glob.has_magic(name) or "\0" in name or os.path.lexists(path):
            return [path]
        if Path(name).is_absolute():
            raise PolicyError(f"{self.at(key)}: {_short(name)}: a glob counts from the policy's folder")
        if ".." in Path(name).parts and not self._allow_outside:
            # Even whether there is such a file is no business of the policy's.
            raise PolicyError(f"{self.at(key)}: {_short(name)} {OUTSIDE}")
        try:
            return self._globs.matches(name)
        except TooMany:
            many = f"more than {MOST_LOOKED_AT:,} files and folders to look at"
            raise PolicyError(f"{self.at(key)}: {_short(name)}: {many}") from None
        except OSError as error:
            raise PolicyError(f"{self.at(key)}: {_short(name)}: {error.filename}: {error.strerror}") from None

    def _within(self, key: Key, name: str, path: Path) -> Path:
        if path == STDIN:
            raise PolicyError(f"{self.at(key)}: standard input is the command line's, not a policy's")
        try:
            inside = self._allow_outside or self._is_inside(path)
            path.exists()
        except (OSError, ValueError, RuntimeError) as error:
            raise PolicyError(f"{self.at(key)}: {_short(name)}: {why(error)}") from None
        if not inside:
            raise PolicyError(f"{self.at(key)}: {_short(name)} {OUTSIDE}")
        return path

    def _is_inside(self, path: Path) -> bool:
        return self._allow_outside or path.resolve().is_relative_to(self._home)


def _short(word: str) -> str:
    """A word of the policy for a message."""
    return repr(word if len(word) <= SHOWN else f"{word[:SHOWN]}…")


def _plain_set(one: ReadSet) -> dict[str, Any]:
    return {
        "candidates": [str(path) for path in one.files],
        **({"heldout": [str(path) for path in one.heldout]} if one.heldout else {}),
        **({"calibration": str(one.calibration)} if one.calibration else {}),
        **({"twins": one.twins, "slot": one.slot or "digits"} if one.twins else {}),
        **({"input-format": one.input_format} if one.input_format else {}),
        **({"text-column": one.text_column} if one.text_column else {}),
    }
