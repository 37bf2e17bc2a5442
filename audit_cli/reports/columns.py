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
        "margin_mean": float,
        "vanishing_share": float,
        "vanishing_below_nats": float,
        "longest_sure_run": int,
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

# Logarithms whose names carry no unit.
_UNNAMED_LOGARITHMS = frozenset({"entropy_sd_draws", "margin_mean", "margin"})


def columns(table: str, bits: bool) -> Columns:
    """The columns of a table, with the names that they have in nats or in bits."""
    return {_in_bits(name): kind for name, kind in COLUMNS[table].items()} if bits else COLUMNS[table]


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
