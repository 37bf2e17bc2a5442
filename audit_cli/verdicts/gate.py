"""Whether a model may pass: which verdicts fail, which limits hold, and the exit code of it all."""

from collections.abc import Iterable, Mapping

from audit_cli.records import Interval, Limit, LimitState, Reason, RegimeReport, Verdict

FAILED, UNAUDITABLE, INCONCLUSIVE = 1, 3, 4
# The first that applies decides, of those that a finished run can have.
ORDER = (FAILED, UNAUDITABLE, INCONCLUSIVE)
# What fails, by the weakest verdict that does.
FAILING: Mapping[str, frozenset[Verdict]] = {
    "memorized": frozenset({Verdict.MEMORIZED}),
    "familiar": frozenset({Verdict.MEMORIZED, Verdict.FAMILIAR}),
    "recoverable": frozenset({Verdict.MEMORIZED, Verdict.FAMILIAR, Verdict.RECOVERABLE}),
}
# Verdicts that say something of a text.
FINDINGS = FAILING["recoverable"]

# Why a text was not measured in time.
UNMEASURED = "not measured: the time limit of {} was over"

VANISHING, ENTROPY_SHARE, DISTINCT = "max-vanishing-share", "min-entropy-share", "min-distinct-share"


def exit_code(reasons: Iterable[Reason], forgiven: bool = False) -> int:
    """The code of the first reason in the order of the codes, 0 without any; `forgiven` passes over findings."""
    codes = {reason.code for reason in reasons} - ({FAILED} if forgiven else set())
    return next((code for code in ORDER if code in codes), 0)


def limits(asked: Mapping[str, float], found: RegimeReport | None) -> tuple[Limit, ...]:
    """What the model's own samples say of the limits: a limit within an interval is neither kept nor exceeded.

    Of a model whose entropy tells nothing, `found` has no regime, and limits of entropy are open.
    """
    return tuple(_limit(name, bound, found) for name, bound in asked.items())


def _limit(name: str, bound: float, found: RegimeReport | None) -> Limit:
    if found is None or (found.regime is None and name != DISTINCT):
        return Limit(name, bound, None, LimitState.OPEN)
    if name == DISTINCT:
        share = found.distinct / found.samples
        measured = Interval(share, share, share)
    else:
        measured = found.vanishing_share if name == VANISHING else found.unigram_share
    worst, best = (measured.low, measured.high) if name == VANISHING else (-measured.high, -measured.low)
    edge = bound if name == VANISHING else -bound
    state = LimitState.EXCEEDED if worst > edge else LimitState.KEPT if best <= edge else LimitState.OPEN
    return Limit(name, bound, measured, state)
