"""What runs on a GPU, with a device that only counts."""

import pytest
import torch
from benchmarks.events import EventClock, input_sets

MIB = 1 << 20


@pytest.fixture
def device_clock(monkeypatch):
    """The milliseconds of a device that calls may move on."""
    now = [0.0]

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.at = now[0]

        def synchronize(self):
            pass

        def elapsed_time(self, end):
            return end.at - self.at

    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    return now


@pytest.mark.parametrize(("milliseconds", "calls"), [(30.0, 1), (8.0, 1 + 3), (0.001, 1 + 1000)])
def test_short_calls_are_timed_many_together(device_clock, milliseconds, calls):
    made = []

    def call():
        made.append(None)
        device_clock[0] += milliseconds

    assert EventClock().seconds(call) == pytest.approx(milliseconds / 1e3)
    assert len(made) == calls


@pytest.mark.parametrize(("size", "sets"), [(200 * MIB, 1), (60 * MIB, 2), (24 * MIB, 5)])
def test_inputs_together_are_twice_the_cache(monkeypatch, size, sets):
    class Properties:
        L2_cache_size = 50 * MIB

    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: Properties)
    assert input_sets(size, "cuda") == sets
    assert input_sets(size, "cpu") == 1
