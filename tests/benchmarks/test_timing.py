import pytest
import torch
from benchmarks.memory import ResidentPeak
from benchmarks.quiet import Stopwatch
from benchmarks.report import table
from benchmarks.timing import Variant, interleaved, reason, rotating


class CountingClock:
    """Every call takes as many seconds as calls were timed before it."""

    warm_ups = 1

    def __init__(self):
        self.timed = 0

    def seconds(self, call):
        call()
        self.timed += 1
        return float(self.timed)

    def remark(self):
        return "as counted"


class NoPeak:
    disturbs = False

    def begin(self):
        pass

    def end(self):
        return None


class Task:
    kind, rivals, title = "step", ("rival", "broken"), "a task"

    def notes(self, variants, timings):
        return ["a note"]


def fail(error):
    raise error


def test_variants_take_turns_after_one_untimed_call_each():
    calls = []
    variants = [Variant(name, lambda name=name: calls.append(name), "b", repeats=n) for name, n in (("a", 3), ("b", 2))]
    measured = interleaved(variants, CountingClock(), NoPeak())
    assert "".join(calls) == "ab" + "ababa"
    assert measured.timings["a"].seconds == (1, 3, 5)
    assert measured.timings["b"].seconds == (2, 4)


def test_the_time_of_a_part_is_scaled_up():
    measured = interleaved([Variant("a", list, "a", repeats=2, parts=10)], CountingClock(), NoPeak())
    assert measured.timings["a"].seconds == (10, 20)


@pytest.mark.parametrize("when", [1, 3], ids=["warming up", "under way"])
def test_a_variant_that_fails_is_a_row_that_says_so(when):
    left = [when]

    def break_down():
        left[0] -= 1
        if not left[0]:
            fail(ImportError("no | such package\nat all"))

    variants = [
        Variant("rival", list, "floor"),
        Variant("broken", break_down, "floor"),
        Variant("floor", list, "floor"),
    ]
    measured = interleaved(variants, CountingClock(), NoPeak())
    assert set(measured.timings) == {"rival", "floor"}
    lines = table(Task(), variants, measured, [CountingClock().remark()])
    assert lines[0] == "## step: a task"
    assert "broken / this" not in lines[2] and "rival / this" in lines[2]
    assert next(line for line in lines if line.startswith("| broken")).split(" | ")[1] == (
        "failed: ImportError: no / such package"
    )
    assert lines[-2] == "a note as counted"


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_a_lack_of_memory_is_told_as_such(error):
    assert reason(error) == "out of memory"


def test_inputs_are_taken_in_turns():
    seen = []
    call = rotating(seen.append, "abc")
    for _ in range(4):
        call()
    assert "".join(seen) == "abca"


def test_a_stopwatch_measures_and_says_what_disturbed_it():
    watch = Stopwatch()
    assert watch.seconds(list) >= 0
    assert "0 taken again" in watch.remark()


def test_the_peak_of_a_call_is_what_it_takes_and_not_what_was_there():
    there = torch.ones(64 << 20, dtype=torch.uint8)
    peak = ResidentPeak()
    peak.begin()
    del there
    torch.ones(96 << 20, dtype=torch.uint8)
    found = peak.end()
    if found is None:
        pytest.skip("this system does not let a process forget its peak")
    assert 16 < found < 80
