"""The columns of every table, in order, each with the type of its cells. None is "not measured", never zero."""

import math
from collections.abc import Mapping
from typing import Any

SCHEMA = "uddm-audit/1"

Cells = dict[str, Any]
Columns = Mapping[str, type]

_FIRST: Columns = {
    "schema": str,
    "settings_id": str,
    "source": str,
    "line": int,
    "id": str,
    "fingerprint": str,
    "duplicate_of": str,
    "windows": int,
    "window_offset": int,
    "tokens": int,
    "status": str,
    "skip_reason": str,
    "verdict": str,
    "verdict_reason": str,
    "recipe": str,
    "score": float,
    "p_value": float,
    "p_value_upper95": float,
    "q_value": float,
    "references": int,
    "comparability": str,
}

# So many restarts bring the exact text back at least once, with a probability of a half and of .9.
_RESTARTS_FOR: Columns = {
    f"restarts_for_{name}{end}": int for name in ("half", "90pct") for end in ("", "_low", "_high")
}

COLUMNS: Mapping[str, Columns] = {
    "basins": {
        **_FIRST,
        "returns_at_level": float,
        "returned_share": float,
        "returned_low": float,
        "returned_high": float,
        "basin": float,
        "basin_low": float,
        "basin_high": float,
        "basin_censored": str,
        "curve_area": float,
        "surprise_nats": float,
        "longest_recovered_run": int,
        "edit_similarity_mean": float,
        "edit_similarity_best": float,
        "exact_share": float,
        "exact_low": float,
        "exact_high": float,
        **_RESTARTS_FOR,
        "nfe": int,
        "text": str,
    },
    "entropy": {
        **_FIRST,
        "origin": str,
        "context": str,
        "law": str,
        "t": float,
        "draws": int,
        "entropy_nats": float,
        "entropy_sd_draws": float,
        "entropy_max_nats": float,
        "surprise_nats": float,
        "surprise_max_nats": float,
        "surprise_rms_nats": float,
        "margin_mean": float,
        "vanishing_share": float,
        "vanishing_below_nats": float,
        "longest_sure_run": int,
        "text": str,
    },
    "extract": {
        **_FIRST,
        "slot_tokens": int,
        "t": float,
        "restarts": int,
        "exact": int,
        "exact_share": float,
        "exact_low": float,
        "exact_high": float,
        **_RESTARTS_FOR,
        "recovered_share": float,
        "fillings": int,
        "most_frequent": int,
        "secret_rank": int,
        "exposure_bits": float,
        "surprise_nats": float,
        "nfe": int,
        "recovered_text": str,
        "text": str,
    },
    # All sets of a gate: whatever was measured of them, the columns are the same.
    "check": {
        "schema": str,
        "settings_id": str,
        "set": str,
        **_FIRST,
        "failing": bool,
        "known": bool,
        "known_reason": str,
        "known_author": str,
        "known_expires": str,
        "expired": bool,
        "returns_at_level": float,
        "returned_share": float,
        "returned_low": float,
        "returned_high": float,
        "basin": float,
        "basin_low": float,
        "basin_high": float,
        "basin_censored": str,
        "curve_area": float,
        "entropy_nats": float,
        "surprise_nats": float,
        "longest_recovered_run": int,
        "nfe": int,
        "text": str,
    },
    "per-level": {
        "settings_id": str,
        "fingerprint": str,
        # Under --show-text none there is no fingerprint, and the id is what joins the tables.
        "id": str,
        "level": float,
        "t": float,
        "restarts": int,
        "corrupted_tokens": int,
        "returned": float,
        "returned_low": float,
        "returned_high": float,
        "exact": float,
        "exact_low": float,
        "exact_high": float,
        **_RESTARTS_FOR,
        "recovery_rate": float,
        "recovery_low": float,
        "recovery_high": float,
        "unstable_rate": float,
        "unstable_low": float,
        "unstable_high": float,
        "argmax_recovery_rate": float,
        "interval_method": str,
    },
    "per-token": {
        "settings_id": str,
        "fingerprint": str,
        "id": str,
        "position": int,
        "t": float,
        "entropy_nats": float,
        "surprise_nats": float,
        "rank": int,
        "margin": float,
        "top_probability": float,
        "token": str,
        "top_token": str,
    },
}

# At these false positive rates, by the end of the columns' names.
_TPR: Columns = {
    f"tpr_at_{rate}{end}": kind
    for rate in ("10pct", "1pct", "0p1pct")
    for end, kind in (("", float), ("_low", float), ("_high", float), ("_too_few", bool))
}

