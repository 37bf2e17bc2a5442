"""What `--dry-run` prints."""

from audit_cli.reports import words


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
        f"{what} {n:,}"
        for what, n in zip(("texts", "held-out texts", "twins"), evaluations, strict=True)
        if n or what == "texts"
    ]
    return [
        f"texts          {distinct:,} of {given:,} to measure{of}{cut}",
        *([] if heldout is None else [f"held-out       {heldout:,} texts"]),
        f"forward passes {sum(evaluations):,} of one sequence: {', '.join(parts)}",
        f"time           about {words.duration(seconds)} on {device}, from timing a few texts",
        f"memory         about {words.size(peak_bytes)}",
        "Nothing was measured or written (--dry-run).",
    ]
