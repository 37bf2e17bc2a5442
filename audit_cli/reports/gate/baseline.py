"""What `uddm-audit baseline list` prints."""

import datetime
from collections.abc import Iterator

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from audit_cli.reports.parts import RULED
from audit_cli.safetext import for_terminal
from audit_cli.verdicts.baseline import Baseline, expired


def baseline_table(found: Baseline, today: datetime.date) -> Iterator[RenderableType]:
    """The accepted findings, strongest verdict first as they stand in the file, and how many have expired."""
    if found.findings:
        table = Table(box=RULED, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("fingerprint", "verdict", "score", "added", "expires", "author", "reason"):
            table.add_column(name, no_wrap=name != "reason", justify="right" if name == "score" else "left")
        for known in found.findings.values():
            over = expired(known, today)
            until = f"{known.expires}, over" if over else known.expires or "never"
            cells = (known.fingerprint, str(known.verdict), f"{known.score:.3g}", known.added, until)
            words = (Text(for_terminal(text)) for text in (known.author, known.reason))
            table.add_row(*cells, *words, style="dim" if over else "")
        yield table
    gone = sum(expired(known, today) for known in found.findings.values())
    yield Text(f"{len(found.findings):,} accepted{f', {gone:,} of them expired' if gone else ''}.", "bold")
    how = ", ".join(f"{name} {value}" for name, value in sorted(found.settings.items()))
    yield Text(f"Under settings {for_terminal(found.settings_id)}: {for_terminal(how)}", "dim")
