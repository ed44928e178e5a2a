"""A moment's patience for those who have just been answered: busy callers ask again at once.

Where several nodes share a counter, each round costs messages and a commit, however many it serves.
Without this, half of all callers are always on their way while the others are served, and there are
twice as many rounds. Nobody waits here while the counter is served by one node.
"""

import asyncio
from contextlib import suppress


class Expected:
    """Counts down those who are expected, for ``within_s`` at most."""

    def __init__(self) -> None:
        self._missing = 0
        self._all_came = asyncio.Event()
        self._until_s = 0.0

    def expect(self, count: int, within_s: float) -> None:
        """Expect so many from now on."""
        self._missing = count
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
        if self._missing:
            with suppress(TimeoutError):
                async with asyncio.timeout_at(self._until_s):
                    await self._all_came.wait()
            self._missing = 0
