"""Findings that a person has looked at and accepted: a file of keyed fingerprints, which holds no text.

They stay in the comparison and in the report. A baseline speaks for the settings and the fingerprint key that it was
made under, and for no others.
"""

import datetime
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from audit_cli.records import Known, Status, Verdict
from audit_cli.safetext import encodable
from audit_cli.verdicts.regular import content_of, why

FAMILY = "uddm-audit/baseline/"
VERSION = 1
SCHEMA = f"{FAMILY}{VERSION}"
# What stands at the beginning of a file of ours.
HEAD = b'{\n  "schema": "' + FAMILY.encode()
REPORT_SCHEMA = "uddm-audit/check/1"
MOST_BYTES, MOST_REPORT_BYTES = 64 << 20, 1 << 30
# Of the more certain to the less: what a person has accepted as less is not accepted as more.
STRENGTH = (Verdict.RECOVERABLE, Verdict.FAMILIAR, Verdict.MEMORIZED)

MOST_WORDS = 1 << 12
# Characters of a word of the file in a message.
SHOWN = 60
DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
Words = Annotated[str, Meta(max_length=MOST_WORDS)]
Fingerprint = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Date = Annotated[str, Meta(pattern=rf"\A({DAY})?\Z")]
# What settings are made of, as `check` writes them.
Setting = Words | Annotated[int, Meta(ge=-(1 << 63), le=(1 << 63) - 1)] | float | bool | None
Settings = dict[Words, Setting | list[Setting]]


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
    settings: Settings
    settings_id: Words
    findings: list[_Entry]


@dataclass(frozen=True)
class Baseline:
    """Accepted findings by fingerprint. `key` names the key of the fingerprints, `settings` are those that the
    findings were made under, `settings_id` their hash."""

    key: str
    settings: Mapping[str, Any]
    settings_id: str
    findings: Mapping[str, Known] = field(default_factory=dict)

    def encoded(self) -> bytes:
        """The file, findings in the order of their fingerprints. Raises BaselineError if it would be too large."""
        facts = {
            "schema": SCHEMA,
            "key": self.key,
            "settings": self.settings,
            "settings_id": self.settings_id,
            "findings": [asdict(self.findings[fingerprint]) for fingerprint in sorted(self.findings)],
        }
        content = (json.dumps(facts, indent=2, ensure_ascii=True, allow_nan=False) + "\n").encode("ascii")
        if len(content) > MOST_BYTES:
            raise BaselineError(f"{len(self.findings):,} findings are more than a baseline holds")
        return content

    def check(self, path: str, key: str, settings: Mapping[str, Any], settings_id: str) -> None:
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
            told = ", ".join(
                f"{k[:SHOWN]} (was {_brief(self.settings.get(k))}, now {_brief(settings.get(k))})" for k in changed[:3]
            )
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
            raise BaselineError(f"{at}: {_brief(entry.verdict)} is no finding; known: {', '.join(STRENGTH)}")
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
        # A date of ISO 8601 has more forms than the file takes.
        if not re.fullmatch(DAY, text):
            raise ValueError
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise BaselineError(f"{at}: {_brief(text)} is no day such as 2027-06-30") from None


def words(text: str, at: str) -> str:
    """Words of a person as the file takes them. Raises BaselineError, beginning with `at`, on too many."""
    if len(text := encodable(text)) > MOST_WORDS:
        raise BaselineError(f"{at}: more than {MOST_WORDS:,} characters")
    return text


def _brief(value: Any) -> str:
    said = repr(value)
    return said if len(said) <= SHOWN else f"{said[:SHOWN]}…"


class _Accepting(msgspec.Struct, frozen=True):
    id: Words
    settings: Settings


class _Result(msgspec.Struct, frozen=True):
    fingerprint: Annotated[str, Meta(pattern=r"\A([0-9a-f]{16})?\Z")] | None = None
    verdict: str | None = None
    score: float | None = None
    failing: bool = False
    status: str = ""


class _Report(msgspec.Struct, frozen=True):
    schema: str
    accepting: _Accepting
    fingerprint_key: Words
    results: list[_Result]


@dataclass(frozen=True)
class Found:
    """What a report of `check` says that a baseline is made of: `verdicts` and `failing` by fingerprint, and the
    fingerprints of texts that were `skipped`, of which it says nothing."""

    empty: Baseline
    verdicts: Mapping[str, tuple[Verdict, float]]
    failing: frozenset[str]
    skipped: frozenset[str] = frozenset()


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
    skipped = frozenset(result.fingerprint for result in report.results if result.status == Status.SKIPPED)
    return Found(empty, verdicts, frozenset(failing), skipped - {None, ""})


def _decoded(path: Path, most: int, kind: Any, schema: str, family: str) -> Any:
    """A JSON file of ours as its kind."""
    try:
        content = content_of(path, most)
    except (OSError, ValueError) as error:
        raise BaselineError(f"{path}: {why(error)}") from None
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
