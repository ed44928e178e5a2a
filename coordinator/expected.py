"""A moment's patience for those who have just been answered: busy callers ask again at once.

Each round costs a commit, however many it serves; where several nodes share a counter, messages
too. Without this, half of all callers are always on their way while the others are served, and
there are twice as many rounds.

A node alone looks only at what is on its doorstep: it goes on reading requests for as long as they
keep coming, and one who asks alone never waits. Among several nodes the others need a while to
answer their callers and come again: they are waited for by the clock.
"""

import asyncio
from contextlib import suppress

GUEST_WAITS_S = 0.002
"""For callers who have just been answered by way of another node."""

HOLDER_WAITS_S = 0.01
"""For nodes that have just been told what became of their batches, and return at once."""

QUIET_PASSES = 5
"""Passes of the event loop without a request after which no more are at hand. One that is being
answered, or read, takes up to three; each costs some microseconds while there is nothing to do."""


class Expected:
    """Counts down those who are expected."""

    def __init__(self) -> None:
        self._missing = 0
        self._all_came = asyncio.Event()
        self._until_s = 0.0

    def expect(self, count: int, within_s: float) -> None:
        """Expect so many from now on: within this time, or, when it is 0, if they are here."""
        self._missing = count
        self._all_came.clear()
        self._until_s = within_s and asyncio.get_running_loop().time() + within_s

    def came(self) -> None:
        """Note that somebody has come."""
        if self._missing:
            self._missing -= 1
            if not self._missing:
                self._all_came.set()

    async def wait(self) -> None:
        """Wait until all have come, or for as long as that was to be."""
        if self._missing and self._until_s:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._until_s):
                    await self._all_came.wait()
        elif self._missing:
            await self._while_they_come()
        self._missing = 0

    async def _while_they_come(self) -> None:
        quiet = 0
        while self._missing and quiet < QUIET_PASSES:
            missing = self._missing
            await asyncio.sleep(0)
            quiet = quiet + 1 if self._missing == missing else 0
