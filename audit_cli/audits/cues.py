"""Cues: texts in which `_` is a position that is not known."""

from collections.abc import Sequence
from dataclasses import dataclass

from audit_cli.checkpoints import LoadedModel
from audit_cli.checkpoints.errors import Untokenizable
from audit_cli.checkpoints.loaded import MAX_CHARACTERS, NO_TOKENIZER
from audit_cli.checkpoints.tokenizer import TextTokenizer
from audit_cli.records import Candidate, Row, Skipped

UNKNOWN = "_"


@dataclass(frozen=True)
class Cue:
    """The row of a cue and its unknown positions in it, where any token may stand."""

    row: Row
    unknown: tuple[int, ...]


def parse_cue(tokenizer: TextTokenizer, text: str) -> tuple[int | None, ...]:
    """The tokens of a cue, None where one is unknown.

    Where tokens are characters, each `_` is one character of the text, which is tokenized as a whole. Word pieces know
    no such thing: each `_` is one token, and what stands between is tokenized by itself. Raises Untokenizable.
    """
    stand_in = tokenizer.stand_in()
    if stand_in is None:
        known = [tokenizer.encode(part) if part else () for part in text.split(UNKNOWN)]
        return (*known[0], *(token for part in known[1:] for token in (None, *part)))
    filled = text.replace(UNKNOWN, stand_in)
    ids = tokenizer.encode(filled)
    places = [i for i, character in enumerate(text) if character == UNKNOWN]
    unknown = set(tokenizer.holding(filled, places))
    if len(unknown) != len(places):
        raise Untokenizable("the model's tokenizer joins an unknown position with its neighbours")
    return tuple(None if i in unknown else token for i, token in enumerate(ids))


def cue_of(model: LoadedModel, candidate: Candidate, freeze: bool, level: float | None) -> Cue | Skipped:
    """A cue as the model's row, or why nothing can be retrieved by it."""
    found = _tokens(model, candidate)
    if isinstance(found, Skipped):
        return found
    unknown = [i for i, token in enumerate(found) if token is None]
    reason = _useless(found, unknown, freeze, level)
    room = model.layout.room(candidate, len(found))
    if not reason and len(found) > room:
        reason = f"the cue has {len(found):,} tokens, and the model takes {room:,}"
    if reason:
        return Skipped(candidate, reason)
    filler = int(model.denoiser.noise_tokens[0])
    row = model.layout.place(candidate, tuple(filler if token is None else token for token in found))
    return Cue(row, tuple(row.start + i for i in unknown))


def _tokens(model: LoadedModel, candidate: Candidate) -> tuple[int | None, ...] | Skipped:
    text = candidate.text or ""
    if not text.strip():
        return Skipped(candidate, "the cue is empty")
    if model.tokenizer is None:
        return Skipped(candidate, NO_TOKENIZER)
    if len(text) > MAX_CHARACTERS:
        return Skipped(candidate, f"the cue has {len(text):,} characters, and it may have {MAX_CHARACTERS:,}")
    try:
        return parse_cue(model.tokenizer, text)
    except Untokenizable as error:
        return Skipped(candidate, f"the cue: {error}")


def _useless(tokens: Sequence[int | None], unknown: Sequence[int], freeze: bool, level: float | None) -> str:
    """Why such a cue asks for nothing; empty if it asks for something."""
    if not tokens:
        return "the cue has no tokens"
    if len(unknown) == len(tokens):
        return "nothing of the cue is known: uddm-audit generate gives what the model writes from nothing"
    if not unknown and (freeze or level is None):
        remedy = "" if freeze else ", or give --level to corrupt a share of it"
        return f"nothing of the cue is unknown: write {UNKNOWN} for every position that is to be found{remedy}"
    return ""
