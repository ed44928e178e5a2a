"""One series of events for many readers, in bounded memory however slow any of them is.

Events are written once and kept in one ring. A reader is a place in it, nothing else; one that has
fallen out of the ring gets a snapshot and goes on from there.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import orjson

from coordinator.api import problems
from coordinator.api.problems import Problem

STREAMS_MAX = 256
EVENTS_KEPT = 240
"""Two minutes, when there are two a second."""

BYTES_KEPT = 4 * 2**20
BEHIND_MAX = 20
"""A reader that took so many events too late is better served by a snapshot."""

QUIET_S_MAX = 60.0
"""After so long without events the next one would have to tell too much: all get a snapshot."""

FRESH_S = 2.0


class Event(NamedTuple):
    """One event as it is sent."""

    id: str
    name: str
    data: str


class Broadcast:
    """The ring, and how many read it. ``snapshot`` returns all that the events have told so far."""

    def __init__(self, instance: str, snapshot: Callable[[], dict[str, Any]]) -> None:
        self._instance = instance
        self._snapshot = snapshot
        self._snapshot_made: Event | None = None
        self._ring: deque[Event] = deque()
        self._bytes = 0
        self._newest = 0
        self._told_s = float("-inf")
        self._news = asyncio.Event()
        self._ended = False
        self.readers = 0
        self.came = asyncio.Event()
        """Set when somebody begins to read."""

    def tell(self, name: str, body: dict[str, Any]) -> None:
        """Send an event to all readers."""
        now_s = asyncio.get_running_loop().time()
        if now_s > self._told_s + QUIET_S_MAX:
            self._ring.clear()
            self._bytes = 0
        self._told_s = now_s
        self._newest += 1
        event = Event(self._id(), name, orjson.dumps(body).decode())
        self._ring.append(event)
        self._bytes += len(event.data)
        while len(self._ring) > EVENTS_KEPT or (self._bytes > BYTES_KEPT and len(self._ring) > 1):
            self._bytes -= len(self._ring.popleft().data)
        self._wake()

    def end(self) -> None:
        """End all streams, for good."""
        self._ended = True
        self._wake()

    def _wake(self) -> None:
        news, self._news = self._news, asyncio.Event()
        news.set()

    def _id(self) -> str:
        return f"{self._instance}-{self._newest}"

    def _place_of(self, event_id: str | None) -> int | None:
        """Return the place of an event that this run has sent; None for any other."""
        run, _, number = (event_id or "").rpartition("-")
        known = (
            run == self._instance and number.isdecimal() and len(number) <= len(str(self._newest))
        )
        return int(number) if known and int(number) <= self._newest else None

    @contextmanager
    def reader(self, last_id: str | None) -> "Iterator[Reader]":
        """Let somebody read on after this event. Raises Problem when too many do."""
        if self._ended:
            raise Problem(problems.STREAMS_FULL, "This node is stopping. Try another one.")
        if self.readers >= STREAMS_MAX:
            detail = f"{self.readers} event streams are open on this node. Close one, ask another "
            detail += "node, or read /api/v1/sequence/stats now and then."
            raise Problem(problems.STREAMS_FULL, detail)
        self.readers += 1
        self.came.set()
        try:
            yield Reader(self, self._place_of(last_id))
        finally:
            self.readers -= 1

    async def after(self, place: int | None, behind_max: int) -> tuple[list[Event], int] | None:
        """Wait for what comes after a place, and return it with the new place; None is the end.

        It is a snapshot for who has no place, or one that lies too far behind.
        """
        while not self._ended:
            if place is None:
                await self._freshen()
                return None if self._ended else ([self._snapshot_now()], self._newest)
            missed = self._newest - place
            if missed > min(behind_max, len(self._ring)):
                place = None
            elif missed:
                return list(self._ring)[-missed:], self._newest
            else:
                await self._news.wait()
        return None

    async def _freshen(self) -> None:
        """Wait for an event, if the last one was long ago: nobody watched."""
        if asyncio.get_running_loop().time() > self._told_s + FRESH_S and not self._ended:
            try:
                async with asyncio.timeout(FRESH_S):
                    await self._news.wait()
            except TimeoutError:
                pass

    def _snapshot_now(self) -> Event:
        made = self._snapshot_made
        if made is None or made.id != self._id():
            data = orjson.dumps(self._snapshot()).decode()
            made = self._snapshot_made = Event(self._id(), "snapshot", data)
        return made


class Reader:
    """Somebody who reads, at one place."""

    def __init__(self, broadcast: Broadcast, place: int | None) -> None:
        self._broadcast = broadcast
        self._place = place
        self._behind_max = EVENTS_KEPT  # who resumes gets all that there is

    async def events(self) -> list[Event] | None:
        """Wait for events and return them; None when there will be no more."""
        found = await self._broadcast.after(self._place, self._behind_max)
        if found is None:
            return None
        events, self._place = found
        self._behind_max = BEHIND_MAX
        return events
