"""Other people's fused kernels for a linear head and cross-entropy, where they are installed.

Each takes hidden (rows, width), weight (vocab, width) and target (rows,), and is imported when first called.
"""

import importlib.util
from collections.abc import Callable

from torch import Tensor

# No target is left out.
IGNORE = -100

Way = Callable[[Tensor, Tensor, Tensor], object]


def _liger_with_entropy(hidden: Tensor, weight: Tensor, target: Tensor) -> object:
    from liger_kernel.ops import LigerFusedLinearScaledCrossEntropyFunction as function

    temperature, tiles_a_cluster, entropy = 1.0, 1, True
    return function.apply(hidden, weight, target, temperature, IGNORE, tiles_a_cluster, entropy)


def _liger(hidden: Tensor, weight: Tensor, target: Tensor) -> object:
    from liger_kernel.transformers.functional import liger_fused_linear_cross_entropy

    return liger_fused_linear_cross_entropy(hidden, weight, target, ignore_index=IGNORE, reduction="none")


def _cut(hidden: Tensor, weight: Tensor, target: Tensor) -> object:
    from cut_cross_entropy import linear_cross_entropy

    return linear_cross_entropy(hidden, weight, target, ignore_index=IGNORE, reduction="none")


# By the name of the row: the package's import name, its name in the registry, and the call.
PACKAGED: dict[str, tuple[str, str, Way]] = {
    "Liger, entropy and target": ("liger_kernel", "liger-kernel", _liger_with_entropy),
    "Liger, target only": ("liger_kernel", "liger-kernel", _liger),
    "CCE, target only": ("cut_cross_entropy", "cut-cross-entropy", _cut),
}


def installed(device: str) -> dict[str, Way]:
    """The ways that can be tried on a device; all of them are for GPUs."""
    if device == "cpu":
        return {}
    return {name: way for name, (module, _, way) in PACKAGED.items() if importlib.util.find_spec(module)}


def left_out(device: str) -> str:
    """A sentence on the packages that cannot be tried; empty if there are none."""
    ways = installed(device)
    missing = ", ".join(dict.fromkeys(package for name, (_, package, _) in PACKAGED.items() if name not in ways))
    why = "for GPUs only" if device == "cpu" else "not installed"
    return f"Not measured: {missing} ({why})." if missing else ""
