"""This machine's clocks: the only place where the product reads the time of a request."""

import time

from coordinator.core.requests import Instant


def now() -> Instant:
    """Return this moment."""
    return Instant(now_ms(), time.monotonic_ns() // 1_000)


def now_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000
