"""What is measured, and at which sizes."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.steps import statistics_variants, step_variants, transitions
from benchmarks.sweeps import Sweep
from benchmarks.timing import Variant

# BERT's vocabulary, the paper's, and GPT-2's with a mask token.
VOCABS = (30522, 50258)
# Steps from pure noise to clean text: few, and as many as the paper takes.
RUN_STEPS = (16, 1000)


class Kind(StrEnum):
    STEP = "reverse step"
    STATISTICS = "statistics pass"
    RUN = "sampling run"


@dataclass(frozen=True)
class Workload:
    """A task at one size: `batch` sequences of 128 tokens; `steps` of a run only."""

    kind: Kind
    vocab: int
    batch: int
    steps: int = 0

    def variants(self) -> list[Variant]:
        """All ways to do it, ready to be timed."""
        match self.kind:
            case Kind.STEP:
                return step_variants(self.vocab, self.batch)
            case Kind.STATISTICS:
                return statistics_variants(self.vocab, self.batch)
            case Kind.RUN:
                return Sweep.random(self.vocab, self.batch, self.steps).variants()

    def calls(self) -> dict[str, Callable[[], object]]:
        """The same without what only timing needs, to measure memory with."""
        if self.kind is Kind.RUN:
            return Sweep.random(self.vocab, self.batch, self.steps).calls()
        return {variant.name: variant.call for variant in self.variants()}

    def with_memory(self) -> list[str]:
        """The ways whose memory is of interest: a floor writes into memory that is there already."""
        ours = [f"ours, {name}" for name in transitions()] if self.kind is Kind.STEP else ["ours"]
        return ["published", "float32", *ours]


def workloads(quick: bool, large_runs: bool) -> list[Workload]:
    """All of one invocation; `quick` keeps the small vocabulary, an eighth of the batch and the short run."""
    batch, vocabs, run_steps = (2, VOCABS[:1], RUN_STEPS[:1]) if quick else (16, VOCABS, RUN_STEPS)
    single = [Workload(kind, vocab, batch) for kind in (Kind.STEP, Kind.STATISTICS) for vocab in vocabs]
    run_vocabs = vocabs if large_runs else vocabs[:1]
    return single + [Workload(Kind.RUN, vocab, batch, steps) for vocab in run_vocabs for steps in run_steps]
