"""Measurements on a machine that others use, too: how much of it they took meanwhile, and another try if too much."""

import os
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time, sleep

# Seconds for which the machine is watched before a measurement.
WATCH = 0.5
# What may pass unnoticed: a share of all cores, or a few ticks of the kernel's clock.
SHARE, TICKS = 0.05, 3
STAT = Path("/proc/stat")


class Stopwatch:
    """Times calls. While its `patience`, in seconds, lasts, it waits for an idle machine before a measurement and
    throws away a measurement that other programs disturbed.

    `retaken` counts measurements thrown away, `disturbed` those kept nonetheless. Only Linux tells the load.
    """

    warm_ups = 1

    def __init__(self, patience: float = 0.0) -> None:
        self.patience = patience
        self.retaken = 0
        self.disturbed = 0

    def seconds(self, call: Callable[[], object]) -> float:
        """Wall-clock time of one call."""
        while True:
            self._wait()
            elapsed, disturbed = _observe(call)
            if not disturbed:
                return elapsed
            if self.patience <= 0:
                self.disturbed += 1
                return elapsed
            self.retaken += 1
            self.patience -= elapsed

    def remark(self) -> str:
        """See `Clock`."""
        return f"Repetitions disturbed by other programs: {self.retaken} taken again, {self.disturbed} kept."

    def _wait(self) -> None:
        while self.patience > 0 and _observe(lambda: sleep(WATCH))[1]:
            self.patience -= WATCH


def _observe(call: Callable[[], object]) -> tuple[float, bool]:
    """How long the call took, and whether other programs ran meanwhile."""
    begin, busy, own = perf_counter(), _busy_seconds(), process_time()
    call()
    elapsed = perf_counter() - begin
    others = _busy_seconds() - busy - (process_time() - own)
    allowed = max(SHARE * elapsed * (os.cpu_count() or 1), TICKS / os.sysconf("SC_CLK_TCK"))
    return elapsed, STAT.exists() and others > allowed


def _busy_seconds() -> float:
    """What all cores together have worked since the machine started; 0 where that is unknown."""
    if not STAT.exists():
        return 0.0
    user, nice, system, _idle, _wait, *interrupts = map(int, STAT.read_text().splitlines()[0].split()[1:9])
    return (user + nice + system + sum(interrupts)) / os.sysconf("SC_CLK_TCK")
