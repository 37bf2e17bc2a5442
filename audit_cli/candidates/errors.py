"""The one error of this room."""


class CandidateError(Exception):
    """A file of texts that cannot be read at all. The message names the file, and holds nothing of its texts."""
