"""Reading candidate texts. Knows files; knows nothing of tokenizers. One reader a format."""

from audit_cli.candidates.errors import CandidateError
from audit_cli.candidates.texts import GivenTexts, Kind, Texts, numbered, open_texts

__all__ = ["CandidateError", "GivenTexts", "Kind", "Texts", "numbered", "open_texts"]
