"""Reports made up from records, for the tests of what is written."""

from audit_cli.records import (
    AuditReport,
    Basin,
    BasinMeasurement,
    Candidate,
    Comparability,
    Counts,
    EntropyMeasurement,
    ExtractionMeasurement,
    HeldoutSummary,
    Interval,
    Judgement,
    LawCheck,
    LawCheckResult,
    LevelMeasurement,
    ModelInfo,
    Regime,
    RegimeReport,
    RunInfo,
    Status,
    TextResult,
    TokenMeasurement,
    Verdict,
)
from audit_cli.redaction import Redaction, ShowText

FULL, EXCERPT = Redaction(ShowText.FULL, b"key"), Redaction(ShowText.EXCERPT, b"key")
FINGERPRINT, NONE = Redaction(ShowText.FINGERPRINT, b"key"), Redaction(ShowText.NONE, b"key")

MODEL = ModelInfo(
    name="examples/model",
    family="native",
    parameters=200_000,
    vocab_size=27,
    max_length=32,
    schedule="log-linear",
    law="leave-one-out",
    rows="cut",
    weights="raw",
    weights_sha256="ab" * 32,
    tokenizer="letters",
    tokenizer_sha256=None,
    backbone="additive",
)
ENTROPY = EntropyMeasurement(
    tokens=9,
    law="leave-one-out",
    t=1e-5,
    draws=1,
    context="all",
    entropy_mean=0.1,
    entropy_sd_draws=None,
    entropy_max=1.5,
    surprise_mean=0.25,
    surprise_max=2.0,
    surprise_rms=1.5,
    margin_mean=3.0,
    vanishing_share=0.75,
    longest_sure_run=4,
    evaluations=1,
    per_token=tuple(TokenMeasurement(i, 7, 0.1 * i, 0.2, 1, -0.5, 0.9, 8, "he", "|<b>") for i in range(3)),
)


def level(share, t, restarts=8, returned=7):
    return LevelMeasurement(
        share,
        t,
        restarts,
        corrupted_tokens=20,
        returned=returned,
        exact=returned,
        recovery_rates=(0.5,) * (restarts - 1) + (1.0,),
        unstable_rates=(0.0,) * restarts,
        edit_similarities=(0.75,) * (restarts - 1) + (1.0,),
    )


BASIN = BasinMeasurement(
    tokens=9,
    levels=(level(0.1, 0.1), level(0.25, 0.25)),
    deciding=level(0.25, 0.25, 32, 30),
    longest_recovered_run=3,
    entropy=ENTROPY,
    evaluations=48,
)
EXTRACTION = ExtractionMeasurement(
    tokens=9,
    slot_tokens=4,
    t=1.0,
    restarts=64,
    exact=32,
    recovered_share=0.75,
    fillings=11,
    most_frequent=32,
    rank=1,
    entropy=ENTROPY,
    evaluations=1025,
)
JUDGED = Judgement(
    "basin-area+excess-surprise", 1.5, Verdict.MEMORIZED, "why | not", 0.01, 0.02, 0.015, 119, Comparability.COMPARABLE
)


def measured(text="he said so", id="texts.txt:1", line=1, redaction=FULL, **changes):
    """A text with a number in every column."""
    fields = {
        "candidate": Candidate("texts.txt", line, id, text),
        "fingerprint": redaction.fingerprint(text, None),
        "status": Status.MEASURED,
        "tokens": 9,
        "windows": 2,
        "window_offset": 16,
        "returns": True,
        "entropy": ENTROPY,
        "basin_measurement": BASIN,
        "basin": Basin(0.25, 0.1, 0.25, "high", 0.7),
        "extraction": EXTRACTION,
        "recovered_text": text,
        "judgement": JUDGED,
    }
    return TextResult(**(fields | changes))


def skipped(text="x" * 40, id="texts.txt:2", line=2, redaction=FULL):
    candidate = Candidate("texts.txt", line, id, text)
    return TextResult(candidate, redaction.fingerprint(text, None), Status.SKIPPED, "40 tokens, at most 32")


def results(redaction=FULL):
    """Skipped first: no format may take its types from the first rows."""
    twice = measured(id="texts.txt:3", line=3, redaction=redaction, status=Status.DUPLICATE, duplicate_of="texts.txt:1")
    unjudged = measured("no held-out text", "my own id", 4, redaction, basin=None, judgement=None)
    return (skipped(redaction=redaction), measured(redaction=redaction), twice, unjudged)


def report(command="basins", results=(), settings=None, **changes):
    """A report of the results: a tuple, or anything that gives them again each time, with its length."""
    fields = {
        "model": MODEL,
        "law": LawCheckResult(0.01, LawCheck.CONFIRMED, 64),
        "run": RunInfo(command, "0.1", settings or {"seed": 0}, "0123456789ab", "cpu", "float32", "chunked", 1.25, 100),
        "results": results,
        "counts": Counts(len(results), max(0, len(results) - 1), 0, min(1, len(results))),
        "fdr": 0.05,
        "judged": True,
        "levels": (0.1, 0.25),
        "heldout": HeldoutSummary(121, 120, 1, 0, 0, 0, 119, 119, None, None),
    }
    return AuditReport(**(fields | changes))


REGIME = RegimeReport(
    Regime.MEMORIZING,
    "The model is certain of nearly every token.",
    64,
    Interval(0.1, 0.05, 0.2),
    3.3,
    Interval(0.1, 0.05, 0.2),
    Interval(0.9, 0.8, 1.0),
    12,
    (0.1, 0.2),
)
