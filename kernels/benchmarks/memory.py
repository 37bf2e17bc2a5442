"""Peak memory of calls, without what was there before them."""

import contextlib
import ctypes
import gc
import resource
from pathlib import Path

import torch

MIB = 1 << 20
STATUS, PEAK_RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# What proc(5) takes to forget the largest amount of memory that a process has had.
FORGET_PEAK = "5"
# Of what is available at the start; the rest is for what is no tensor.
USABLE = 0.9


# malloc.h: from which size on memory is asked of the system and given back at once, and how much may lie unused on top.
MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1
AT_ONCE = 1 << 16
# Where both end up by themselves in a process that has freed large tensors.
USUAL_MMAP, USUAL_TRIM = 32 * MIB, 64 * MIB


class ResidentPeak:
    """Of this process on a CPU. Only Linux lets a process forget an earlier peak: elsewhere nothing is told.

    Between `begin` and `end` no freed memory is kept for later, so that a figure does not depend on what was measured
    before it. That takes time.
    """

    disturbs = True

    def begin(self) -> None:
        """See `Peak`."""
        gc.collect()
        _malloc("mallopt", MMAP_THRESHOLD, AT_ONCE)
        _malloc("malloc_trim", 0)
        self._before = None
        with contextlib.suppress(OSError):
            PEAK_RESET.write_text(FORGET_PEAK)
            self._before = _status_mib("VmRSS")

    def end(self) -> float | None:
        """See `Peak`."""
        peak = _status_mib("VmHWM")
        _malloc("mallopt", MMAP_THRESHOLD, USUAL_MMAP)
        _malloc("mallopt", TRIM_THRESHOLD, USUAL_TRIM)
        return None if peak is None or self._before is None else max(0.0, peak - self._before)


class AllocatedPeak:
    """Of tensors on the current CUDA device."""

    disturbs = False

    def begin(self) -> None:
        """See `Peak`."""
        gc.collect()
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        self._before = torch.cuda.memory_allocated()

    def end(self) -> float:
        """See `Peak`."""
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - self._before) / MIB


def _malloc(function: str, *arguments: int) -> None:
    """A call of glibc's malloc; other C libraries have none of it."""
    with contextlib.suppress(AttributeError, OSError):
        getattr(ctypes.CDLL(None), function)(*arguments)


def limit() -> None:
    """Have a lack of memory end a call with an error, where otherwise the system would end the process."""
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/meminfo").read_text().splitlines()
        kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(USABLE * kib * 1024), hard))


def _status_mib(name: str) -> float | None:
    """A figure of /proc/self/status, which are in KiB."""
    with contextlib.suppress(OSError):
        for line in STATUS.read_text().splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    return None
