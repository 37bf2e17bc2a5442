"""What a model's memory gives: texts that it writes by itself, and attractors that a cue falls into."""

from dataclasses import dataclass
from enum import StrEnum

from audit_cli.records.judgements import LawCheckResult, ModelInfo
from audit_cli.records.measurements import EntropyMeasurement, Interval
from audit_cli.records.reports import RunInfo
from audit_cli.records.texts import Candidate


class Origin(StrEnum):
    """Where a generated text comes from: it repeats a text of a corpus, nearly does, or does not."""

    COPY = "copy"
    NEAR = "near"
    NEW = "new"


class Storage(StrEnum):
    """Whether an attractor is a text of a corpus, is near one, or is not."""

    STORED = "stored"
    NEAR = "near"
    UNSEEN = "unseen"


@dataclass(frozen=True, slots=True)
class Nearest:
    """The nearest text of a corpus: its id, and its edit similarity by tokens, 1 for the same text.

    It is a `copy` if it is near (.9 and above) and all tokens of the shorter of both stand in the longer, in order and
    without a gap.
    """

    id: str
    similarity: float
    copy: bool


@dataclass(frozen=True, slots=True)
class CorpusSummary:
    """A corpus that was searched: the names of its files, how many texts, and how many of them have no tokens."""

    names: tuple[str, ...]
    texts: int
    skipped: int


@dataclass(frozen=True, slots=True)
class GeneratedText:
    """A text that the model wrote in `count` of `samples` samples; `share` is a Wilson interval (95 %).

    `text` is None without a tokenizer. An empty text has no entropy. `origin` is None without a corpus.
    """

    rank: int
    count: int
    samples: int
    share: Interval
    token_ids: tuple[int, ...]
    text: str | None
    fingerprint: str
    entropy: EntropyMeasurement | None
    nearest: Nearest | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True)
class RetrievedText:
    """An attractor in which `count` of `restarts` restarts from a cue ended; `share` is a Wilson interval (95 %).

    It is a `fixed_point` if no free token of it changes under x <- argmax. `storage` is None without a corpus.
    """

    cue: Candidate
    rank: int
    count: int
    restarts: int
    share: Interval
    token_ids: tuple[int, ...]
    text: str | None
    fingerprint: str
    fixed_point: bool
    entropy: EntropyMeasurement
    nearest: Nearest | None = None
    storage: Storage | None = None


@dataclass(frozen=True, slots=True)
class CueResult:
    """What came of one cue: its attractors, the most frequent first, or why there are none (`reason`, without text).

    `level` is the share of noise that the network was told of; `unknown` of `tokens` positions were unknown.
    """

    cue: Candidate
    fingerprint: str
    tokens: int = 0
    unknown: int = 0
    level: float = 0.0
    attractors: tuple[RetrievedText, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Generation:
    """A run of `generate`. `copies` is the share of samples that are copies, None without a corpus."""

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    texts: tuple[GeneratedText, ...]
    samples: int
    copies: Interval | None = None
    corpus: CorpusSummary | None = None

    def samples_of(self, origin: Origin) -> int:
        """How many samples are of that origin."""
        return sum(text.count for text in self.texts if text.origin is origin)


@dataclass(frozen=True, slots=True)
class Retrieval:
    """A run of `retrieve`."""

    model: ModelInfo
    law: LawCheckResult
    run: RunInfo
    cues: tuple[CueResult, ...]
    corpus: CorpusSummary | None = None
