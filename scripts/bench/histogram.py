"""Latencies of any length in a small, fixed space, as HdrHistogram keeps them.

Below 256 microseconds every value has its own bucket. Above, each doubling is divided into 128
equal ones, so that a percentile is never wrong by more than 1/128 of itself. Histograms of several
rounds add up, which percentiles do not.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SUB_BITS = 7
"""Each doubling has two to this power buckets."""


class Histogram:
    """Counts of latencies, which go in and come out in whole microseconds."""

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}
        """How many latencies lie in each bucket; buckets without any are left out."""
        self.total = 0
        self.max_us = 0
        self._sum_us = 0

    def record(self, latency_us: int, times: int = 1) -> None:
        """Count one latency (or several equal ones); a negative one, of a clock, counts as 0."""
        latency_us = max(0, latency_us)
        bucket = _bucket_of(latency_us)
        self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.total += times
        self._sum_us += latency_us * times
        self.max_us = max(self.max_us, latency_us)

    def add(self, other: Histogram) -> None:
        """Take over everything that another histogram has counted."""
        for bucket, times in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + times
        self.total += other.total
        self._sum_us += other._sum_us
        self.max_us = max(self.max_us, other.max_us)

    def percentile_us(self, percent: float) -> int:
        """Return the least bound (of a bucket) that this share of all latencies keeps.

        The upper end of the bucket is given, so that the figure never flatters. Raises ValueError
        when nothing was recorded.
        """
        if not self.total:
            raise ValueError("nothing was recorded")
        wanted = max(1, math.ceil(self.total * percent / 100 - 1e-9))
        seen = 0
        for bucket in sorted(self.counts):
            seen += self.counts[bucket]
            if seen >= wanted:
                return min(_upper_end_of(bucket), self.max_us)
        return self.max_us

    def percentile_ms(self, percent: float) -> float:
        """Return the same in milliseconds."""
        return self.percentile_us(percent) / 1e3

    @property
    def mean_us(self) -> float:
        """Return the exact mean. Raises ValueError when nothing was recorded."""
        if not self.total:
            raise ValueError("nothing was recorded")
        return self._sum_us / self.total

    def as_json(self) -> dict[str, object]:
        """Return it as JSON values, for another process."""
        pairs = sorted(self.counts.items())
        return {"counts": pairs, "sum_us": self._sum_us, "max_us": self.max_us}

    @classmethod
    def from_json(cls, counts: Iterable[tuple[int, int]], sum_us: int, max_us: int) -> Histogram:
        """Return what `as_json` has written."""
        made = cls()
        made.counts = {int(bucket): int(times) for bucket, times in counts}
        made.total = sum(made.counts.values())
        made._sum_us, made.max_us = sum_us, max_us
        return made


def _bucket_of(latency_us: int) -> int:
    shift = max(0, latency_us.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (latency_us >> shift)


def _upper_end_of(bucket: int) -> int:
    shift = max(0, (bucket >> SUB_BITS) - 1)
    lower = (bucket - (shift << SUB_BITS)) << shift
    return lower + (1 << shift) - 1
