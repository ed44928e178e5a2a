"""This machine's clocks: the only place where the product reads the time of a request."""

import time

from coordinator.core.requests import Instant


def now() -> Instant:
    """Return this moment."""
    return Instant(now_ms(), monotonic_us())


def now_ms() -> int:
    """Return the wall clock in milliseconds."""
    return time.time_ns() // 1_000_000


def monotonic_us() -> int:
    """Return the clock that waits are measured by, in microseconds."""
    return time.monotonic_ns() // 1_000
