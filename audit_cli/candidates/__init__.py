"""Reading candidate texts. Knows files; knows nothing of tokenizers. One reader a format."""

from audit_cli.candidates.files import CandidateError, read_candidates

__all__ = ["CandidateError", "read_candidates"]
