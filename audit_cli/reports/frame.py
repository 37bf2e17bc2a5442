"""Results as a table in memory, for those who go on in pandas."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import TYPE_CHECKING, Any

from audit_cli.records import GateReport, TextResult, Trajectory
from audit_cli.redaction import Redaction, ShowText
from audit_cli.reports.columns import COLUMNS, Cells
from audit_cli.reports.gate.table import GateTable
from audit_cli.reports.rows import finite, result_cells
from audit_cli.reports.trajectory_files import TrajectoryTable

if TYPE_CHECKING:
    import pandas

COMMANDS = ("basins", "entropy", "extract")
NULLABLE = {int: "Int64", float: "Float64", bool: "boolean"}


def frame(results: Iterable[TextResult] | GateReport | Trajectory, *, text: bool = False) -> "pandas.DataFrame":
    """A row a result, with the columns of the command line's CSV, in nats; what was not measured is `pandas.NA`.

    Of a report of `check` the results of all sets, with the columns of its table; of a `trajectory` a row a step.

    Reads the results to their end, and keeps of each only its row. `text` fills the column of that name: without it a
    frame can be passed on as a file can. Of the columns `settings_id` is always NA, which single results do not know.
    Whether the table is that of `basins`, `entropy` or `extract` shows in the first result that was measured; where
    none was, it has the columns that all share. Raises ValueError where several occur.
    """
    redaction = Redaction(ShowText.FULL if text else ShowText.FINGERPRINT, b"")
    if isinstance(results, GateReport):
        table = GateTable(results, redaction)
        return _frame(table.columns, table)
    if isinstance(results, Trajectory):
        return _frame(TrajectoryTable(results).columns, TrajectoryTable(results))
    command, rest = _command(iter(results))

    def cells() -> Iterator[Cells]:
        for result in rest:
            if _command_of(result) not in (None, command):
                raise ValueError(f"results of {_command_of(result)} and of {command} together: make a frame of each")
            yield finite(result_cells(command or "entropy", None, result, redaction))

    return _frame(_kinds(command), cells())


def _frame(kinds: Mapping[str, type], rows: Iterable[Cells]) -> "pandas.DataFrame":
    """Rows as columns, each of its kind."""
    # Slow to load, and only who asks for a frame waits for it.
    import pandas as pd

    columns: dict[str, list[Any]] = {name: [] for name in kinds}
    for row in rows:
        for name, column in columns.items():
            column.append(row[name])
    # Of the kinds of strings only this one holds lone surrogates, which texts may have.
    strings = pd.StringDtype("python")
    return pd.DataFrame(
        {name: pd.array(column, dtype=NULLABLE.get(kinds[name], strings)) for name, column in columns.items()}
    )


def _kinds(command: str | None) -> Mapping[str, type]:
    if command is not None:
        return COLUMNS[command]
    return {name: kind for name, kind in COLUMNS["entropy"].items() if all(name in COLUMNS[c] for c in COMMANDS)}


def _command(results: Iterator[TextResult]) -> tuple[str | None, Iterator[TextResult]]:
    """The command of the first measured result, and all results."""
    ahead: list[TextResult] = []
    for result in results:
        ahead.append(result)
        if command := _command_of(result):
            return command, chain(ahead, results)
    return None, iter(ahead)


def _command_of(result: TextResult) -> str | None:
    if result.basin_measurement is not None:
        return "basins"
    if result.extraction is not None:
        return "extract"
    return None if result.entropy is None else "entropy"
