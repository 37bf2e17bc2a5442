"""Records as rows of cells, one row a text (or a level, or a token), made as they are read.

What was not measured, or may not be shown, is None: an empty string of a record becomes None too, unless it is a
string from outside (a text, an id, the name of a source), which stays what it is.
"""

import math
from collections.abc import Iterator
from functools import lru_cache

from audit_cli.records import VANISHING_NATS, AuditReport, LevelMeasurement, Status, TextResult, TokenMeasurement
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.columns import SCHEMA, Cells
from audit_cli.statistics.intervals import cluster_mean, wilson
from audit_cli.statistics.recoverability import tries_needed
from audit_cli.verdicts.returns import LOOK_CONFIDENCE

# Counts of a few restarts repeat from row to row, and a quantile takes as long as the rest of a row.
_wilson = lru_cache(maxsize=4096)(wilson)
_tries = lru_cache(maxsize=4096)(tries_needed)


# By the end of their columns' names.
PROBABILITIES = {"half": 0.5, "90pct": 0.9}


def main_rows(report: AuditReport, redaction: Redaction) -> Iterator[Cells]:
    """The first table of a report, which has the name of its command; entropies in nats."""
    for result in report.results:
        yield result_cells(report.run.command, report.run.settings_id, result, redaction)


def result_cells(command: str, settings_id: str | None, result: TextResult, redaction: Redaction) -> Cells:
    """A row of the first table of a command; entropies in nats."""
    own = _OWN_CELLS[command](result, redaction)
    return _first_cells(settings_id, result) | own | {"text": shown_text(redaction, result.candidate.text)}


def level_rows(report: AuditReport, redaction: Redaction) -> Iterator[Cells]:
    """The second table of `basins`: a row a text and level."""
    for result in report.results:
        if result.basin_measurement is None or result.status is Status.DUPLICATE:
            continue
        for measured in result.basin_measurement.curve:
            if measured.restarts:
                yield _joining_cells(report, result) | _level_cells(measured)


def token_rows(report: AuditReport, redaction: Redaction) -> Iterator[Cells]:
    """The second table of `entropy`: a row a token; entropies in nats. Tokens are spelled where all text is shown."""
    spelled = redaction.show is ShowText.FULL
    for result in report.results:
        if result.entropy is None or result.status is Status.DUPLICATE:
            continue
        for token in result.entropy.per_token or ():
            yield _joining_cells(report, result) | _token_cells(token, result.entropy.t, spelled)


def finite(cells: Cells) -> Cells:
    """Cells without infinities and NaN, which are no measurements and which JSON does not know: None instead."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in cells.items()
    }


def shown_text(redaction: Redaction, text: str | None) -> str | None:
    """What may be shown of a text; None where nothing may be, which an empty text is not."""
    if text is None or redaction.show in (ShowText.NONE, ShowText.FINGERPRINT):
        return None
    return redaction.text(text)


def _joining_cells(report: AuditReport, result: TextResult) -> Cells:
    """What a row of a second table shares with its text's row in the first."""
    return {
        "settings_id": report.run.settings_id,
        "fingerprint": result.fingerprint or None,
        "id": result.candidate.id,
    }


def _first_cells(settings_id: str | None, result: TextResult) -> Cells:
    judgement = result.judgement
    return {
        "schema": SCHEMA,
        "settings_id": settings_id,
        "source": result.candidate.source,
        "line": result.candidate.line,
        "id": result.candidate.id,
        "fingerprint": result.fingerprint or None,
        "duplicate_of": result.duplicate_of or None,
        "windows": result.windows,
        "window_offset": result.window_offset,
        "tokens": result.tokens,
        "status": str(result.status),
        "skip_reason": result.skip_reason or None,
        "verdict": str(judgement.verdict) if judgement and judgement.verdict else None,
        "verdict_reason": (judgement.reason or None) if judgement else None,
        "recipe": judgement.recipe if judgement else None,
        "score": judgement.score if judgement else None,
        "p_value": judgement.p_value if judgement else None,
        "p_value_upper95": judgement.p_value_upper95 if judgement else None,
        "q_value": judgement.q_value if judgement else None,
        "references": judgement.references if judgement else None,
        "comparability": str(judgement.comparability) if judgement and judgement.comparability else None,
    }


