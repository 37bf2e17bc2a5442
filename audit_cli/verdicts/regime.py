"""Does a model memorize or generalize? Judged by its own samples, by a rule that was held against models of which it
is known (`examples/regime.py`)."""

import math
from collections.abc import Sequence

import numpy as np

from audit_cli.records import EntropyMeasurement, Interval, LawCheck, Regime, RegimeReport
from audit_cli.statistics.intervals import bootstrap_mean, bootstrap_ratio

# As a share of the samples' unigram entropy. Of models of one text, in letters, that were trained on 16 to 30,590 lines
# of it, those that memorize lie below the first bound and those that generalize above the second, whatever the network,
# schedule or loss; in between are those that do either in part.
MEMORIZING_SHARE = 0.30
GENERALIZING_SHARE = 0.45
# A generalizing model rarely writes a text twice.
DISTINCT_SHARE = 0.95


def regime(
    measured: Sequence[EntropyMeasurement],
    samples: Sequence[Sequence[int]],
    vocab_size: int,
    law: LawCheck | None,
    seed: int,
) -> RegimeReport:
    """The regime from the entropies of a model's own samples; intervals by bootstrap over the samples."""
    entropies = np.array([m.entropy_mean for m in measured])
    vanishing = np.array([m.vanishing_share for m in measured])
    unigram = unigram_entropy(samples)
    share = bootstrap_ratio(entropies, np.full_like(entropies, max(unigram, 1e-12)), seed)
    distinct = len({tuple(sample) for sample in samples})
    verdict, reason = _regime(share, distinct / len(samples), unigram, law)
    return RegimeReport(
        regime=verdict,
        reason=reason,
        samples=len(samples),
        entropy=bootstrap_mean(entropies, seed),
        entropy_possible=math.log(vocab_size),
        unigram_share=share,
        vanishing_share=bootstrap_mean(vanishing, seed),
        distinct=distinct,
        mean_entropies=tuple(entropies.tolist()),
    )


def unigram_entropy(samples: Sequence[Sequence[int]]) -> float:
    """Entropy in nats of a token drawn at random from the samples."""
    _, counts = np.unique(np.concatenate([np.asarray(s) for s in samples]), return_counts=True)
    p = counts / counts.sum()
    return float(-(p * np.log(p)).sum())


def _regime(share: Interval, distinct: float, unigram: float, law: LawCheck | None) -> tuple[Regime | None, str]:
    if law is LawCheck.CONTRADICTED:
        return None, "The network does not have the leave-one-out law: its entropy says nothing of memorization."
    if unigram < 1e-9:
        return Regime.MEMORIZING, "The model writes one token only."
    if share.high <= MEMORIZING_SHARE:
        return Regime.MEMORIZING, "Given all the others, little is open about a token: so it is where text is stored."
    if share.low >= GENERALIZING_SHARE and distinct >= DISTINCT_SHARE:
        return Regime.GENERALIZING, "Most tokens stay uncertain, given all the others, and texts hardly repeat."
    if share.low >= GENERALIZING_SHARE:
        return Regime.UNDECIDED, "Most tokens stay uncertain, yet the same texts come again."
    return Regime.UNDECIDED, "More is open about a token than where text is stored, and less than where it is not."
