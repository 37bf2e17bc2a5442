"""What `--dry-run` prints."""

from collections.abc import Sequence

from audit_cli.reports import words
from audit_cli.safetext import for_terminal


def plan_lines(
    texts: tuple[int, int, int, int, int],
    heldout: int | None,
    evaluations: tuple[int, int, int],
    seconds: float,
    peak_bytes: int,
    device: str,
) -> list[str]:
    """`texts`: given, distinct, duplicates, skipped, windows; `evaluations`: of texts, held-out texts, twins."""
    given, distinct, duplicates, skipped, windows = texts
    left = [f"{n:,} {what}" for n, what in ((duplicates, "duplicates"), (skipped, "cannot be measured")) if n]
    of = f" ({', '.join(left)})" if left else ""
    cut = f", in {windows:,} windows" if windows > distinct else ""
    parts = [
        (what, n)
        for what, n in zip(("texts", "held-out texts", "twins"), evaluations, strict=True)
        if n or what == "texts"
    ]
    return [
        f"texts          {distinct:,} of {given:,} to measure{of}{cut}",
        *([] if heldout is None else [f"held-out       {heldout:,} texts"]),
        *_spent(parts, f"about {words.duration(seconds)} on {device}, from timing a few texts", peak_bytes),
    ]


def generation_plan_lines(
    samples: int, length: int, evaluations: tuple[int, int], seconds: float, peak_bytes: int, device: str, corpus: str
) -> list[str]:
    """`evaluations`: of texts, and of their entropy; `corpus` is where copies would be looked for, if anywhere."""
    time = f"about {words.duration(seconds)} on {device}, from timing a few texts{_searched(corpus)}"
    parts = list(zip(("texts", "entropy"), evaluations, strict=True))
    return [f"texts          {samples:,} of {length:,} tokens to write", *_spent(parts, time, peak_bytes)]


def retrieval_plan_lines(
    cues: tuple[int, int],
    restarts: int,
    evaluations: tuple[int, int],
    seconds: float,
    peak_bytes: int,
    device: str,
    corpus: str,
) -> list[str]:
    """`cues`: given, skipped; `evaluations`: of the runs, and of the entropy of their ends."""
    given, skipped = cues
    left = f" ({skipped:,} cannot be run)" if skipped else ""
    time = f"about {words.duration(seconds)} on {device}, from timing the first cue{_searched(corpus)}"
    parts = list(zip(("cues", "entropy"), evaluations, strict=True))
    return [
        f"cues           {given - skipped:,} of {given:,} to run, {restarts:,} restarts each{left}",
        *_spent(parts, time, peak_bytes),
    ]


def _searched(corpus: str) -> str:
    return f"; without the search in {for_terminal(corpus)}" if corpus else ""


def _spent(evaluations: Sequence[tuple[str, int]], time: str, peak_bytes: int) -> list[str]:
    """The end of every plan."""
    parts = ", ".join(f"{what} {n:,}" for what, n in evaluations)
    return [
        f"forward passes {sum(n for _, n in evaluations):,} of one sequence: {parts}",
        f"time           {time}",
        f"memory         about {words.size(peak_bytes)}",
        "Nothing was measured or written (--dry-run).",
    ]
