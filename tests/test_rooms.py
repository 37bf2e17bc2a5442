"""The house: who may import whom, and what stays cheap to import."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = {
    "uddm_kernels": 0,
    "audit_cli.records": 0,
    "audit_cli.safetext": 0,
    "audit_cli.redaction": 0,
    "audit_cli.statistics": 1,
    "audit_cli.diffusion": 1,
    "audit_cli.models": 1,
    "audit_cli.checkpoints": 2,
    "audit_cli.training": 3,
    "audit_cli.probes": 3,
    "audit_cli.verdicts": 4,
    "audit_cli.candidates": 4,
    "audit_cli.reports": 4,
    "audit_cli.audits": 5,
    "audit_cli.api": 6,
    "audit_cli.cli": 6,
}
# Reports show what verdicts decided: its constants are the one thing that a room takes from its own floor.
NEIGHBOURS = {("audit_cli.reports", "audit_cli.verdicts")}
FORBIDDEN = {
    "audit_cli.statistics": {"torch", "transformers", "tokenizers"},
    "audit_cli.verdicts": {"torch", "transformers", "tokenizers"},
    "audit_cli.candidates": {"torch", "transformers", "tokenizers"},
    "audit_cli.reports": {"torch", "transformers", "tokenizers"},
    "audit_cli.records": {"torch", "numpy"},
    "audit_cli.safetext": {"torch", "numpy"},
    "audit_cli.redaction": {"torch", "numpy"},
}


def room_of(module):
    return next((room for room in FLOORS if module == room or module.startswith(room + ".")), None)


def imports():
    """(file, room, imported module) of every import in the package."""
    for folder in ("audit_cli", "kernels/uddm_kernels"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removeprefix("kernels.")
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Import):
                    yield from ((file, room_of(module), alias.name) for alias in node.names)
                elif isinstance(node, ast.ImportFrom):
                    yield file, room_of(module), node.module
                    yield from ((file, room_of(module), f"{node.module}.{alias.name}") for alias in node.names)


def test_a_room_imports_from_lower_floors_only():
    wrong = {
        f"{file.relative_to(ROOT)} imports {imported}"
        for file, room, imported in imports()
        if room
        and (other := room_of(imported))
        and other != room
        and FLOORS[other] >= FLOORS[room]
        and (room, other) not in NEIGHBOURS
    }
    assert not wrong


def test_rooms_of_numbers_and_words_know_no_networks():
    wrong = {
        f"{file.relative_to(ROOT)} imports {imported}"
        for file, room, imported in imports()
        if imported.split(".")[0] in FORBIDDEN.get(room, set())
    }
    assert not wrong


def test_only_the_command_line_exits_or_reads_the_environment():
    wrong = []
    for file in sorted((ROOT / "audit_cli").rglob("*.py")):
        if "cli" in file.relative_to(ROOT / "audit_cli").parts[0]:
            continue
        words = re.findall(r"os\.environ|sys\.exit|\bprint\(|\bConsole\(", file.read_text())
        wrong += [f"{file.name}: {word}" for word in words]
    assert not wrong


COMMANDS = (
    *("entropy", "basins", "check", "baseline", "calibrate", "extract", "generate", "retrieve", "attractors"),
    *("evaluate", "inspect", "convert", "sweep", "track", "train"),
)


@pytest.mark.parametrize(
    "arguments",
    [["--help"], *([command, "--help"] for command in COMMANDS)],
)
def test_help_loads_the_standard_library_and_typer_only(arguments):
    code = (
        "import sys; from audit_cli.cli import app\n"
        f"try: app({arguments!r}, prog_name='uddm-audit')\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'scipy', 'pandas', 'tokenizers', 'transformers', 'safetensors', 'jaxtyping'}\n"
        "sys.exit(str(heavy & set(sys.modules)) if heavy & set(sys.modules) else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Usage: uddm-audit" in done.stdout


def test_no_top_level_package_is_called_kernels_or_tests():
    code = "import importlib.metadata as m; print(m.distribution('uddm-audit').read_text('top_level.txt'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"audit_cli", "uddm_kernels"}
