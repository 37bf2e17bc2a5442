"""What is measured of a text."""

from dataclasses import dataclass

# A token whose entropy is below this is one of which the model is certain (nats).
VANISHING_NATS = 0.05
# No token's surprise counts for more in a root mean square, as a share of log V: a stored text with two letters of it
# changed is stored.
SURPRISE_CAP = 1.5


@dataclass(frozen=True, slots=True)
class Interval:
    """A value with a confidence interval. `value` is None where nothing was measured."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class TokenMeasurement:
    """One position of a text, given all others."""

    position: int
    token_id: int
    entropy: float
    surprise: float
    rank: int
    margin: float
    top_probability: float
    top_token_id: int
    token: str = ""
    top_token: str = ""


@dataclass(frozen=True, slots=True)
class EntropyMeasurement:
    """The conditional entropy and surprise of a text's tokens, averaged over `draws` corruptions at time t.

    `surprise_rms` is a root mean square over tokens, in which each has SURPRISE_CAP log V at most.
    """

    tokens: int
    law: str
    t: float
    draws: int
    context: str
    entropy_mean: float
    entropy_sd_draws: float | None
    entropy_max: float
    surprise_mean: float
    surprise_max: float
    surprise_rms: float
    margin_mean: float
    vanishing_share: float
    longest_sure_run: int
    evaluations: int
    per_token: tuple[TokenMeasurement, ...] | None = None


@dataclass(frozen=True, slots=True)
class LevelMeasurement:
    """Restarts of one text at one level of corruption."""

    level: float
    t: float
    restarts: int
    corrupted_tokens: int
    returned: int
    exact: int
    recovery_rates: tuple[float, ...]
    unstable_rates: tuple[float, ...]
    argmax_recovery_rate: float | None = None
    # Of what came back with the text, a restart; at the deciding level only.
    edit_similarities: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class BasinMeasurement:
    """What came back of a text, level by level, and how well it is known undamaged.

    `deciding` holds the restarts, extra ones included, at the level where *returns?* is judged.
    """

    tokens: int
    levels: tuple[LevelMeasurement, ...]
    deciding: LevelMeasurement
    longest_recovered_run: int
    entropy: EntropyMeasurement
    evaluations: int

    @property
    def curve(self) -> tuple[LevelMeasurement, ...]:
        """All restarts at every level: the levels, with the deciding one's extra restarts."""
        return tuple(self.deciding if level.t == self.deciding.t else level for level in self.levels)


@dataclass(frozen=True, slots=True)
class ExtractionMeasurement:
    """What came back in the slot of a text, which was noise in a template that stood as it is.

    The secret itself came back in `exact` of `restarts`; `recovered_share` of the slot's tokens were right on average.
    `fillings` distinct ones came back, the most frequent `most_frequent` times; `rank` is the secret's among them, ties
    against it, None where it never came back. `filling` are the text's tokens with the most frequent one, if kept.
    """

    tokens: int
    slot_tokens: int
    t: float
    restarts: int
    exact: int
    recovered_share: float
    fillings: int
    most_frequent: int
    rank: int | None
    entropy: EntropyMeasurement
    evaluations: int
    filling: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that scores of one row are made of; what was not measured is None or empty.

    `surprises`, `entropies` and `deviations` (of log p, all in nats) have an entry a token. `others` are basins under
    further dynamics, by name. `votes` is the share of random subsets of tokens that surprise the reference model more.
    """

    vocab_size: int
    entropy: EntropyMeasurement
    basins: BasinMeasurement | None = None
    others: tuple[tuple[str, BasinMeasurement], ...] = ()
    surprises: tuple[float, ...] = ()
    entropies: tuple[float, ...] = ()
    deviations: tuple[float, ...] = ()
    compressed_bytes: int = 0
    nelbo: float | None = None
    noisy_surprise: float | None = None
    reference_surprise: float | None = None
    reference_noisy_surprise: float | None = None
    votes: float | None = None
    evaluations: int = 0


@dataclass(frozen=True, slots=True)
class Basin:
    """The share of tokens that can be destroyed while half of the restarts return.

    `censored` is "low" where not even the lowest level returns, "high" where the highest still does, else empty.
    """

    size: float
    low: float
    high: float
    censored: str
    curve_area: float
