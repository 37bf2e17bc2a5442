"""What is said of a model: what it is, and whether it memorizes."""

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import (
    VANISHING_NATS,
    AttractorReport,
    AuditReport,
    Generation,
    LawCheck,
    LawCheckResult,
    ModelInfo,
    RegimeReport,
    Retrieval,
)
from audit_cli.reports import words
from audit_cli.reports.bars import histogram
from audit_cli.reports.legend import REGIME_LEGEND
from audit_cli.safetext import for_terminal

LAW_WARNINGS = {
    LawCheck.LEAKS: "The network partly copies its input: read entropies with care.",
    LawCheck.CONTRADICTED: "The network copies its input: its entropy says nothing of memorization, "
    "and no verdict rests on it.",
}

# A network that is sure of what stands there by what it was trained for, and not by a fault.
POSTERIOR = "posterior"
POSTERIOR_ENTROPY = (
    "The network predicts the posterior law: entropy and surprise are of the {law} law at t = {t:.2g}, and decide no "
    "verdict."
)
POSTERIOR_STEPS = (
    "Steps are of the leave-one-out law, converted from the posterior: they assume that the network knows how much of "
    "a text is noise."
)
PATTERNED = (
    "Corrupted by {pattern}: the network was trained on noise at each position independently and is told the average, "
    "so this lies outside of what it has learned."
)
WRITTEN_AGAIN = (
    "The entropy-bound loop draws anew what it does not accept: a text that returns was written again by the model, "
    "from the damaged one as its starting canvas."
)


def law_notes(report: AuditReport | Generation | Retrieval | AttractorReport) -> list[str]:
    """What a person should know of the law and the dynamics before she reads the numbers."""
    settings = report.run.settings
    notes = []
    if report.model.law == POSTERIOR:
        notes.append(POSTERIOR_ENTROPY.format(law=settings["entropy_law"], t=settings["entropy_t"]))
    elif report.law.check is not LawCheck.CONFIRMED:
        notes.append(LAW_WARNINGS[report.law.check])
    if settings.get("pattern", "uniform") != "uniform":
        notes.append(PATTERNED.format(pattern=settings["pattern"]))
    if settings.get("sampler") == "entropy-bound":
        notes.append(WRITTEN_AGAIN)
    elif report.model.law == POSTERIOR and settings.get("sampler") in ("ancestral", "posterior-argmax"):
        notes.append(POSTERIOR_STEPS)
    return notes


def law_words(law: str, checked: LawCheckResult) -> str:
    """A family's law, and what the check says of it."""
    if law == POSTERIOR:
        return f"{law} law"
    said = "" if checked.check is LawCheck.CONFIRMED else f", contrast {checked.contrast:+.2f}"
    return f"{law} law ({checked.check}{said})"


def inspect_report(info: ModelInfo, law: LawCheckResult, dynamics: str, size_bytes: int | None) -> RenderableType:
    """What `uddm-audit inspect` says of a checkpoint. `dynamics` is the family's own, in words."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("checkpoint", for_terminal(info.name)),
        ("family", f"{info.family}, {info.backbone} backbone"),
        ("parameters", f"{info.parameters:,}" + ("" if size_bytes is None else f" ({words.size(size_bytes)} on disk)")),
        ("vocabulary", f"{info.vocab_size:,} tokens ({for_terminal(info.tokenizer)})"),
        ("length", f"{info.max_length} tokens, rows: {info.rows}"),
        ("noise", f"uniform, {info.schedule} schedule"),
        ("law", _law(info, law)),
        ("dynamics", dynamics),
        ("precision", info.precision),
        ("weights", f"{info.weights}, sha256 {info.weights_sha256}"),
        ("tokenizer", "none: --tokenizer" if info.tokenizer_sha256 is None else f"sha256 {info.tokenizer_sha256}"),
    ):
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    if law.check is LawCheck.CONFIRMED or info.law == POSTERIOR:
        return table
    return Group(table, Text(), Text(LAW_WARNINGS[law.check], style="yellow"))


def _law(info: ModelInfo, law: LawCheckResult) -> str:
    contrast = f"contrast {law.contrast:+.2f} over {law.probes} random rows"
    if info.law == POSTERIOR:
        return f"{info.law}: what stands there counts as evidence; {contrast}, where a leave-one-out law has 0"
    return f"{info.law}; law check {law.check}: {contrast}"


def regime_report(found: RegimeReport, given_entropy: float | None, legend: bool, bits: bool) -> RenderableType:
    """A model by its own samples; against the mean of the texts that were given, if any."""
    unit, entropy = words.unit(bits), found.entropy
    possible = words.nats(found.entropy_possible, bits)
    rows = [
        (
            "entropy of a token, given all others",
            f"{words.nats(entropy.value, bits)} {unit}",
            f"[{words.nats(entropy.low, bits)}, {words.nats(entropy.high, bits)}]",
            f"of {possible} possible",
        ),
        ("as share of the samples' unigram entropy", *words.decimal(found.unigram_share), ""),
        (
            f"tokens that vanish (< {words.nats(VANISHING_NATS, bits)} {unit})",
            *words.percent(found.vanishing_share),
            "",
        ),
        (f"distinct texts among {found.samples} samples", str(found.distinct), "", ""),
    ]
    if given_entropy is not None:
        gap = entropy.value - given_entropy
        rows.append(("entropy gap, samples minus given texts", f"{words.nats(gap, bits)} {unit}", "", ""))
    grid = Table.grid(padding=(0, 2))
    for name, *cells in rows:
        grid.add_row(f" {name}", *cells)
    scale = max(2.0, math.ceil(max(found.mean_entropies) * 2) / 2)
    convert = 1 / math.log(2) if bits else 1.0
    picture = histogram([h * convert for h in found.mean_entropies], scale * convert, unit)
    verdict = str(found.regime).upper() if found.regime else "NO REGIME"
    parts: list[RenderableType] = [grid, Text(), Text(picture), Text(f"        {found.samples} samples, mean per text")]
    parts += [Text(), Text.assemble(" ", (verdict, "bold")), Text(f" {found.reason}")]
    if legend:
        parts.append(Text(REGIME_LEGEND))
    return Group(*parts)