EVALUATION_COLUMNS: Mapping[str, Columns] = {
    "evaluate": {
        "schema": str,
        "settings_id": str,
        "score": str,
        "members": int,
        "heldout": int,
        "auc": float,
        "auc_low": float,
        "auc_high": float,
        **_TPR,
    },
    "per-text": {
        "settings_id": str,
        "source": str,
        "line": int,
        "id": str,
        "fingerprint": str,
        "member": bool,
        "tokens": int,
        "score": str,
        "value": float,
        "text": str,
    },
}

_SHARE: Columns = {"share": float, "share_low": float, "share_high": float}
_LOOK: Columns = {"entropy_nats": float, "surprise_nats": float, "nearest": str, "similarity": float}

RANKED_COLUMNS: Mapping[str, Columns] = {
    "generate": {
        "schema": str,
        "settings_id": str,
        "rank": int,
        "fingerprint": str,
        "tokens": int,
        "count": int,
        "samples": int,
        **_SHARE,
        **_LOOK,
        "origin": str,
        "text": str,
    },
    "retrieve": {
        "schema": str,
        "settings_id": str,
        "source": str,
        "line": int,
        "cue": str,
        "cue_fingerprint": str,
        "status": str,
        "skip_reason": str,
        "tokens": int,
        "unknown": int,
        "level": float,
        "rank": int,
        "fingerprint": str,
        "count": int,
        "restarts": int,
        **_SHARE,
        "fixed_point": bool,
        **_LOOK,
        "storage": str,
        "text": str,
    },
    "attractors": {
        "schema": str,
        "settings_id": str,
        "source": str,
        "line": int,
        "id": str,
        "fingerprint": str,
        "duplicate_of": str,
        "windows": int,
        "window_offset": int,
        "tokens": int,
        "status": str,
        "skip_reason": str,
        # Of the window that is shown, where a text has several.
        "window_tokens": int,
        "fixed_point": bool,
        "energy_nats": float,
        "energy_mean_nats": float,
        "smallest_margin_nats": float,
        "smallest_margin_position": int,
        "rival": str,
        "restarts": int,
        "flips_survived": int,
        "flips_survived_share": float,
        "returned": int,
        "returned_share": float,
        "returned_low": float,
        "returned_high": float,
        "returned_one_more": int,
        "changed_tokens": int,
        "falls_to_tokens": int,
        "falls_to_period": int,
        "nfe": int,
        "text": str,
    },
}

TRACK_COLUMNS: Mapping[str, Columns] = {
    "track": {
        "schema": str,
        "settings_id": str,
        "checkpoint": str,
        "status": str,
        "skip_reason": str,
        "weights_sha256": str,
        "look": int,
        "texts": int,
        "heldout": int,
        "entropy_nats": float,
        "entropy_low_nats": float,
        "entropy_high_nats": float,
        "entropy_text_nats": float,
        "entropy_heldout_nats": float,
        "surprise_text_nats": float,
        "surprise_heldout_nats": float,
        "gap_nats": float,
        "gap_low_nats": float,
        "gap_high_nats": float,
        "recovery_text": float,
        "recovery_heldout": float,
        "recovery_gap": float,
        "recovery_gap_low": float,
        "recovery_gap_high": float,
        "p_value": float,
        "p_allowed": float,
        "significant": bool,
        "untested_reason": str,
        "nfe": int,
    },
}

# Logarithms whose names carry no unit.
_UNNAMED_LOGARITHMS = frozenset({"entropy_sd_draws", "margin_mean", "margin"})


def columns(table: str, bits: bool) -> Columns:
    """The columns of a table, with the names that they have in nats or in bits."""
    known = COLUMNS.get(table) or RANKED_COLUMNS.get(table) or TRACK_COLUMNS[table]
    return {_in_bits(name): kind for name, kind in known.items()} if bits else known


def cells_in_bits(cells: Cells) -> Cells:
    """Cells in nats, converted and renamed: columns named `_nats`, and the other logarithms beside them."""
    return {
        _in_bits(name): value / math.log(2) if value is not None and _is_logarithm(name) else value
        for name, value in cells.items()
    }


def _is_logarithm(name: str) -> bool:
    return name.endswith("_nats") or name in _UNNAMED_LOGARITHMS


def _in_bits(name: str) -> str:
    return name.removesuffix("_nats") + "_bits" if name.endswith("_nats") else name
