"""What is said of a model: what it is, and whether it memorizes."""

import math

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.records import LawCheck, LawCheckResult, ModelInfo, RegimeReport
from audit_cli.reports import words
from audit_cli.reports.bars import histogram
from audit_cli.reports.legend import REGIME_LEGEND
from audit_cli.safetext import for_terminal

LAW_WARNINGS = {
    LawCheck.LEAKS: "The network partly copies its input: read entropies with care.",
    LawCheck.CONTRADICTED: "The network copies its input: its entropy says nothing of memorization, "
    "and no verdict rests on it.",
}


def inspect_report(info: ModelInfo, law: LawCheckResult, size_bytes: int | None) -> RenderableType:
    """What `uddm-audit inspect` says of a checkpoint."""
    table = Table.grid(padding=(0, 2))
    for name, value in (
        ("checkpoint", for_terminal(info.name)),
        ("family", f"{info.family}, {info.backbone} backbone"),
        ("parameters", f"{info.parameters:,}" + ("" if size_bytes is None else f" ({words.size(size_bytes)} on disk)")),
        ("vocabulary", f"{info.vocab_size:,} tokens ({for_terminal(info.tokenizer)})"),
        ("length", f"{info.max_length} tokens, rows: {info.rows}"),
        ("noise", f"uniform, {info.schedule} schedule"),
        ("law", f"{info.law}; law check {law.check}: contrast {law.contrast:+.2f} over {law.probes} probes"),
        ("weights", f"{info.weights}, sha256 {info.weights_sha256}"),
        ("tokenizer", "none: --tokenizer" if info.tokenizer_sha256 is None else f"sha256 {info.tokenizer_sha256}"),
    ):
        table.add_row(Text(name, style="bold"), Text(value, overflow="fold"))
    if law.check is LawCheck.CONFIRMED:
        return table
    return Group(table, Text(), Text(LAW_WARNINGS[law.check], style="yellow"))


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
        (f"tokens that vanish (< {words.nats(0.05, bits)} {unit})", *words.percent(found.vanishing_share), ""),
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
    verdict = str(found.regime).upper() + " (provisional)" if found.regime else "NO REGIME"
    parts: list[RenderableType] = [grid, Text(), Text(picture), Text(f"        {found.samples} samples, mean per text")]
    parts += [Text(), Text.assemble(" ", (verdict, "bold")), Text(f" {found.reason}")]
    if legend:
        parts.append(Text(REGIME_LEGEND))
    return Group(*parts)
