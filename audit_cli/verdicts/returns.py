"""Does a text return? Judged at one level, from a proportion of restarts."""

from audit_cli.records import LevelMeasurement
from audit_cli.statistics.intervals import wilson

DECIDING_LEVEL = 0.25
# Two looks at most, so each at half of the error: 8 restarts, and 24 more where those leave it open.
LOOK_CONFIDENCE = 0.975
MORE_RESTARTS = 24
HALF = 0.5


def returns(measured: LevelMeasurement) -> bool | None:
    """True if at least half of all restarts return, False if fewer, None where the restarts leave it open."""
    if not measured.restarts:
        return None
    interval = wilson(measured.returned, measured.restarts, LOOK_CONFIDENCE)
    if interval.low >= HALF:
        return True
    return False if interval.high < HALF else None
