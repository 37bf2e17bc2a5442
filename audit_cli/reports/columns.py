"""One row a text, the same columns in every format. None is "not measured", never zero."""

import json
import math
from collections.abc import Iterator
from typing import Any

from audit_cli.records import AuditReport, EntropyMeasurement, Status, TextResult
from audit_cli.redaction import Redaction
from audit_cli.statistics.intervals import cluster_mean, wilson
from audit_cli.verdicts.returns import LOOK_CONFIDENCE

SCHEMA = "uddm-audit/1"
Cells = dict[str, Any]


def main_rows(report: AuditReport, redaction: Redaction, bits: bool = False) -> Iterator[Cells]:
    """The table of a report: `basins` or `entropy`, as its command says."""
    rows = map(_basins_row if report.run.command == "basins" else _entropy_row, report.results)
    for result, own in zip(report.results, rows, strict=True):
        cells = _first_columns(report, result) | own | {"text": redaction.text(result.candidate.text)}
        yield in_bits(cells) if bits else cells


def _first_columns(report: AuditReport, result: TextResult) -> Cells:
    judgement = result.judgement
    return {
        "schema": SCHEMA,
        "settings_id": report.run.settings_id,
        "source": result.candidate.source,
        "line": result.candidate.line,
        "id": result.candidate.id,
        "fingerprint": result.fingerprint,
        "duplicate_of": result.duplicate_of,
        "windows": None if result.tokens is None else 1,
        "window_offset": None if result.tokens is None else 0,
        "tokens": result.tokens,
        "status": str(result.status),
        "skip_reason": result.skip_reason,
        "verdict": str(judgement.verdict) if judgement and judgement.verdict else None,
        "verdict_reason": judgement.reason if judgement else "",
        "recipe": judgement.recipe if judgement else None,
        "score": judgement.score if judgement else None,
        "p_value": judgement.p_value if judgement else None,
        "p_value_upper95": judgement.p_value_upper95 if judgement else None,
        "q_value": judgement.q_value if judgement else None,
        "references": judgement.references if judgement else None,
        "comparability": judgement.comparability if judgement else None,
    }


def _basins_row(result: TextResult) -> Cells:
    measured, size = result.basin_measurement, result.basin
    deciding = measured.deciding if measured else None
    share = wilson(deciding.returned, deciding.restarts, LOOK_CONFIDENCE) if deciding and deciding.restarts else None
    return {
        "returns_at_level": deciding.level if deciding else None,
        "returned_share": share.value if share else None,
        "returned_low": share.low if share else None,
        "returned_high": share.high if share else None,
        "basin": size.size if size else None,
        "basin_low": size.low if size else None,
        "basin_high": size.high if size else None,
        "basin_censored": size.censored if size else None,
        "curve_area": size.curve_area if size else None,
        "surprise_nats": result.entropy.surprise_mean if result.entropy else None,
        "longest_recovered_run": measured.longest_recovered_run if measured else None,
        "nfe": measured.evaluations if measured else None,
    }


def _entropy_row(result: TextResult) -> Cells:
    m: EntropyMeasurement | None = result.entropy
    return {
        "origin": result.origin,
        "context": m.context if m else None,
        "law": m.law if m else None,
        "t": m.t if m else None,
        "draws": m.draws if m else None,
        "entropy_nats": m.entropy_mean if m else None,
        "entropy_sd_draws": m.entropy_sd_draws if m else None,
        "entropy_max_nats": m.entropy_max if m else None,
        "surprise_nats": m.surprise_mean if m else None,
        "surprise_max_nats": m.surprise_max if m else None,
        "margin_mean": m.margin_mean if m else None,
        "vanishing_share": m.vanishing_share if m else None,
        "vanishing_below_nats": 0.05 if m else None,
        "longest_sure_run": m.longest_sure_run if m else None,
    }


def level_rows(report: AuditReport, redaction: Redaction, bits: bool = False) -> Iterator[Cells]:
    """The second table of `basins`: a row a text and level."""
    for result in report.results:
        if result.basin_measurement is None or result.status is Status.DUPLICATE:
            continue
        for m in result.basin_measurement.curve:
            if not m.restarts:
                continue
            returned, exact = wilson(m.returned, m.restarts), wilson(m.exact, m.restarts)
            recovery, unstable = cluster_mean(m.recovery_rates), cluster_mean(m.unstable_rates)
            yield {
                "settings_id": report.run.settings_id,
                "fingerprint": result.fingerprint,
                "id": result.candidate.id,
                "level": m.level,
                "t": m.t,
                "restarts": m.restarts,
                "corrupted_tokens": m.corrupted_tokens,
                "returned": returned.value,
                "returned_low": returned.low,
                "returned_high": returned.high,
                "exact": exact.value,
                "exact_low": exact.low,
                "exact_high": exact.high,
                "recovery_rate": recovery.value,
                "recovery_low": recovery.low,
                "recovery_high": recovery.high,
                "unstable_rate": unstable.value,
                "unstable_low": unstable.low,
                "unstable_high": unstable.high,
                "argmax_recovery_rate": m.argmax_recovery_rate,
                "interval_method": "wilson; rates: t over restarts",
            }


def token_rows(report: AuditReport, redaction: Redaction, bits: bool = False) -> Iterator[Cells]:
    """The second table of `entropy`: a row a token."""
    for result in report.results:
        if result.entropy is None or result.status is Status.DUPLICATE:
            continue
        for t in result.entropy.per_token or ():
            cells = {
                "settings_id": report.run.settings_id,
                "fingerprint": result.fingerprint,
                "id": result.candidate.id,
                "position": t.position,
                "t": result.entropy.t,
                "entropy_nats": t.entropy,
                "surprise_nats": t.surprise,
                "rank": t.rank,
                "margin": t.margin,
                "top_probability": t.top_probability,
                "token": t.token,
                "top_token": t.top_token,
            }
            yield in_bits(cells) if bits else cells


def in_bits(cells: Cells) -> Cells:
    """Columns named `_nats`, and the logarithmic ones beside them, in bits."""
    out: Cells = {}
    for name, value in cells.items():
        logarithmic = name.endswith("_nats") or name in ("entropy_sd_draws", "margin_mean", "margin")
        converted = value / math.log(2) if logarithmic and value is not None else value
        out[name.removesuffix("_nats") + "_bits" if name.endswith("_nats") else name] = converted
    return out


def metadata(report: AuditReport) -> str:
    """What `OUT.meta.json` holds: everything that decides the numbers, as JSON."""
    run, model = report.run, report.model
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": {field: getattr(model, field) for field in model.__dataclass_fields__},
        "law_check": {"contrast": report.law.contrast, "result": str(report.law.check), "probes": report.law.probes},
        "device": run.device,
        "precision": run.precision,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "heldout": None
        if report.heldout is None
        else {
            field: getattr(report.heldout, field)
            for field in (
                "given",
                "measured",
                "skipped",
                "duplicates",
                "near_duplicates",
                "too_short",
                "used",
                "references",
            )
        },
        "warnings": list(report.warnings),
        "regime": None if report.regime is None else str(report.regime.regime or "none"),
    }
    return json.dumps(facts, indent=2, ensure_ascii=True) + "\n"
