"""Time on a CUDA device, by the device's own events, and inputs that its cache does not hold."""

import math
from collections.abc import Callable

import torch

# A measurement lasts at least so long, of as many calls as that takes: single short ones measure their launch.
LEAST_SECONDS, MOST_CALLS = 0.02, 1000
# Inputs are taken in turns until they are so many times the size of the cache.
TIMES_THE_CACHE = 2
# Where torch does not tell the size: an H100's.
USUAL_CACHE = 50 << 20


class EventClock:
    """Times calls on the current CUDA device. Calls follow each other without a pause, as in a run."""

    # The first call compiles, the second finds memory and clocks as the others do.
    warm_ups = 2

    def seconds(self, call: Callable[[], object]) -> float:
        """See `Clock`."""
        once = self._seconds(call, 1)
        if once >= LEAST_SECONDS:
            return once
        return self._seconds(call, min(MOST_CALLS, math.ceil(LEAST_SECONDS / max(once, 1e-9))))

    def remark(self) -> str:
        """See `Clock`."""
        return ""

    @staticmethod
    def _seconds(call: Callable[[], object], calls: int) -> float:
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        for _ in range(calls):
            call()
        end.record()
        end.synchronize()
        return begin.elapsed_time(end) / 1e3 / calls


def input_sets(size: int, device: str) -> int:
    """How many sets of inputs of `size` bytes each to take in turns: on a GPU more than its cache holds together."""
    if device == "cpu":
        return 1
    cache = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "L2_cache_size", USUAL_CACHE)
    return max(1, math.ceil(TIMES_THE_CACHE * cache / size))
