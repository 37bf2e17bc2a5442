"""`uddm-audit baseline`: findings that a person has looked at and accepted."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from audit_cli.cli import options, session

app = typer.Typer(
    help="Accept findings of [bold]check[/bold]: they are shown as known, and no longer fail.", no_args_is_help=True
)

File = Annotated[Path, typer.Argument(metavar="BASELINE", help="A JSON file, made if need be.", show_default=False)]
REPORT = "A JSON report of check."
PANEL = "Findings"


@app.command("add")
@session.guarded
def add(
    file: File,
    report: Annotated[Path, options.option(PANEL, REPORT, "--from", metavar="REPORT")],
    reason: Annotated[str, options.option(PANEL, "Why they may pass.", metavar="TEXT")],
    fingerprint: Annotated[
        list[str] | None,
        options.option(PANEL, "This finding alone, failing or not. Repeatable.", "--fingerprint", metavar="HEX"),
    ] = None,
    author: Annotated[
        str | None, options.option(PANEL, "Who accepts them.", metavar="NAME", show_default="you")
    ] = None,
    expires: Annotated[
        str | None, options.option(PANEL, "The last day, as 2027-06-30.", metavar="DATE", show_default="never")
    ] = None,
    verbose: options.Verbose = 0,
) -> None:
    """Accept what failed in a report, or the findings that are named.

    uddm-audit baseline add known.json --from audit.json --reason "licensed text, may be quoted"
    """
    from audit_cli.cli.inputs import baseline_output
    from audit_cli.cli.session import today
    from audit_cli.records import Known
    from audit_cli.reports.files import write_file
    from audit_cli.verdicts import baseline as baselines

    if not reason.strip():
        session.fail("--reason: say why the findings may pass", session.USAGE)
    reason = baselines.words(reason, "--reason")
    who = baselines.words(author if author is not None else _login(), "--author")
    if expires is not None and baselines.parsed_date(expires, "--expires") < today():
        session.fail(f"--expires {expires}: is over already", session.USAGE)
    baseline_output(file, [report])
    found = baselines.read_report(report)
    before = found.empty
    if file.exists():
        before = baselines.read(file)
        before.check(str(file), found.empty.key, found.empty.settings, found.empty.settings_id)
    strangers = [one for one in fingerprint or () if one not in found.verdicts]
    if strangers:
        session.fail(f"{strangers[0]}: {report} has no finding of this fingerprint", session.USAGE)
    chosen = sorted(set(fingerprint)) if fingerprint else sorted(found.failing)
    if not chosen:
        session.note(f"{report}: nothing failed, so there is nothing to accept; {file} stays as it is")
        return
    added = [
        Known(one, *found.verdicts[one], found.empty.settings_id, reason, who, today().isoformat(), expires or "")
        for one in chosen
    ]
    after = before.with_added(added)
    write_file(file, after.encoded())
    session.note(f"{file}: {len(added):,} accepted, {len(after.findings):,} in all")


@app.command("list")
@session.guarded
def list_(
    file: Annotated[Path, typer.Argument(metavar="BASELINE", help="A JSON file.", show_default=False)],
    verbose: options.Verbose = 0,
) -> None:
    """Show what is accepted, by whom, why and until when."""
    from audit_cli.cli.session import today
    from audit_cli.reports.gate.baseline import baseline_table
    from audit_cli.verdicts import baseline as baselines

    found = baselines.read(file)
    for part in baseline_table(found, today()):
        session.stdout().print(part)


@app.command("prune")
@session.guarded
def prune(
    file: Annotated[Path, typer.Argument(metavar="BASELINE", help="A JSON file.", show_default=False)],
    report: Annotated[
        Path | None,
        options.option(PANEL, "Remove what this report of check no longer finds, too.", "--from", metavar="REPORT"),
    ] = None,
    verbose: options.Verbose = 0,
) -> None:
    """Remove what has expired, and what is no longer found."""
    from audit_cli.cli.inputs import baseline_output
    from audit_cli.cli.session import today
    from audit_cli.reports.files import write_file
    from audit_cli.verdicts import baseline as baselines

    baseline_output(file, [report] if report else [])
    before = baselines.read(file)
    kept = [one for one, known in before.findings.items() if not baselines.expired(known, today())]
    over = len(before.findings) - len(kept)
    if report is not None:
        found = baselines.read_report(report)
        before.check(str(file), found.empty.key, found.empty.settings, found.empty.settings_id)
        # Of what was not measured nobody knows whether it is found.
        kept = [one for one in kept if one in found.verdicts or one in found.skipped]
    gone = len(before.findings) - over - len(kept)
    if len(kept) < len(before.findings):
        write_file(file, before.only(kept).encoded())
    session.note(f"{file}: {over:,} expired and {gone:,} no longer found were removed, {len(kept):,} are left")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
