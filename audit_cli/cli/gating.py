"""What `check` does, loaded only when it runs: policy and command line into one, measure, judge, write, exit."""

import os
import re
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import typer

from audit_cli.audits import Comparison, Journal, Slot
from audit_cli.audits.check import Check, CheckedSet, Rules, settings_of
from audit_cli.audits.provenance import identity
from audit_cli.audits.watch import TimeLimited, Watch
from audit_cli.candidates import open_texts
from audit_cli.checkpoints import LoadedModel
from audit_cli.cli import inputs, running, session
from audit_cli.cli.check import seconds_of
from audit_cli.cli.running import ASKED, Request
from audit_cli.records import GateReport
from audit_cli.redaction import Redaction
from audit_cli.reports.files import Output, check_outputs, parse_output, write_gate
from audit_cli.reports.gate.formats import GATE_FORMATS
from audit_cli.reports.gate.terminal import gate_report
from audit_cli.verdicts import baseline as baselines
from audit_cli.verdicts import policy as policies
from audit_cli.verdicts.policy import Policy, ReadSet

# What a set is called that the command line gives.
CANDIDATES = "candidates"


def check(path: Path | None, asked: Mapping[str, Any]) -> None:
    """Run the gate as the command line asks, under the policy at `path` if there is one."""
    begun = time.monotonic()
    policy = _in_force(path, asked)
    if asked["show_policy"]:
        typer.echo(policy.toml(), nl=False)
        raise typer.Exit
    if not policy.sets:
        session.fail(f"{path}: no sets of candidates: add a [sets.NAME] with candidates and heldout", session.USAGE)
    settings = _settings(policy, asked)
    outputs = _outputs(policy, asked)
    inputs.checkpoint(asked["model"])
    accepted = None if policy.baseline is None else baselines.read(policy.baseline)
    texts = {one.name: open_texts(one.files, one.input_format, one.text_column) for one in policy.sets}
    held = {one.name: open_texts(one.heldout, one.input_format, one.text_column) for one in policy.sets if one.heldout}
    others = {name: asked[name] for name in ASKED if name in asked and name != "reference_model"}
    request = Request(texts=None, outputs=outputs, reference_model=policy.reference_model, **others)
    model = running.model_of(request, asked["model"], asked["weights"])
    reference = running.reference_of(request, model)
    sets = [
        CheckedSet(
            one.name,
            texts[one.name],
            _comparison(policy, one, held.get(one.name), reference),
            one.line,
            dict(zip(texts[one.name].names, map(str, one.files), strict=True)),
        )
        for one in policy.sets
    ]
    rules = Rules(
        fail_on=policy.fail_on,
        least_references=policy.least_references,
        most_skipped=0 if asked["strict"] else policy.max_skipped,
        samples=policy.regime.samples if policy.regime else 0,
        limits=policy.regime.limits() if policy.regime else {},
        baseline=accepted,
        baseline_name="" if policy.baseline is None else str(policy.baseline),
        forgiven=asked["exit_zero"],
        policy=policy.plain(),
        where="" if policy.path is None else str(policy.path),
    )
    shown = session.redaction(request.show_text)
    with running.journal_of(request, shown) as journal, session.show_progress(request.quiet) as watch:
        limited = watch if asked["time_limit"] is None else TimeLimited(watch, begun + seconds_of(asked["time_limit"]))
        try:
            gate = Check(model, sets, settings, rules, limited, journal)
        except ValueError as error:
            session.fail(str(error), session.USAGE)
        if accepted is not None:
            accepted.check(str(policy.baseline), shown.key_name(), gate.accepting(), gate.accepting_id())
        if request.dry_run:
            lines = running.planned(gate.plans(), model)
        else:
            _bind(gate, journal, model, reference, watch)
            found = gate.report(shown, session.today(), asked["time_limit"] or "")
            _finish(request, found, shown, journal, gate)
    if request.dry_run:
        typer.echo("\n".join(lines))
        raise typer.Exit
    raise typer.Exit(found.exit_code)


