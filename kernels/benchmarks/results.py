"""RESULTS.md: a section a device, in it a table a task; what is measured again takes the place of what was there."""

from collections.abc import Sequence
from pathlib import Path

TITLE = "# Benchmarks"
PREAMBLE = f"""{TITLE}

Written by `cd kernels && python -m benchmarks --write`, with `--device cuda` for a GPU's; below each table stands when
and how it was made. Ways are timed in turns in one run, and *ours* is what the program does. *floor* is what cannot be
left out: matrix products and forward passes, or a copy, with nothing done to their results. Peak memory is what a call
takes beside its inputs.
"""


def write(path: Path, device: str, kind: str, tables: Sequence[str], kinds: Sequence[str]) -> None:
    """Put the tables of one kind, each with a heading `## kind: ...`, into the section of a device.

    All other sections and tables stay as they are; a section's tables are in the order of `kinds`.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    sections = {heading: body for heading, body in _parts(text, "# ") if heading not in ("", TITLE)}
    mine = [part for part in _parts(sections.get(f"# {device}", ""), "## ") if part[0]]
    kept = [(heading, body) for heading, body in mine if _kind(heading) != kind]
    new = [part for table in tables for part in _parts(table, "## ")]
    ordered = sorted([*kept, *new], key=lambda part: (*kinds, _kind(part[0])).index(_kind(part[0])))
    sections[f"# {device}"] = "\n".join(f"{heading}\n{body}" for heading, body in ordered)
    blocks = [PREAMBLE, *(f"{heading}\n\n{body.strip()}\n" for heading, body in sections.items())]
    path.write_text("\n".join(blocks), encoding="utf-8")


def _parts(text: str, mark: str) -> list[tuple[str, str]]:
    """Headings that begin with `mark`, and what stands below each; what stands before the first has the heading ""."""
    parts: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        if line.startswith(mark):
            parts.append((line, []))
        else:
            parts[-1][1].append(line)
    return [(heading, "\n".join(lines)) for heading, lines in parts if heading or lines]


def _kind(heading: str) -> str:
    return heading.removeprefix("## ").partition(":")[0]
