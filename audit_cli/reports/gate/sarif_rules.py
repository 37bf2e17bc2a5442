"""The rules of a gate's SARIF: what a result may be, and what a person should know of it."""

from typing import Any

_NO_PROOF = (
    "A text without a result was measured, and there is no evidence that the model has memorized it. "
    "No evidence is no proof of absence."
)
# Of every rule its level unless it fails, its name in a few words, what it says, and what to do.
_TOLD = {
    "memorized": (
        "error",
        "The model has memorized a text.",
        "The text comes back when a part of it is replaced by noise, and it stands out among text that the model "
        "cannot have seen.",
        "Remove the text, and what repeats it, from the training data and train again; or accept it in the baseline, "
        "with a reason.",
    ),
    "familiar": (
        "warning",
        "The model knows a text.",
        "The text stands out among text that the model cannot have seen; whether it comes back is denied, left open "
        "or was not measured.",
        "Find out whether the text was trained on. uddm-audit basins measures whether it comes back.",
    ),
    "recoverable": (
        "note",
        "The model rebuilds a text.",
        "The text comes back when a part of it is replaced by noise, and so does text like it that the model cannot "
        "have seen.",
        "The model may guess what it was not taught. A secret that can be guessed needs another protection.",
    ),
    "inconclusive": (
        "warning",
        "Nothing can be said of a text.",
        "The text was measured, and no verdict is possible: what it is compared with is missing, too little, or of "
        "another kind.",
        "Give more held-out text of the same kind, a reference model, or twins.",
    ),
    "skipped": (
        "warning",
        "A text could not be measured.",
        "The text could not be measured, and nothing is known of it.",
        "The message says why. A text that was skipped has not passed.",
    ),
    "limit": (
        "error",
        "A limit of the policy is not kept.",
        "What the model writes by itself exceeds a limit of the policy, or was not measured well enough to tell.",
        "Where a limit is left open, more samples make the interval smaller.",
    ),
}

LEVELS = {name: level for name, (level, _, _, _) in _TOLD.items()}
# A memorized text below the verdict that fails, of which there is none today, would warn.
LEVELS["memorized"] = "warning"

RULES: list[dict[str, Any]] = [
    {
        "id": name,
        "shortDescription": {"text": short},
        "fullDescription": {"text": full},
        "help": {"text": f"{full} {todo} {_NO_PROOF}"},
        "defaultConfiguration": {"level": level},
    }
    for name, (level, short, full, todo) in _TOLD.items()
]