def _basins_cells(result: TextResult, _: Redaction) -> Cells:
    measured, size = result.basin_measurement, result.basin
    deciding = measured.deciding if measured else None
    ran = deciding if deciding and deciding.restarts else None
    share = _wilson(ran.returned, ran.restarts, LOOK_CONFIDENCE) if ran else None
    exact = _wilson(ran.exact, ran.restarts, LOOK_CONFIDENCE) if ran else None
    alike = ran.edit_similarities if ran else ()
    return {
        "returns_at_level": deciding.level if deciding else None,
        "returned_share": share.value if share else None,
        "returned_low": share.low if share else None,
        "returned_high": share.high if share else None,
        "basin": size.size if size else None,
        "basin_low": size.low if size else None,
        "basin_high": size.high if size else None,
        "basin_censored": (size.censored or None) if size else None,
        "curve_area": size.curve_area if size else None,
        "surprise_nats": result.entropy.surprise_mean if result.entropy else None,
        "longest_recovered_run": measured.longest_recovered_run if measured else None,
        "edit_similarity_mean": sum(alike) / len(alike) if alike else None,
        "edit_similarity_best": max(alike, default=None),
        "exact_share": exact.value if exact else None,
        "exact_low": exact.low if exact else None,
        "exact_high": exact.high if exact else None,
        **(_restarts_for(ran.exact, ran.restarts, LOOK_CONFIDENCE) if ran else _no_restarts_for()),
        "nfe": measured.evaluations if measured else None,
    }


def _restarts_for(exact: int, restarts: int, confidence: float = 0.95) -> Cells:
    """How many restarts an exact return takes; None where there is no end to them."""
    cells: Cells = {}
    for name, probability in PROBABILITIES.items():
        needed = _tries(exact, restarts, probability, confidence)
        for end, value in (("", needed.value), ("_low", needed.low), ("_high", needed.high)):
            cells[f"restarts_for_{name}{end}"] = int(value) if math.isfinite(value) else None
    return cells


def exposure_bits(result: TextResult) -> float | None:
    """log2 (twins + 1) minus log2 of the text's rank among them by surprise (Carlini et al. 2019), which is -log2 p."""
    p = None if result.judgement is None else result.judgement.p_value
    return None if p is None else -math.log2(p)


def _no_restarts_for() -> Cells:
    return {f"restarts_for_{name}{end}": None for name in PROBABILITIES for end in ("", "_low", "_high")}


def _extraction_cells(result: TextResult, redaction: Redaction) -> Cells:
    m = result.extraction
    share = _wilson(m.exact, m.restarts) if m else None
    return {
        "slot_tokens": m.slot_tokens if m else None,
        "t": m.t if m else None,
        "restarts": m.restarts if m else None,
        "exact": m.exact if m else None,
        "exact_share": share.value if share else None,
        "exact_low": share.low if share else None,
        "exact_high": share.high if share else None,
        **(_restarts_for(m.exact, m.restarts) if m else _no_restarts_for()),
        "recovered_share": m.recovered_share if m else None,
        "fillings": m.fillings if m else None,
        "most_frequent": m.most_frequent if m else None,
        "secret_rank": m.rank if m else None,
        "exposure_bits": exposure_bits(result),
        "surprise_nats": m.entropy.surprise_mean if m else None,
        "nfe": m.evaluations if m else None,
        "recovered_text": shown_text(redaction, result.recovered_text),
    }


def _entropy_cells(result: TextResult, _: Redaction) -> Cells:
    m = result.entropy
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
        "surprise_rms_nats": m.surprise_rms if m else None,
        "margin_mean": m.margin_mean if m else None,
        "vanishing_share": m.vanishing_share if m else None,
        "vanishing_below_nats": VANISHING_NATS if m else None,
        "longest_sure_run": m.longest_sure_run if m else None,
    }


_OWN_CELLS = {"basins": _basins_cells, "entropy": _entropy_cells, "extract": _extraction_cells}


def _level_cells(m: LevelMeasurement) -> Cells:
    returned, exact = _wilson(m.returned, m.restarts), _wilson(m.exact, m.restarts)
    recovery, unstable = cluster_mean(m.recovery_rates), cluster_mean(m.unstable_rates)
    return {
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
        **_restarts_for(m.exact, m.restarts),
        "recovery_rate": recovery.value,
        "recovery_low": recovery.low,
        "recovery_high": recovery.high,
        "unstable_rate": unstable.value,
        "unstable_low": unstable.low,
        "unstable_high": unstable.high,
        "argmax_recovery_rate": m.argmax_recovery_rate,
        "interval_method": "wilson; rates: t over restarts",
    }


def _token_cells(m: TokenMeasurement, t: float, spelled: bool) -> Cells:
    return {
        "position": m.position,
        "t": t,
        "entropy_nats": m.entropy,
        "surprise_nats": m.surprise,
        "rank": m.rank,
        "margin": m.margin,
        "top_probability": m.top_probability,
        "token": (m.token or None) if spelled else None,
        "top_token": (m.top_token or None) if spelled else None,
    }
