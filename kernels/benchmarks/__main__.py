"""`python -m benchmarks`: print the tables, and with --write keep them in RESULTS.md."""

import argparse
import gc
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

import torch

from benchmarks import memory, results
from benchmarks.events import EventClock
from benchmarks.quiet import Stopwatch
from benchmarks.report import circumstances, device_name, heading, table
from benchmarks.timing import interleaved, reason
from benchmarks.workloads import TABLES, Workload

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    options = _options()
    begin = perf_counter()
    _prepare(options.device)
    device = device_name(options.device)
    print(f"# {device}", "", sep="\n", flush=True)
    for kind in options.only:
        tables: list[str] = []
        command = f"python -m benchmarks --device {options.device} --only {kind}{' --quick' if options.quick else ''}"
        stamp = circumstances(options.device, command)
        for task in _tasks(kind, options.device, options.quick):
            _progress(f"{kind}: {task.title}")
            lines = _measured(task, options.device, 60 * options.patience)
            lines += [f"{stamp}.", ""]
            print(*lines, sep="\n", flush=True)
            tables.append("\n".join(lines))
            if options.write is not None:
                # After every table: a run that is stopped keeps what it has.
                results.write(options.write, device, kind, tables, list(TABLES))
    _progress(f"all in {perf_counter() - begin:.0f} s")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="what is measured; default cpu")
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        default=list(TABLES),
        metavar="LIST",
        help=f"which tables, of {','.join(TABLES)}; default all",
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs: about a minute")
    parser.add_argument(
        "--write",
        type=Path,
        nargs="?",
        const=RESULTS,
        metavar="FILE",
        help=f"put the tables into FILE, by default {RESULTS.name} beside this program, in place of this device's own",
    )
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="MINUTES",
        help="on a CPU: how long a table may wait for an idle machine and take disturbed repetitions again",
    )
    options = parser.parse_args()
    if unknown := [kind for kind in options.only if kind not in TABLES]:
        parser.error(f"--only: there is no {', '.join(unknown)}; there are {', '.join(TABLES)}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: torch sees no CUDA device here")
    if options.quick and options.write == RESULTS:
        parser.error("--quick is for looking: its figures do not belong into RESULTS.md")
    return options


def _prepare(device: str) -> None:
    """Settings of the whole run."""
    if device == "cpu":
        memory.limit()
        return
    # float32 means float32, as in the program.
    torch.backends.cuda.matmul.allow_tf32 = False
    # A fused kernel that does not run would be measured as the slower one that stands in for it.
    warnings.filterwarnings("error", message="the fused kernel", category=RuntimeWarning)


def _tasks(kind: str, device: str, quick: bool) -> Sequence[Workload]:
    """The tasks of a kind; none where a package that it needs is missing."""
    try:
        return TABLES[kind](device, quick)
    except ImportError as error:
        _progress(f"{kind}: not measured: {error}")
        return []


def _measured(task: Workload, device: str, patience: float) -> list[str]:
    """The lines of a task's table, or why there is none."""
    cuda = device == "cuda"
    clock = EventClock() if cuda else Stopwatch(patience)
    try:
        variants = task.variants()
        measured = interleaved(variants, clock, memory.AllocatedPeak() if cuda else memory.ResidentPeak())
        return table(task, variants, measured, [clock.remark()])
    # One table less is better than none at all, which a lent device may not wait for.
    except Exception as error:
        return [heading(task), "", f"Not measured: {reason(error)}", ""]
    finally:
        variants = []
        gc.collect()
        # Compiled code keeps its inputs' shapes, and gives up after a handful of them.
        torch.compiler.reset()
        if cuda:
            torch.cuda.empty_cache()


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
