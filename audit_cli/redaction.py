"""What may be shown of a text. Standard library only; every writer asks here."""

import hashlib
import hmac
import unicodedata
from dataclasses import dataclass
from enum import StrEnum

FINGERPRINT_HEX = 16
LETTERS_SHOWN = 2


class ShowText(StrEnum):
    """How much of a text a report may show."""

    NONE = "none"
    FINGERPRINT = "fingerprint"
    EXCERPT = "excerpt"
    FULL = "full"


@dataclass(frozen=True)
class Redaction:
    """How much to show, and the key of the fingerprints, which is in no output."""

    show: ShowText
    key: bytes

    def fingerprint(self, text: str | None, token_ids: tuple[int, ...] | None) -> str:
        """HMAC-SHA-256 of the text, or of the token ids: a plain hash of a card number is reversed in seconds."""
        if self.show is ShowText.NONE or (text is None and token_ids is None):
            return ""
        if text is not None:
            message = b"text\0" + text.encode("utf-8", "surrogatepass")
        else:
            message = b"ids\0" + ",".join(map(str, token_ids or ())).encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:FINGERPRINT_HEX]

    def key_name(self) -> str:
        """What tells fingerprints of one key from those of another, and nothing of the key."""
        return hmac.new(self.key, b"name of the key", hashlib.sha256).hexdigest()[:FINGERPRINT_HEX]

    def text(self, text: str | None) -> str:
        """The text, an excerpt of it, or nothing."""
        if text is None or self.show in (ShowText.NONE, ShowText.FINGERPRINT):
            return ""
        return text if self.show is ShowText.FULL else masked(text)


def masked(text: str) -> str:
    """Of each word the first two letters and its punctuation; stars for the rest of it."""
    out, shown = [], 0
    for c in text:
        kind = unicodedata.category(c)
        if c.isspace():
            shown = 0
            out.append(c)
        elif kind[0] == "L" and shown < LETTERS_SHOWN:
            shown += 1
            out.append(c)
        else:
            out.append(c if kind[0] == "P" and c != "_" else "*")
    return "".join(out)
