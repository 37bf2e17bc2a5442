"""The joins: candidates, held-out text, probes and verdicts into a report. Prints nothing."""

from audit_cli.audits.attractors import AttractorSettings, measure_attractors
from audit_cli.audits.basins import BasinSettings, audit_basins, basins_audit, report_basins
from audit_cli.audits.comparison import Comparison
from audit_cli.audits.corpus import CorpusError
from audit_cli.audits.entropy import EntropySettings, audit_entropy, entropy_audit, report_entropy
from audit_cli.audits.extraction import ExtractionSettings, extraction_audit, report_extraction
from audit_cli.audits.generation import GenerationSettings, generation, generation_plan
from audit_cli.audits.inspect import inspect_model
from audit_cli.audits.journal import Journal, JournalError
from audit_cli.audits.retrieval import RetrievalSettings, retrieval, retrieval_plan
from audit_cli.audits.twins import Slot
from audit_cli.audits.watch import Watch

__all__ = [
    "AttractorSettings",
    "BasinSettings",
    "Comparison",
    "CorpusError",
    "EntropySettings",
    "ExtractionSettings",
    "GenerationSettings",
    "Journal",
    "JournalError",
    "RetrievalSettings",
    "Slot",
    "Watch",
    "audit_basins",
    "audit_entropy",
    "basins_audit",
    "entropy_audit",
    "extraction_audit",
    "generation",
    "generation_plan",
    "inspect_model",
    "measure_attractors",
    "report_basins",
    "report_entropy",
    "report_extraction",
    "retrieval",
    "retrieval_plan",
]
