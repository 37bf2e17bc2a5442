"""The joins: candidates, held-out text, probes and verdicts into a report. Prints nothing."""

from audit_cli.audits.basins import BasinSettings, audit_basins
from audit_cli.audits.entropy import EntropySettings, audit_entropy
from audit_cli.audits.inspect import inspect_model
from audit_cli.audits.watch import Watch

__all__ = ["BasinSettings", "EntropySettings", "Watch", "audit_basins", "audit_entropy", "inspect_model"]
