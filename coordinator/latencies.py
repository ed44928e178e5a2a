"""Latencies of any length in a small, fixed space, for percentiles.

Each doubling is divided into 16 equal buckets, as HdrHistogram does it: what is told lies in the
middle of a bucket, so that it is never wrong by more than 1/32 of itself.
"""

from typing import NamedTuple

SUB_BITS = 4
"""Each doubling has two to this power buckets."""

US_MAX = (1 << 32) - 1
"""A longer one, over an hour, counts as this."""

_SHIFTS = US_MAX.bit_length() - SUB_BITS
_BUCKETS = (_SHIFTS + 1) << SUB_BITS


class Percentiles(NamedTuple):
    """Of so many answers: microseconds that half of them, and 99 of 100, took at most.

    Both are 0 without any answer.
    """

    answers: int = 0
    p50_us: int = 0
    p99_us: int = 0


class Latencies:
    """Counts latencies, a whole batch at a time: it stands in the path of every request."""

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS

    def answered(self, waits_us: list[int]) -> None:
        """Count answers, by the microseconds that each took; a negative one counts as 0."""
        counts = self._counts
        for wait_us in waits_us:
            shift = wait_us.bit_length() - SUB_BITS - 1
            if 0 < shift < _SHIFTS and wait_us > 0:
                counts[(shift << SUB_BITS) + (wait_us >> shift)] += 1
            else:
                counts[bucket_of(wait_us)] += 1  # rare: hardly anything is so short, or so long

    def take(self) -> Percentiles:
        """Return what was counted since the last call, and begin anew."""
        counts, self._counts = self._counts, [0] * _BUCKETS
        answers = sum(counts)
        if not answers:
            return Percentiles()
        return Percentiles(
            answers, _percentile(counts, answers, 50), _percentile(counts, answers, 99)
        )


def bucket_of(wait_us: int) -> int:
    """Return the bucket of a latency."""
    clamped = min(max(0, wait_us), US_MAX)
    shift = max(0, clamped.bit_length() - SUB_BITS - 1)
    return (shift << SUB_BITS) + (clamped >> shift)


def middle_of(bucket: int) -> int:
    """Return what stands for all latencies of a bucket."""
    shift = max(0, (bucket >> SUB_BITS) - 1)
    lower = (bucket - (shift << SUB_BITS)) << shift
    return lower + (1 << shift) // 2


def _percentile(counts: list[int], answers: int, percent: int) -> int:
    wanted = -(-answers * percent // 100)  # rounded up: the least that so many of them keep
    seen = 0
    for bucket, count in enumerate(counts):
        seen += count
        if seen >= wanted:
            return middle_of(bucket)
    raise AssertionError("all answers were counted")
