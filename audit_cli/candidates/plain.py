"""Texts and JSON objects, one a line."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from audit_cli.candidates import lines
from audit_cli.records import Candidate, Skipped

MAX_TOKEN_IDS = 1 << 20
TOKEN_ID_LIMIT = 1 << 31
# What a line of a text file may hold and still be blank.
BLANK = " \t\n\r\x0b\x0c"
NumberedLines = Iterable[tuple[int, bytes | lines.LongLine]]


def texts(numbered: NumberedLines, source: str) -> Iterator[Candidate | Skipped]:
    """Every line is a text."""
    for number, line in numbered:
        name = f"{source}:{number}"
        if isinstance(line, lines.LongLine):
            yield Skipped(Candidate(source, number, name), too_long("line"))
            continue
        try:
            yield Candidate(source, number, name, line.decode())
        except UnicodeDecodeError as error:
            yield Skipped(Candidate(source, number, name), not_utf8(error))


def json_objects(numbered: NumberedLines, source: str, text_field: str | None) -> Iterator[Candidate | Skipped]:
    """Every line is an object with `input_ids` or the text field, and perhaps an `id` and a `prompt`."""
    for number, line in numbered:
        yield _json_object(line, Candidate(source, number, f"{source}:{number}"), text_field)


def _json_object(line: bytes | lines.LongLine, here: Candidate, text_field: str | None) -> Candidate | Skipped:
    if isinstance(line, lines.LongLine):
        return Skipped(here, too_long("line"))
    try:
        data = json.loads(line.decode())
    except UnicodeDecodeError as error:
        return Skipped(here, not_utf8(error))
    except (ValueError, RecursionError):
        return Skipped(here, "not valid JSON")
    if not isinstance(data, dict):
        return Skipped(here, "not a JSON object")
    name = data.get("id", here.id)
    if not isinstance(name, str | int) or isinstance(name, bool):
        return Skipped(here, '"id" is neither a string nor a whole number')
    found = _content(data, replace(here, id=str(name)), text_field)
    return found if text_field == "prompt" else with_prompt(found, data.get("prompt"))


def _content(data: dict[str, Any], here: Candidate, text_field: str | None) -> Candidate | Skipped:
    """The candidate with the text, or the token ids, of a JSON object."""
    # A text field that was asked for by name is what is wanted, whatever else there is.
    ids = None if text_field else data.get("input_ids")
    if ids is not None:
        return with_token_ids(here, ids)
    field = text_field or "text"
    text = data.get(field)
    if isinstance(text, str):
        return with_text(here, text)
    if field in data:
        return Skipped(here, f'"{field}" is not a string')
    return Skipped(here, f'no "{field}" field' if text_field else 'no "text" and no "input_ids" field')


def with_text(here: Candidate, text: str) -> Candidate | Skipped:
    """The candidate with this text, unless it is blank: such a line of a text file is no candidate either."""
    if not text.strip(BLANK):
        return Skipped(here, "no text")
    return replace(here, text=text)


def with_token_ids(here: Candidate, ids: object) -> Candidate | Skipped:
    """The candidate with these token ids, if they are any."""
    if isinstance(ids, list) and len(ids) > MAX_TOKEN_IDS:
        return Skipped(here, f'"input_ids" holds more than {MAX_TOKEN_IDS} token ids')
    if not isinstance(ids, list) or not all(type(i) is int and abs(i) < TOKEN_ID_LIMIT for i in ids):
        return Skipped(here, '"input_ids" is not a list of whole numbers')
    return replace(here, token_ids=tuple(ids))


def with_prompt(found: Candidate | Skipped, prompt: object) -> Candidate | Skipped:
    """The candidate with this prompt, if it is any: a blank one, or None, is none."""
    if isinstance(found, Skipped) or prompt is None:
        return found
    if not isinstance(prompt, str):
        return Skipped(without_content(found), '"prompt" is not a string')
    return replace(found, prompt=prompt) if prompt.strip(BLANK) else found


def without_content(found: Candidate) -> Candidate:
    """Where the candidate stands: what is said of one that is skipped."""
    return Candidate(found.source, found.line, found.id)


def too_long(what: str) -> str:
    return f"the {what} is longer than {lines.MAX_LINE_BYTES} bytes"


def not_utf8(error: UnicodeDecodeError) -> str:
    return f"not valid UTF-8 (byte {error.start + 1} of the line)"
