"""A steady load while things break: every request keyed, and repeated until it is answered.

When nobody can be served the callers wait and repeat; they never ask for another number instead.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from itertools import count
from typing import Any

import aiohttp

from coordinator.jobs.callers import Failed, Nodes, Place
from coordinator.jobs.timeline import Heard, Success

PATIENCE_S = 3.0
"""For one attempt: a node that stands still keeps its callers no longer."""

GIVE_UP_S = 60.0
"""For one request with all its attempts."""

PAUSE_S = 0.05
HOME_EVERY = 10
"""A caller who had to leave its node comes back with one of so many requests."""

CALLERS_MIN, CALLERS_MAX = 8, 64
_CALLERS_PER_RATE = 0.2
_NEXT = "/api/v1/sequence/next"
_PATIENCE = aiohttp.ClientTimeout(total=PATIENCE_S)


class Load:
    """Callers at work; what they were told is in ``told``, by the key of the request."""

    def __init__(
        self, nodes: Nodes, names: dict[str, str], places: list[Place], rate: float, prefix: str
    ) -> None:
        """Take ``rate`` numbers a second; ``names`` are the nodes' by their addresses."""
        self._nodes = nodes
        self._names = names
        self._places = places
        self._every_s = 1 / rate
        self.prefix = prefix
        self._serial = count(1)
        self._due_s = time.monotonic()
        self.callers = min(CALLERS_MAX, max(CALLERS_MIN, int(rate * _CALLERS_PER_RATE)))
        self.began_s = self._due_s
        self.heard = Heard(self.began_s)
        self.told: dict[str, int] = {}
        self.failed: dict[str, str] = {}
        """Requests that got no answer in the end, and why."""
        self.counts: Counter[str] = Counter()
        self.last_trouble = ""

    async def run(self, seconds: float, stopping: asyncio.Event) -> None:
        """Ask for so long, or until told to stop; return when all that was asked has ended."""
        ends_s = self.began_s + seconds

        def goes_on() -> bool:
            return not stopping.is_set() and time.monotonic() < ends_s

        async with asyncio.TaskGroup() as group:
            for number in range(self.callers):
                group.create_task(self._call(number, goes_on))

    async def _call(self, caller: int, goes_on: Callable[[], bool]) -> None:
        home = at = caller % len(self._nodes.urls)
        for serial in count(1):
            await self._turn()
            if not goes_on():
                return
            at = home if serial % HOME_EVERY == 0 else at
            at = await self._ask(caller, at)

    async def _turn(self) -> None:
        """Wait until a request is due; what was missed in an outage is not made up for."""
        now = time.monotonic()
        self._due_s = due_s = max(self._due_s + self._every_s, now)
        await asyncio.sleep(due_s - now)

    async def _ask(self, caller: int, at: int) -> int:
        """Ask for one number; return the node that answered."""
        serial = next(self._serial)
        key = f"{self.prefix}-{serial}"
        place = self._places[serial % len(self._places)]
        gives_up_s = time.monotonic() + GIVE_UP_S
        urls = self._nodes.urls
        self.counts["asked"] += 1
        for attempt in count(1):
            began_s = time.monotonic()
            url = urls[at]
            try:
                body, why = await self._nodes.attempt(
                    "GET", url, _NEXT, key, params=place.query(), timeout=_PATIENCE
                )
            except Failed as refused:
                self.failed[key] = str(refused)
                return at
            ended_s = time.monotonic()
            if not why:
                self.told[key] = int(body["sequenceNumbers"][0])
                self.heard.add(Success(caller, self._names.get(url, url), began_s, ended_s))
                return at
            self.counts["attemptsFailed"] += 1
            self.counts["retried"] += attempt == 1
            self.last_trouble = why
            at = (at + 1) % len(urls)
            if ended_s > gives_up_s:
                self.failed[key] = why
                return at
            await asyncio.sleep(PAUSE_S if attempt >= len(urls) else 0)
        return at

    def figures(self) -> dict[str, Any]:
        """Return what there is to see of it now."""
        now = time.monotonic()
        return {
            "asked": self.counts["asked"],
            "answered": len(self.told),
            "waiting": self.counts["asked"] - len(self.told) - len(self.failed),
            "failed": len(self.failed),
            "retried": self.counts["retried"],
            "attemptsFailed": self.counts["attemptsFailed"],
            "perSecond": round(self.heard.per_second(now), 1),
            "lastTrouble": self.last_trouble,
        }
