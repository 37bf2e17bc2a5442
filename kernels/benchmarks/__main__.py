"""`python -m benchmarks`: print the tables, and with --write keep them in RESULTS.md."""

import argparse
import gc
import sys
from pathlib import Path
from time import perf_counter

from benchmarks.memory import peak_mib
from benchmarks.quiet import Stopwatch
from benchmarks.report import machine, section
from benchmarks.timing import interleaved
from benchmarks.workloads import workloads

RESULTS = Path(__file__).with_name("RESULTS.md")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two sequences, one vocabulary, few steps: about a minute")
    parser.add_argument("--large-runs", action="store_true", help="whole sampling runs at the larger vocabulary, too")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS.name} beside this program")
    parser.add_argument(
        "--patience",
        type=float,
        default=0,
        metavar="MINUTES",
        help="how long a table may wait for an idle machine and take disturbed repetitions again",
    )
    options = parser.parse_args()
    begin = perf_counter()
    command = " ".join(["python -m benchmarks", *sys.argv[1:]])
    lines = ["# Benchmarks", "", f"`cd kernels && {command}`", ""]
    lines += [f"{line}  " for line in machine()]
    print(*lines, "", sep="\n", flush=True)
    tasks = workloads(options.quick, options.large_runs)
    # Memory first, while this process is small.
    peaks = []
    for number, task in enumerate(tasks, 1):
        _progress(f"memory, task {number} of {len(tasks)}")
        peaks.append({name: peak_mib(task, name) for name in task.with_memory()})
    lines.append("")
    for number, (task, peak) in enumerate(zip(tasks, peaks, strict=True), 1):
        _progress(f"time, task {number} of {len(tasks)}")
        variants = task.variants()
        watch = Stopwatch(60 * options.patience)
        table = section(task, variants, interleaved(variants, watch), peak, watch)
        print(*table, sep="\n", flush=True)
        lines += table
        del variants
        gc.collect()
    _progress(f"all in {perf_counter() - begin:.0f} s")
    if options.write:
        RESULTS.write_text("\n".join(lines), encoding="utf-8")


def _progress(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
