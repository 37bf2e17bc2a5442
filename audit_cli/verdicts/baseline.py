"""Findings that a person has looked at and accepted: a file of keyed fingerprints, which holds no text.

They stay in the comparison and in the report. A baseline speaks for the settings and the fingerprint key that it was
made under, and for no others.
"""

import datetime
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from audit_cli.records import Known, Verdict

FAMILY = "uddm-audit/baseline/"
VERSION = 1
SCHEMA = f"{FAMILY}{VERSION}"
# What stands at the beginning of a file of ours.
HEAD = b'{\n  "schema": "' + FAMILY.encode()
REPORT_SCHEMA = "uddm-audit/check/1"
MOST_BYTES, MOST_REPORT_BYTES = 64 << 20, 1 << 30
# Of the more certain to the less: what a person has accepted as less is not accepted as more.
STRENGTH = (Verdict.RECOVERABLE, Verdict.FAMILIAR, Verdict.MEMORIZED)

Words = Annotated[str, Meta(max_length=1 << 12)]
Fingerprint = Annotated[str, Meta(pattern="^[0-9a-f]{16}$")]
Date = Annotated[str, Meta(pattern=r"^(\d{4}-\d{2}-\d{2})?$")]


class BaselineError(Exception):
    """A baseline, or a report for one, that cannot be used; the message says why and what to do."""


class _Entry(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    fingerprint: Fingerprint
    verdict: str
    score: float
    settings: Words
    reason: Words
    author: Words
    added: Date
    expires: Date = ""


class _File(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    schema: str
    key: Words
    settings: dict[str, Any]
    settings_id: Words
    findings: list[_Entry]


@dataclass(frozen=True)
class Baseline:
    """Accepted findings by fingerprint. `key` names the key of the fingerprints, `settings` are those that the
    findings were made under, `settings_id` their hash."""

    key: str
    settings: dict[str, Any]
    settings_id: str
    findings: Mapping[str, Known] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The file, findings in the order of their fingerprints."""
        facts = {
            "schema": SCHEMA,
            "key": self.key,
            "settings": self.settings,
            "settings_id": self.settings_id,
            "findings": [asdict(self.findings[fingerprint]) for fingerprint in sorted(self.findings)],
        }
        return (json.dumps(facts, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")

    def check(self, path: str, key: str, settings: dict[str, Any], settings_id: str) -> None:
        """Raise BaselineError unless it speaks for these."""
        again = "accept the findings anew with `uddm-audit baseline add`"
        if self.key != key:
            raise BaselineError(
                f"{path}: made under another fingerprint key, so that no finding of it can be recognized: set "
                f"UDDM_AUDIT_KEY to the key it was made under, or {again}"
            )
        changed = sorted(k for k in self.settings.keys() | settings.keys() if self.settings.get(k) != settings.get(k))
        others = sum(known.settings != settings_id for known in self.findings.values())
        if changed or self.settings_id != settings_id or others:
            told = ", ".join(f"{k} (was {self.settings.get(k)!r}, now {settings.get(k)!r})" for k in changed[:3])
            raise BaselineError(f"{path}: made under other settings{f': {told}' if told else ''}; {again}")

    def of(self, fingerprint: str, verdict: Verdict) -> Known | None:
        """The accepted finding of a text, unless it was accepted as less than it is now."""
        known = self.findings.get(fingerprint)
        return known if known is not None and STRENGTH.index(verdict) <= STRENGTH.index(known.verdict) else None

    def with_added(self, findings: Iterable[Known]) -> "Baseline":
        """The same with more findings, which take the place of those of the same texts."""
        return replace(self, findings=dict(self.findings) | {known.fingerprint: known for known in findings})

    def only(self, fingerprints: Iterable[str]) -> "Baseline":
        """The same with the findings of these texts only."""
        return replace(self, findings={one: self.findings[one] for one in fingerprints if one in self.findings})


def expired(known: Known, today: datetime.date) -> bool:
    """Whether its last day is over."""
    return bool(known.expires) and datetime.date.fromisoformat(known.expires) < today


def read(path: Path) -> Baseline:
    """The baseline in a file. Raises BaselineError on what is none."""
    found = _decoded(path, MOST_BYTES, _File, SCHEMA, FAMILY)
    findings: dict[str, Known] = {}
    for number, entry in enumerate(found.findings, start=1):
        at = f"{path}: finding {number}"
        if entry.verdict not in map(str, STRENGTH):
            raise BaselineError(f"{at}: {entry.verdict!r} is no finding; known: {', '.join(STRENGTH)}")
        for day in filter(None, (entry.added, entry.expires)):
            parsed_date(day, at)
        if entry.fingerprint in findings:
            raise BaselineError(f"{at}: {entry.fingerprint} stands there twice")
        plain = msgspec.structs.asdict(entry) | {"verdict": Verdict(entry.verdict)}
        findings[entry.fingerprint] = Known(**plain)
    return Baseline(found.key, found.settings, found.settings_id, findings)


def parsed_date(text: str, at: str) -> datetime.date:
    """A day as 2027-06-30. Raises BaselineError, beginning with `at`."""
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BaselineError(f"{at}: {text!r} is no day such as 2027-06-30") from None


class _Accepting(msgspec.Struct, frozen=True):
    id: str
    settings: dict[str, Any]


class _Result(msgspec.Struct, frozen=True):
    fingerprint: str | None = None
    verdict: str | None = None
    score: float | None = None
    failing: bool = False
    status: str = ""


class _Report(msgspec.Struct, frozen=True):
    schema: str
    accepting: _Accepting
    fingerprint_key: str
    results: list[_Result]


@dataclass(frozen=True)
class Found:
    """What a report of `check` says that a baseline is made of: `verdicts` and `failing` by fingerprint."""

    empty: Baseline
    verdicts: Mapping[str, tuple[Verdict, float]]
    failing: frozenset[str]


def read_report(path: Path) -> Found:
    """The findings in a JSON report of `check`. Raises BaselineError on what is none."""
    report = _decoded(path, MOST_REPORT_BYTES, _Report, REPORT_SCHEMA, "uddm-audit/check/")
    verdicts: dict[str, tuple[Verdict, float]] = {}
    failing = set()
    for result in report.results:
        if result.verdict not in map(str, STRENGTH):
            continue
        if not result.fingerprint:
            raise BaselineError(f"{path}: has no fingerprints; write it without --show-text none")
        verdict = Verdict(result.verdict)
        before = verdicts.get(result.fingerprint)
        if before is None or STRENGTH.index(verdict) > STRENGTH.index(before[0]):
            verdicts[result.fingerprint] = verdict, float(result.score or 0.0)
        failing |= {result.fingerprint} if result.failing else set()
    empty = Baseline(report.fingerprint_key, report.accepting.settings, report.accepting.id)
    return Found(empty, verdicts, frozenset(failing))


def _decoded(path: Path, most: int, kind: Any, schema: str, family: str) -> Any:
    """A JSON file of ours as its kind."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    if len(content) > most:
        raise BaselineError(f"{path}: too large to be one ({most:,} bytes)")
    what = "baseline" if kind is _File else "JSON report of uddm-audit check"
    try:
        said = msgspec.json.decode(content, type=_Schema).schema
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        said = ""
    if said != schema:
        later = said.startswith(family)
        raise BaselineError(
            f"{path}: is of another version ({said[:60]}); this program reads {schema}"
            if later
            else f"{path}: no {what}"
        )
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise BaselineError(f"{path}: no {what}: {str(error).replace('`', '')}") from None


class _Schema(msgspec.Struct, frozen=True):
    schema: str
