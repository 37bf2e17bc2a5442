"""A run of `entropy --trajectory` as files: a row a step, a row a step and position, Markdown, and provenance."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Literal

from audit_cli.records import OBSERVABLES, Interval, Trajectory
from audit_cli.reports import words
from audit_cli.reports.columns import SCHEMA, Cells, Columns, cells_in_bits
from audit_cli.reports.csv_file import write_csv
from audit_cli.reports.jsonl_file import write_jsonl
from audit_cli.reports.markdown_file import row
from audit_cli.reports.metadata import dumped
from audit_cli.reports.parquet_file import write_parquet
from audit_cli.reports.rows import finite
from audit_cli.reports.tables import Rows
from audit_cli.reports.trajectory import decimal, factor, interval, summary, trajectory_notes
from audit_cli.reports.trajectory_figure import write_figure
from audit_cli.safetext import for_markdown

PER_POSITION: Literal["per-token"] = "per-token"


def _column(name: str, end: str = "") -> str:
    """A column's name; that of an entropy carries its unit."""
    return f"{name}{end}_nats" if name == "entropy" else f"{name}{end}"


STEP_COLUMNS: Columns = {
    "schema": str,
    "settings_id": str,
    "step": int,
    "t": float,
    "level": float,
    "rows": int,
    **{_column(name, end): float for name in OBSERVABLES for end in ("", "_low", "_high")},
}
POSITION_COLUMNS: Columns = {
    "settings_id": str,
    "step": int,
    "t": float,
    "level": float,
    "position": int,
    "rows": int,
    **{_column(name): float for name in OBSERVABLES},
}


@dataclass(frozen=True)
class TrajectoryTable:
    """The table of the steps, or with `name` "per-token" of the steps and positions; entropies in nats or bits."""

    found: Trajectory
    name: Literal["steps", "per-token"] = "steps"
    bits: bool = False

    @property
    def columns(self) -> Columns:
        """The columns, in order."""
        known = STEP_COLUMNS if self.name == "steps" else POSITION_COLUMNS
        return {name.replace("_nats", "_bits"): kind for name, kind in known.items()} if self.bits else known

    def __iter__(self) -> Iterator[Cells]:
        for cells in self._steps() if self.name == "steps" else self._positions():
            yield finite(cells_in_bits(cells) if self.bits else cells)

    def _steps(self) -> Iterator[Cells]:
        found = self.found
        for step in found.steps:
            cells: Cells = {"schema": SCHEMA, "settings_id": found.run.settings_id}
            cells |= {"step": step.step, "t": step.t, "level": step.level, "rows": found.rows}
            for name in OBSERVABLES:
                mean: Interval = getattr(step, name)
                cells |= {_column(name): mean.value, _column(name, "_low"): mean.low, _column(name, "_high"): mean.high}
            yield cells

    def _positions(self) -> Iterator[Cells]:
        for at in self.found.positions:
            cells: Cells = {"settings_id": self.found.run.settings_id, "step": at.step, "t": at.t, "level": at.level}
            cells |= {"position": at.position, "rows": at.rows}
            yield cells | {_column(name): getattr(at, name) for name in OBSERVABLES}


Write = Callable[[Trajectory, bool, BinaryIO], None]


@dataclass(frozen=True)
class TrajectoryFormat:
    """The suffixes, lower case, by which a path chooses the format, its writer, and that of its second table, if it has
    one. `OUT.meta.json` belongs to all of them."""

    suffixes: tuple[str, ...]
    write: Write
    rows: Callable[[Rows, BinaryIO], None] | None = None
    meta: bool = True


def _plain(suffix: str, rows: Callable[[Rows, BinaryIO], None]) -> TrajectoryFormat:
    return TrajectoryFormat((suffix,), lambda found, bits, file: rows(TrajectoryTable(found, bits=bits), file), rows)


def _write_markdown(found: Trajectory, bits: bool, file: BinaryIO) -> None:
    for line in _markdown(found, bits):
        file.write(f"{line}\n".encode())


def _markdown(found: Trajectory, bits: bool) -> Iterator[str]:
    yield f"# uddm-audit entropy --trajectory: {for_markdown(found.model.name)}"
    how = f"Settings {found.run.settings_id}, uddm-audit {found.run.version}."
    for paragraph in (*map(for_markdown, (*trajectory_notes(found), *summary(found, bits))), how):
        yield ""
        yield paragraph
    yield ""
    names = (f"entropy, {words.unit(bits)}/token [95 %]", *(name.replace("_", " ") for name in OBSERVABLES[1:]))
    yield row(("step", "t", *names))
    yield row("---" for _ in range(len(names) + 2))
    for step in found.steps:
        others = (decimal(getattr(step, name).value) for name in OBSERVABLES[1:])
        yield row((str(step.step), f"{step.t:.6g}", interval(step.entropy, factor(bits)), *others))


TRAJECTORY_FORMATS: dict[str, TrajectoryFormat] = {
    "csv": _plain(".csv", write_csv),
    "jsonl": _plain(".jsonl", write_jsonl),
    "parquet": _plain(".parquet", write_parquet),
    "markdown": TrajectoryFormat((".md", ".markdown"), _write_markdown),
    "svg": TrajectoryFormat((".svg",), partial(write_figure, "svg")),
    "png": TrajectoryFormat((".png",), partial(write_figure, "png")),
}
# What needs matplotlib.
PICTURES = ("svg", "png")


def trajectory_metadata(found: Trajectory) -> str:
    """The provenance as JSON, ASCII only, with an end of line."""
    run = found.run
    facts = {
        "schema": SCHEMA,
        "settings_id": run.settings_id,
        "tool": {"name": "uddm-audit", "version": run.version},
        "command": run.command,
        "settings": run.settings,
        "model": found.model,
        "law_check": {"contrast": found.law.contrast, "result": found.law.check, "probes": found.law.probes},
        "device": run.device,
        "precision": run.precision,
        "backend": run.backend,
        "evaluations": run.evaluations,
        "seconds": round(run.seconds, 3),
        "counts": {
            "given": found.given,
            "measured": found.rows,
            "duplicates": found.duplicates,
            "skipped": found.skipped,
            "tokens": found.tokens,
        },
        "warnings": trajectory_notes(found),
    }
    return dumped(facts, indent=2) + "\n"
