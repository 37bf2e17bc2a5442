"""uddm-audit: does a uniform-state diffusion language model memorize its training text?

    model = audit_cli.load("examples/memorizing")
    results = audit_cli.basins(model, ["a text", "another"], heldout=["text", "of", "the", "same", "kind"])
    audit_cli.frame(results)

`load` gives a model, `entropy` and `basins` measure texts and give records as they come, `frame` makes a pandas
DataFrame of them. Importing this module loads the standard library only; the first use of a name loads what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audit_cli.api import (
        Tracker,
        attractors,
        basins,
        calibrate,
        check,
        entropy,
        evaluate,
        extract,
        generate,
        load,
        retrieve,
        trajectory,
    )
    from audit_cli.api.callback import TrackCallback
    from audit_cli.audits.corpus import CorpusError
    from audit_cli.audits.journal import JournalError
    from audit_cli.audits.track_texts import TrackError
    from audit_cli.candidates import CandidateError, open_texts
    from audit_cli.checkpoints import CheckpointError, LoadedModel, UnauditableModel
    from audit_cli.checkpoints.native import from_network
    from audit_cli.records import (
        AttractorGroup,
        AttractorMeasurement,
        AttractorReport,
        AttractorResult,
        Basin,
        BasinMeasurement,
        Candidate,
        EntropyMeasurement,
        Evaluation,
        ExtractionMeasurement,
        GateReport,
        GeneratedText,
        Judgement,
        LevelMeasurement,
        Nearest,
        Origin,
        RetrievedText,
        Skipped,
        Status,
        Storage,
        TextResult,
        TokenMeasurement,
        TrackReport,
        TrackRow,
        Trajectory,
        Verdict,
    )
    from audit_cli.reports.frame import frame
    from audit_cli.verdicts.baseline import Baseline, BaselineError
    from audit_cli.verdicts.calibration import Calibration, CalibrationError

__version__ = "0.1.0"
__all__ = [
    "AttractorGroup",
    "AttractorMeasurement",
    "AttractorReport",
    "AttractorResult",
    "Baseline",
    "BaselineError",
    "Basin",
    "BasinMeasurement",
    "Calibration",
    "CalibrationError",
    "Candidate",
    "CandidateError",
    "CheckpointError",
    "CorpusError",
    "EntropyMeasurement",
    "Evaluation",
    "ExtractionMeasurement",
    "GateReport",
    "GeneratedText",
    "JournalError",
    "Judgement",
    "LevelMeasurement",
    "LoadedModel",
    "Nearest",
    "Origin",
    "RetrievedText",
    "Skipped",
    "Status",
    "Storage",
    "TextResult",
    "TokenMeasurement",
    "TrackCallback",
    "TrackError",
    "TrackReport",
    "TrackRow",
    "Tracker",
    "Trajectory",
    "UnauditableModel",
    "Verdict",
    "__version__",
    "attractors",
    "basins",
    "calibrate",
    "check",
    "entropy",
    "evaluate",
    "extract",
    "frame",
    "from_network",
    "generate",
    "load",
    "open_texts",
    "retrieve",
    "trajectory",
]
# Where a name comes from, as the imports above say it; all others are records.
_PLACES = {
    "attractors": "audit_cli.api",
    "basins": "audit_cli.api",
    "calibrate": "audit_cli.api",
    "check": "audit_cli.api",
    "entropy": "audit_cli.api",
    "evaluate": "audit_cli.api",
    "extract": "audit_cli.api",
    "generate": "audit_cli.api",
    "load": "audit_cli.api",
    "retrieve": "audit_cli.api",
    "trajectory": "audit_cli.api",
    "Tracker": "audit_cli.api",
    "TrackCallback": "audit_cli.api.callback",
    "TrackError": "audit_cli.audits.track_texts",
    "from_network": "audit_cli.checkpoints.native",
    "frame": "audit_cli.reports.frame",
    "open_texts": "audit_cli.candidates",
    "Baseline": "audit_cli.verdicts.baseline",
    "BaselineError": "audit_cli.verdicts.baseline",
    "Calibration": "audit_cli.verdicts.calibration",
    "CalibrationError": "audit_cli.verdicts.calibration",
    "CandidateError": "audit_cli.candidates",
    "CheckpointError": "audit_cli.checkpoints",
    "CorpusError": "audit_cli.audits.corpus",
    "JournalError": "audit_cli.audits.journal",
    "LoadedModel": "audit_cli.checkpoints",
    "UnauditableModel": "audit_cli.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(import_module(_PLACES.get(name, "audit_cli.records")), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
