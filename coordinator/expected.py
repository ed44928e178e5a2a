"""A moment's patience for those who have just been answered: busy callers ask again at once.

Each round costs a commit, however many it serves; where several nodes share a counter, messages
too. Without this, half of all callers are always on their way while the others are served, and
there are twice as many rounds.

A node alone looks only at what is on its doorstep: it goes on reading requests while they keep
coming, and whoever is served one at a time never waits. Among several nodes the others need a while
to answer their callers and come again. In both cases the clock ends it.
"""

import asyncio
from contextlib import suppress

GUEST_WAITS_S = 0.002
"""For callers who have just been answered by way of another node."""

HOLDER_WAITS_S = 0.01
"""For nodes that have just been told what became of their batches, and return at once."""

HERE_WAITS_S = 0.003
"""To read what has arrived, while there is no other node."""

QUIET_PASSES = 5
"""Passes of the event loop without a request after which no more have arrived. One that is being
answered, or read, takes up to three; each costs some microseconds while there is nothing to do."""


class Expected:
    """Counts down those who are expected."""

    def __init__(self) -> None:
        self._missing = 0
        self._are_here = True
        self._all_came = asyncio.Event()
        self._until_s = 0.0

    def after_own_round(self, callers: int, nodes: int) -> None:
        """Expect so many who have just been answered here, and other nodes that were told."""
        if nodes:
            self._within(callers + nodes, HOLDER_WAITS_S)
        else:
            self._missing, self._are_here = callers, True

    def after_round_elsewhere(self, callers: int) -> None:
        """Expect so many who have just been answered by way of another node."""
        self._within(callers, GUEST_WAITS_S)

    def _within(self, count: int, within_s: float) -> None:
        self._missing, self._are_here = count, False
        self._all_came.clear()
        self._until_s = asyncio.get_running_loop().time() + within_s

    def came(self) -> None:
        """Note that somebody has come."""
        if self._missing:
            self._missing -= 1
            if not self._missing:
                self._all_came.set()

    async def wait(self) -> None:
        """Wait until all have come, or for as long as that was to be."""
        if self._missing and self._are_here:
            await self._while_they_come()
        elif self._missing:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._until_s):
                    await self._all_came.wait()
        self._missing = 0

    async def _while_they_come(self) -> None:
        loop, quiet = asyncio.get_running_loop(), 0
        ends = loop.time() + HERE_WAITS_S  # something else may make each pass a slow one
        while self._missing and quiet < QUIET_PASSES and loop.time() < ends:
            missing = self._missing
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._missing == missing else 0
