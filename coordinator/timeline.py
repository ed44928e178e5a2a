"""The history of what the whole cluster counted, in bounded memory, and what happened to it.

A point a second for fifteen minutes, then one for ten seconds, for six hours. Totals grow, so of
several points the last one tells all; of latencies the worst must not be lost.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple

FINE_MS = 1_000
FINE_FOR_MS = 15 * 60_000
COARSE_MS = 10_000
COARSE_FOR_MS = 6 * 3_600_000
MARKERS_MAX = 256
POINTS_MIN = 10
"""Fewer than these are no history: nobody can ask for less."""


class Point(NamedTuple):
    """What stood in the store at one moment: totals of all counters together.

    ``requests`` were answered by this node since it started; ``p50_us`` and ``p99_us`` are of those
    that it answered since the point before, 0 without any.
    """

    time_ms: int
    highest: int = 0
    issued: int = 0
    released: int = 0
    reused: int = 0
    gaps: int = 0
    held: int = 0
    void: int = 0
    requests: int = 0
    p50_us: int = 0
    p99_us: int = 0


class Marker(NamedTuple):
    """Something that happened to the cluster.

    The kinds are those of ``changes``, and of what the launcher of a demonstration has done:
    ``killed``, ``stopped``, ``paused``, ``restarted``, ``resumed``; and ``died``, if nobody asked.
    """

    time_ms: int
    kind: str
    who: str


class Seen(NamedTuple):
    """The parts of the cluster as last seen; what was not looked at is None.

    ``nodes`` are the runs of nodes that live, by name. ``members`` says of each member of etcd
    whether it answers. ``turns`` says which node commits for the others, by counter.
    """

    nodes: Mapping[str, str] | None = None
    members: Mapping[str, bool] | None = None
    leader: str | None = None
    turns: Mapping[str, str] | None = None


def later(before: Seen, after: Seen) -> Seen:
    """Return all that is known after another look, which may have been at a part only."""
    looked_at = {name: value for name, value in after._asdict().items() if value is not None}
    return before._replace(**looked_at)


def changes(before: Seen, after: Seen, time_ms: int) -> list[Marker]:
    """Return what happened between two looks: nodes and members that went or came, and so on.

    Of a member that answers again, or a node in another run, it is told that it came. What was not
    looked at both times has not changed. The first leader, or holder of a turn, is no change.
    """
    found: list[tuple[str, str]] = []
    if before.nodes is not None and after.nodes is not None:
        found += (("node-gone", name) for name in before.nodes if name not in after.nodes)
        found += (
            ("node-came", name)
            for name, run in after.nodes.items()
            if before.nodes.get(name) != run
        )
    if before.members is not None and after.members is not None:
        for url, answers in after.members.items():
            if answers != before.members.get(url, answers):
                found.append(("member-came" if answers else "member-gone", url))
    if before.leader and after.leader and before.leader != after.leader:
        found.append(("new-leader", after.leader))
    if before.turns is not None and after.turns is not None:
        for counter, node in after.turns.items():
            if before.turns.get(counter, node) != node:
                found.append(("turn-moved", node))
    return [Marker(time_ms, kind, who) for kind, who in dict.fromkeys(found)]


def merged(earlier: Point, point: Point) -> Point:
    """Return one point for two: the totals of the second, the worst latencies of both."""
    return point._replace(
        p50_us=max(earlier.p50_us, point.p50_us), p99_us=max(earlier.p99_us, point.p99_us)
    )


class Timeline:
    """Points and markers of the last hours."""

    def __init__(self) -> None:
        self._fine: deque[Point] = deque()
        self._coarse: deque[Point] = deque()
        self.markers: deque[Marker] = deque(maxlen=MARKERS_MAX)
        """What happened, oldest first."""

    def add(self, point: Point) -> Point:
        """Take the newest point, and return the one that stands for its second.

        Points of a later second were written by a clock that has been set back since: they go.
        """
        second = point.time_ms // FINE_MS
        while self._fine and self._fine[-1].time_ms // FINE_MS > second:
            self._fine.pop()
        while self._coarse and self._coarse[-1].time_ms >= point.time_ms:
            self._coarse.pop()
        if self._fine and self._fine[-1].time_ms // FINE_MS == second:
            earlier = self._fine.pop()
            point = merged(earlier, point)._replace(time_ms=max(earlier.time_ms, point.time_ms))
        self._fine.append(point)
        self._age(point.time_ms)
        return point

    def _age(self, now_ms: int) -> None:
        while self._fine[0].time_ms <= now_ms - FINE_FOR_MS:
            _merge_into(self._coarse, self._fine.popleft(), COARSE_MS)
        while self._coarse and self._coarse[0].time_ms <= now_ms - COARSE_FOR_MS:
            self._coarse.popleft()

    def mark(self, markers: Iterable[Marker]) -> None:
        """Take what has happened, in any order; beyond a bound the oldest are forgotten."""
        fresh = list(markers)
        if not fresh:
            return
        every = sorted([*self.markers, *fresh], key=lambda marker: marker.time_ms)
        self.markers = deque(every, maxlen=MARKERS_MAX)

    @property
    def newest(self) -> Point | None:
        """Return the newest point."""
        return self._fine[-1] if self._fine else None

    def points(self, since_ms: int, until_ms: int, limit: int) -> list[Point]:
        """Return points of this time, ends included, oldest first, and no more than the limit.

        Where there would be more, those of equal spans of time become one. ``limit`` is
        ``POINTS_MIN`` at least.
        """
        found = [p for p in self._all() if since_ms <= p.time_ms <= until_ms]
        if len(found) <= limit:
            return found
        # The spans begin at whole multiples, so that the same points come together every time.
        step_ms = -(-(found[-1].time_ms - found[0].time_ms) // (limit - 1))
        fewer: deque[Point] = deque()
        for point in found:
            _merge_into(fewer, point, step_ms)
        return list(fewer)

    def happened(self, since_ms: int, until_ms: int) -> list[Marker]:
        """Return what happened in this time, ends included, oldest first."""
        return [m for m in self.markers if since_ms <= m.time_ms <= until_ms]

    def _all(self) -> Iterator[Point]:
        return chain(self._coarse, self._fine)


def _merge_into(points: deque[Point], point: Point, width_ms: int) -> None:
    """Append a point, or let it become one with the last when they are of the same span."""
    if points and points[-1].time_ms // width_ms == point.time_ms // width_ms:
        point = merged(points.pop(), point)
    points.append(point)
