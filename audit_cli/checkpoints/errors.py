"""What can be wrong with a checkpoint or its tokenizer."""


class CheckpointError(Exception):
    """A model that cannot be loaded. The message says what failed, in which file, and what to try."""


class UnauditableModel(CheckpointError):
    """A checkpoint that is well-formed and still cannot be audited: its weights are not numbers, say."""


class Untokenizable(Exception):
    """A text that the model's tokenizer cannot represent. The message holds at most one character of it."""
