"""Held-out scores of one model in a file: what later audits of it compare with, without the held-out text.

It holds no text, and whoever has the model and guesses a held-out text can see by its scores whether it is one. What
is read is checked to the last number: it may come from anywhere.
"""

import dataclasses
import hashlib
import json
import math
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from audit_cli.safetext import for_terminal
from audit_cli.verdicts.keyed_runs import Mark, looked_for, unpacked
from audit_cli.verdicts.lengths import RATIO

FAMILY = "uddm-audit/calibration/"
VERSION = 1
SCHEMA = f"{FAMILY}{VERSION}"
# What stands at the beginning of a file of ours.
HEAD = b'{"schema": "' + FAMILY.encode()
# Hashes of runs are most of it: two thousand texts of 1,024 tokens take 8 MB a band.
MOST_BYTES = 256 << 20
# Of a text: what an audit takes at most.
MOST_TOKENS = 1 << 18
# Settings of two machines are the same number if they differ by rounding only.
SAME = 1e-9
SHOWN, MOST_NAMED = 60, 20
# Of a score, which means nothing beyond; of a share, which ends there.
LARGEST = 1e9
# Of what cannot be below zero, in nats: how far below rounding takes it.
ROUNDING = 1e-3

Count = Annotated[int, Meta(ge=0, le=1 << 40)]
Length = Annotated[int, Meta(ge=1, le=MOST_TOKENS)]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Short = Annotated[str, Meta(max_length=1 << 12)]


class CalibrationError(Exception):
    """A calibration that cannot be read, or was made for something else; the message says what."""


@dataclass(frozen=True)
class MadeFor:
    """What decides the scores. `settings` are plain values."""

    command: Short
    recipe: Short
    weights_sha256: Short
    network_sha256: Short
    tokenizer_sha256: Short | None
    settings: dict[str, Any]


@dataclass(frozen=True)
class LawFacts:
    """The law that the network declares, what the law check said on rows of random tokens, and of what the entropies
    are where that is another law."""

    declared: Short
    check: Short
    contrast: float
    entropies: Short | None = None


@dataclass(frozen=True)
class HeldFacts:
    """How many held-out texts there were, and a hash of the pieces that were scored."""

    given: Count
    skipped: Count
    duplicates: Count
    too_short: Count
    used: Count
    sha256: Sha256


@dataclass(frozen=True)
class Scored:
    """The references for candidates of `shortest` to `longest` tokens, or, `windows`, of those longer than the model.

    An entry a reference: the number of its text, its score, and what is shown of held-out text.
    """

    shortest: Length
    longest: Length
    windows: bool
    texts: list[Count]
    score: list[float]
    entropy: list[float]
    surprise: list[float]
    vanishing_share: list[float]
    returned: list[list[Count]]
    basin: list[float | None]

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def ends(self) -> tuple[int, int]:
        """The lengths of candidates, both included."""
        return self.shortest, MOST_TOKENS if self.windows else self.longest

    @property
    def said(self) -> str:
        """The lengths in words."""
        if self.windows:
            return f"over {self.longest}"
        return f"{self.shortest}" if self.shortest == self.longest else f"{self.shortest}-{self.longest}"


@dataclass(frozen=True)
class Facts:
    """All that a file holds. `bands` from the longest down, windows last; `texts` is how many the marks are of."""

    schema: str
    tool: Short
    made_for: MadeFor
    model: Short
    device: Short
    law: LawFacts
    heldout: HeldFacts
    key_check: Short
    texts: Annotated[int, Meta(ge=1, le=1 << 24)]
    bands: list[Scored]
    marks: list[Mark]


@dataclass(frozen=True)
class Calibration:
    """What was read, or made, and the SHA-256 of the file; `name` is where it came from."""

    facts: Facts
    sha256: str
    name: str = "calibration"

    @classmethod
    def of(cls, facts: Facts) -> "Calibration":
        """Raises CalibrationError on facts that `parsed` would refuse."""
        _check(facts)
        return cls(facts, hashlib.sha256(encoded(facts)).hexdigest())

    def encoded(self) -> bytes:
        """The file: one line of ASCII."""
        return encoded(self.facts)

    def other_than(self, wanted: MadeFor) -> list[str]:
        """What was other when the scores were made than is wanted: name, value there, value here.

        Of another command only the settings that both have.
        """
        mine, other = _flat(self.facts.made_for), _flat(wanted)
        names = [*other, *(name for name in mine if name not in other)]
        if mine["command"] != other["command"]:
            names = [name for name in names if name in mine and name in other]
        found = (
            f"{_brief(name)} ({_brief(mine.get(name))} there, {_brief(other.get(name))} here)"
            for name in names
            if not _same(mine.get(name), other.get(name))
        )
        return list(islice(found, MOST_NAMED))