def _in_force(path: Path | None, asked: Mapping[str, Any]) -> Policy:
    """The policy in the file, with what the command line says in its place."""
    policy = Policy() if path is None else policies.read(path, asked["allow_outside"])
    files = tuple(asked["files"] or ())
    if files and policy.sets:
        session.fail(f"{path}: has sets of candidates of its own: give no FILE", session.USAGE)
    given = {
        name: asked[name]
        for name in ("fdr", "min_references", "max_skipped", "seed", "baseline", "reference_model")
        if asked[name] is not None
    }
    given |= {"fail_on": str(asked["fail_on"])} if asked["fail_on"] else {}
    measure = {name: asked[name] for name in ("recipe", "restarts", "steps") if asked[name] is not None}
    measure |= {"probe": str(asked["probe"])} if asked["probe"] else {}
    given |= {"measure": msgspec.structs.replace(policy.measure, **measure)} if measure else {}
    if files:
        given["sets"] = (
            ReadSet(
                CANDIDATES,
                files,
                tuple(asked["heldout"] or ()),
                asked["calibration"],
                asked["twins"] or 0,
                asked["slot"] or "",
                asked["input_format"],
                asked["text_column"],
            ),
        )
    elif asked["input_format"] or asked["text_column"]:
        session.fail("--input-format and --text-column are of FILE; a policy's sets have their own", session.USAGE)
    return msgspec.structs.replace(policy, **given)


def _settings(policy: Policy, asked: Mapping[str, Any]) -> Any:
    try:
        settings = settings_of(policy.measure, policy.seed, policy.fdr, asked["batch_size"])
    except ValueError as error:
        # The first word is a key, or the line is the table's.
        session.fail(f"{_measure_at(policy, re.split('[:,]', str(error))[0])}{error}", session.USAGE)
    if policy.measure.probe == "entropy" and policy.fail_on == "memorized":
        session.fail("entropy does not measure whether a text returns, and names none memorized: take the probe "
                     "basins, or fail-on familiar", session.USAGE)  # fmt: skip
    own = [one.name for one in policy.sets if one.twins or policy.reference_model]
    if own and isinstance(policy.measure.recipe, str):
        session.fail(
            f"{_measure_at(policy, 'recipe')}recipe: twins and a reference model compare by a score of their own",
            session.USAGE,
        )
    without = [one for one in policy.sets if not one.heldout]
    if policy.reference_model and without:
        needs = "a reference model needs held-out text, which shows what difference is ordinary"
        session.fail(f"{_set_at(policy, without[0])}: {needs}", session.USAGE)
    return settings


def _measure_at(policy: Policy, key: str) -> str:
    return f"{policy.at('measure', key)}measure: " if policy.path else ""


def _set_at(policy: Policy, one: ReadSet, *keys: str) -> str:
    """A set by its name, and its place if it is the policy's."""
    return f"{policy.at('sets', one.name, *keys) if one.line else ''}set {one.name}"


def _outputs(policy: Policy, asked: Mapping[str, Any]) -> list[Output]:
    """What -o names, if all of it can be written."""
    outputs = [parse_output(text, GATE_FORMATS) for text in asked["output"] or ()]
    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    outputs = [
        replace(output, append=True) if output.format == "markdown" and summary == str(output.path) else output
        for output in outputs
    ]
    extra = (policy.path, policy.baseline, policy.reference_model)
    read = [asked["model"], *(path for path in extra if path)]
    for one in policy.sets:
        read += [*one.files, *one.heldout, *([one.calibration] if one.calibration else [])]
    check_outputs(outputs, None, read, GATE_FORMATS)
    return outputs


def _comparison(policy: Policy, one: ReadSet, heldout: Any, reference: LoadedModel | None) -> Comparison:
    try:
        slot = Slot(one.slot or "digits")
    except ValueError as error:
        session.fail(f"{_set_at(policy, one, 'slot')}: slot: {error}", session.USAGE)
    return Comparison(heldout, one.twins, slot, reference, inputs.calibration(one.calibration))


def _bind(gate: Check, journal: Journal, model: LoadedModel, reference: LoadedModel | None, watch: Watch) -> None:
    other = None if reference is None else reference.info.weights_sha256
    journal.bind(identity(f"check {gate.probe}", gate.settings, model, {"reference_model_sha256": other}))
    if kept := journal.count():
        watch.warn(f"going on: {kept:,} measurements of a stopped run are kept in {journal.path}")


def _finish(request: Request, report: GateReport, shown: Redaction, journal: Journal, gate: Check) -> None:
    """Write the files first, then the report; what a time limit left undone is kept for the same command."""
    files = session.file_redaction(request.show_text, shown)
    with running.written_from(journal, done=not gate.over):
        written = write_gate(request.outputs, report, files)
    console = session.stdout()
    for part in gate_report(report, shown, console.width, request.show_all, not request.quiet and console.is_terminal):
        console.print(part)
    for file in written:
        session.note(f"wrote {file}")
    if report.exit_code:
        deciding = [reason.message for reason in report.reasons if reason.code == report.exit_code]
        session.note(f"exit {report.exit_code}: {'; '.join(deciding)}")
    if gate.over and journal.path is None:
        session.note("with -o FILE, what was measured is kept, and the same command goes on where it stopped")
    elif gate.over and journal.count():
        session.note(f"what was measured is kept in {journal.path}: the same command goes on")
