"""The gate for programs."""

from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime
from numbers import Integral
from pathlib import Path
from typing import Literal

import msgspec

from audit_cli.api.parts import (
    AnyCalibration,
    AnyTexts,
    AsWarnings,
    check_run,
    checked,
    comparison_of,
    read_again,
    redaction_of,
    require,
)
from audit_cli.audits import Journal
from audit_cli.audits.check import Check, CheckedSet, Rules, settings_of
from audit_cli.checkpoints import LoadedModel
from audit_cli.records import GateReport, Results, TextResult
from audit_cli.statistics.conformal import references_needed
from audit_cli.verdicts.baseline import Baseline, read
from audit_cli.verdicts.gate import FAILING
from audit_cli.verdicts.policy import Measure


def check(
    model: LoadedModel,
    texts: AnyTexts | Mapping[str, AnyTexts],
    heldout: AnyTexts | None = None,
    *,
    calibration: AnyCalibration | None = None,
    twins: int = 0,
    slot: str = "digits",
    reference_model: LoadedModel | None = None,
    fail_on: Literal["memorized", "familiar", "recoverable"] = "memorized",
    fdr: float = 0.01,
    min_references: int | None = None,
    max_skipped: int = 0,
    probe: Literal["basins", "entropy"] = "basins",
    recipe: str | None = None,
    restarts: int | None = None,
    steps: int | None = None,
    baseline: Baseline | str | Path | None = None,
    today: date | None = None,
    seed: int = 0,
    batch_size: int | None = None,
    key: bytes | None = None,
) -> GateReport:
    """May this model ship? All texts are judged together, and `exit_code` of the report is that of `uddm-audit check`.

    `texts` are those of `basins`, or several such by the name of their set, all compared with the same. The rest is as
    `uddm-audit check --help` says; `today` is the day on which accepted findings must not have expired. What was found
    of every text is in `report.sets[0].report.results`, a list. Without texts, and where a text was skipped, the code
    is 3, and no exception. Measures before it returns.

    Raises ValueError on settings that contradict each other or the model, BaselineError for a baseline of other
    settings or another key, and otherwise as `basins`.
    """
    check_run("default", fdr, seed, batch_size)
    require(fail_on in FAILING, f"fail_on is {', '.join(FAILING)}, not {fail_on!r}")
    require(probe in ("basins", "entropy"), f"probe is basins or entropy, not {probe!r}")
    require(probe == "basins" or fail_on != "memorized", "entropy names no text memorized: fail_on another verdict")
    whole = {"max_skipped": max_skipped, "min_references": min_references, "twins": twins}
    for name, value in (whole | {"restarts": restarts, "steps": steps}).items():
        # A NaN is less than nothing, and would let everything pass.
        fine = value is None or (isinstance(value, Integral) and not isinstance(value, bool))
        require(fine, f"{name} must be a whole number, not {value!r}")
    for name, value in whole.items():
        require(value is None or value >= 0, f"{name} must be at least 0, not {value}")
    require(today is None or type(today) is date, f"today is a date, not {today!r}")
    require(
        recipe is None or not (twins or reference_model), "twins and reference_model compare by a score of their own"
    )
    asked = {"recipe": recipe, "restarts": restarts, "steps": steps}
    for name, value in (("restarts", restarts), ("steps", steps)):
        require(value is None or value > 0, f"{name} must be at least 1, not {value}")
    measure = msgspec.structs.replace(Measure(probe=probe), **{k: v for k, v in asked.items() if v is not None})
    settings = settings_of(measure, seed, fdr, batch_size)
    comparison = comparison_of(model, heldout, twins, slot, reference_model, calibration)
    given = texts if isinstance(texts, Mapping) else {"candidates": texts}
    require(bool(given), "no set of texts")
    require(all(isinstance(name, str) and name for name in given), "a set's name is a string that is not empty")
    sets = [CheckedSet(name, read_again(checked(some)), comparison) for name, some in given.items()]
    accepted = baseline if isinstance(baseline, Baseline | None) else read(Path(baseline))
    rules = Rules(
        fail_on=fail_on,
        least_references=references_needed(1, 1, fdr) if min_references is None else min_references,
        most_skipped=max_skipped,
        baseline=accepted,
        baseline_name=str(baseline) if isinstance(baseline, str | Path) else "",
        policy={"fail-on": fail_on, "fdr": fdr, "max-skipped": max_skipped},
    )
    redaction = redaction_of(key)
    with closing(Journal(None, redaction.key)) as journal:
        gate = Check(model, sets, settings, rules, AsWarnings(), journal)
        if accepted is not None:
            name = rules.baseline_name or "the baseline"
            accepted.check(name, redaction.key_name(), gate.accepting(), gate.accepting_id())
        found = gate.report(redaction, today or datetime.now(UTC).date())
        return replace(found, sets=tuple(replace(one, report=replace(one.report, results=_kept(one.report.results)))
                                         for one in found.sets))  # fmt: skip


def _kept(results: Iterable[TextResult]) -> Results:
    """The results in memory: the journal that they are read from ends with the call."""
    return list(results)
