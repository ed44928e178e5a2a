"""How long a failover takes: one rule for the page and for the measurements in ``scripts/``.

A time runs from the strike to the end of the first request that began after it and succeeded. All
moments are monotonic seconds, the same clock in every process of a machine.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence
from itertools import takewhile
from typing import NamedTuple

SUCCESSES_KEPT = 50_000
BUCKET_S = 0.25
BUCKETS_MAX = 1_000


class Success(NamedTuple):
    """A request that was answered: by which caller, at which node, from when to when."""

    caller: int
    node: str
    began_s: float
    ended_s: float


def counts_as_after(began_s: float, since_s: float) -> bool:
    """Tell whether a request that began then can show that one is served again since a strike."""
    return began_s >= since_s


def first_after(
    successes: Sequence[Success] | deque[Success],
    since_s: float,
    node: str | None = None,
    callers: frozenset[int] | None = None,
) -> Success | None:
    """Return the success that ended first of those after a strike; at this node, if named.

    The successes stand in the order in which they ended: what ended before the strike is not read.
    """
    recent = takewhile(lambda success: success.ended_s >= since_s, reversed(successes))
    after = (
        success
        for success in recent
        if counts_as_after(success.began_s, since_s)
        and node in {None, success.node}
        and (callers is None or success.caller in callers)
    )
    return min(after, key=lambda success: success.ended_s, default=None)


def callers_at(successes: Iterable[Success], node: str, at_s: float) -> frozenset[int]:
    """Return the callers who were last served by this node when it was struck."""
    last = {s.caller: s.node for s in successes if s.ended_s <= at_s}
    return frozenset(caller for caller, served_by in last.items() if served_by == node)


class Heard:
    """Every success of a load: the newest one by one, all of them as counts of short spans."""

    def __init__(self, began_s: float) -> None:
        self.began_s = began_s
        self.successes: deque[Success] = deque(maxlen=SUCCESSES_KEPT)
        self._buckets: Counter[int] = Counter()
        self._last_s = began_s
        self._longest_s = 0.0

    def add(self, success: Success) -> None:
        """Take down a success."""
        self.successes.append(success)
        self._longest_s = max(self._longest_s, success.ended_s - self._last_s)
        self._last_s = success.ended_s
        self._buckets[int((success.ended_s - self.began_s) / BUCKET_S)] += 1

    def spans(self, now_s: float) -> list[int]:
        """Return how many succeeded in each span of ``BUCKET_S`` that is over."""
        over = min(int((now_s - self.began_s) / BUCKET_S), BUCKETS_MAX)
        return [self._buckets[at] for at in range(over)]

    def per_second(self, now_s: float) -> float:
        """Return successes a second, of the last second."""
        recent = 0
        for success in reversed(self.successes):
            if success.ended_s < now_s - 1:
                break
            recent += 1
        return recent / min(1.0, max(now_s - self.began_s, 0.1))

    def longest_pause_s(self, now_s: float) -> float:
        """Return the longest time in which nobody was answered."""
        return max(self._longest_s, now_s - self._last_s)