def encoded(facts: Facts) -> bytes:
    """The facts as a line of JSON, ASCII only."""
    return (json.dumps(dataclasses.asdict(facts), ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")


def read(path: Path) -> Calibration:
    """The calibration in a file. Raises CalibrationError on anything that is none."""
    try:
        # A pipe in its place would wait for somebody to write.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(file, "rb") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise CalibrationError(f"{path}: is no calibration: not a regular file")
            content = opened.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise CalibrationError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    return parsed(content, str(path))


def parsed(content: bytes, name: str = "calibration") -> Calibration:
    """The calibration of a file's bytes. Raises CalibrationError on anything that is none."""
    if len(content) > MOST_BYTES:
        raise CalibrationError(f"{name}: over {MOST_BYTES >> 20} MB, and no calibration is so large")
    try:
        _check_schema(msgspec.json.decode(content, type=dict[str, msgspec.Raw]).get("schema", msgspec.Raw(b'""')))
        facts = msgspec.json.decode(content, type=Facts)
        _check(facts)
    except CalibrationError as error:
        raise CalibrationError(f"{name}: {error}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        reason = "nested too deep" if isinstance(error, RecursionError) else str(error)
        raise CalibrationError(f"{name}: is no calibration, or damaged: {reason}") from None
    return Calibration(facts, hashlib.sha256(content).hexdigest(), name)


def _check_schema(raw: msgspec.Raw) -> None:
    schema = msgspec.json.decode(raw, type=str)
    version = schema.removeprefix(FAMILY)
    if version == schema or not version.isascii() or not version.isdigit():
        raise CalibrationError("is no calibration: make one with `uddm-audit calibrate`")
    if version != str(VERSION):
        newer = len(version) > len(str(VERSION)) or version > str(VERSION)
        do = "update uddm-audit" if newer else "make it anew with `uddm-audit calibrate`"
        raise CalibrationError(f"schema {_brief(schema)}, and this version reads {SCHEMA}: {do}")


def _check(facts: Facts) -> None:
    """Raise CalibrationError where the parts do not fit each other."""
    for problem in _problems(facts):
        raise CalibrationError(f"damaged: {problem}")


def _problems(facts: Facts) -> Iterator[str]:
    if not facts.bands:
        yield "no bands"
    asked = facts.made_for.settings.get("levels", [])
    levels = len(asked) if isinstance(asked, list | tuple) else 0
    if any(len(returned) != levels for band in facts.bands for returned in band.returned):
        yield "a text with other levels than were asked for"
    above = MOST_TOKENS + 1
    for number, band in enumerate(facts.bands):
        columns = (band.score, band.entropy, band.surprise, band.vanishing_share, band.returned, band.basin)
        if any(len(column) != len(band.texts) for column in columns):
            yield f"band {band.said}: columns of different lengths"
        if band.windows:
            if number != len(facts.bands) - 1 or band.shortest != band.longest:
                yield "windows are not the last band"
        elif not band.shortest <= band.longest < above:
            yield "bands are not sorted from the longest down"
        elif band.longest > RATIO * band.shortest:
            yield f"band {band.said}: lengths differ by more than a quarter"
        above = band.shortest
        if len(set(band.texts)) < len(band.texts) or any(text >= facts.texts for text in band.texts):
            yield f"band {band.said}: numbers of texts that are none"
        if not all(abs(value) <= LARGEST for value in (*band.score, *band.entropy, *band.surprise)):
            yield f"band {band.said}: a score is no number"
        if min((*band.entropy, *band.surprise), default=0.0) < -ROUNDING:
            yield f"band {band.said}: an entropy or a surprise below zero"
        if not all(0 <= share <= 1 for share in (*band.vanishing_share, *(b for b in band.basin if b is not None))):
            yield f"band {band.said}: a share is none"
    held = facts.heldout
    if held.used != facts.texts or held.used + held.skipped + held.duplicates + held.too_short > held.given:
        yield "counts of held-out texts that do not add up"
    if not math.isfinite(facts.law.contrast):
        yield "the law check is no number"
    if len({(mark.tokens, mark.beginning) for mark in facts.marks}) < len(facts.marks):
        yield "hashes of runs twice"
    wanted = {(tokens, beginning) for band in facts.bands for tokens, beginning in looked_for(*band.ends)}
    if not wanted <= {(mark.tokens, mark.beginning) for mark in facts.marks}:
        # Without them a candidate that is among the texts would be compared with itself.
        yield "no hashes of runs for a band"
    for mark in facts.marks:
        if len(mark.hashes) != facts.texts:
            yield "hashes of other texts than those that were scored"
        try:
            for hashes in mark.hashes:
                unpacked(hashes)
        except ValueError as error:
            yield str(error)


def _flat(made: MadeFor) -> dict[str, Any]:
    """Name and value of all that decides, the model first."""
    named = {
        "command": made.command,
        "weights": made.weights_sha256,
        "network": made.network_sha256,
        "tokenizer": made.tokenizer_sha256,
        "recipe": made.recipe,
    }
    return named | {name: value for name, value in made.settings.items() if name not in named}


def _same(one: object, other: object) -> bool:
    """Whether two plain values are the same; a tuple is a list, as JSON keeps it."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, float) and isinstance(other, float):
        return one == other or math.isclose(one, other, rel_tol=SAME)
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_same(one[name], other[name]) for name in one)
    return type(one) is type(other) and one == other


def _brief(value: object) -> str:
    """A value as a person may read it, safe for a line."""
    if value is None or value == "":
        return "none"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    if isinstance(value, str) and len(value) == 64:
        text = value[:12]
    return for_terminal(text if len(text) <= SHOWN else text[: SHOWN - 3] + "...")
