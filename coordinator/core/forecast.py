"""When the numbers of a counter will run out, by how fast they went lately."""

from typing import NamedTuple

DAY_MS = 86_400_000
WINDOW_DAYS = 30
"""The rate is that of so many days, or of as many as can be observed."""

OBSERVED_DAYS_MIN = 1.0
"""Less counts as a day: the first minute of a counter says nothing of its years."""

AHEAD_DAYS_MAX = 36_500
"""Nobody plans further: what lasts longer does not run out."""


class Used(NamedTuple):
    """So many numbers were used from this moment on (wall clock, ms)."""

    numbers: int
    since_ms: int


class Forecast(NamedTuple):
    """How many numbers a day went in the days that were observed, and when the last one will.

    ``out_ms`` (wall clock) is None when that cannot be told: nothing was used, or it lasts for a
    hundred years.
    """

    per_day: float
    observed_days: float
    out_ms: int | None


def forecast(used: Used, left: int, now_ms: int) -> Forecast:
    """Return when ``left`` numbers are used up if they go on to go as they went.

    Clocks may have been set back: what was used in the future counts as a day's. With none left it
    is now.
    """
    observed_days = min(max((now_ms - used.since_ms) / DAY_MS, 0.0), float(WINDOW_DAYS))
    per_day = used.numbers / max(observed_days, OBSERVED_DAYS_MIN)
    if left <= 0:
        return Forecast(per_day, observed_days, now_ms)
    if not per_day or left / per_day > AHEAD_DAYS_MAX:
        return Forecast(per_day, observed_days, None)
    return Forecast(per_day, observed_days, now_ms + int(left / per_day * DAY_MS))


def percent_used(highest: int, start: int, max_value: int) -> float:
    """Return how much of a series is used up when it has come to this number, 0 to 100."""
    whole = max_value - start + 1
    return min(100.0, max(0.0, 100 * (highest - start + 1) / whole)) if whole > 0 else 100.0
