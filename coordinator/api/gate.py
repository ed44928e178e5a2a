"""Readings share the one processor with those who want numbers: few of them run at a time."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from aiohttp import web
from aiohttp.typedefs import Handler

from coordinator.api import problems
from coordinator.api.problems import Problem


class Width(NamedTuple):
    """How many may run, how many may wait, and how long."""

    at_once: int
    waiting_max: int
    within_s: float


class Gate:
    """Lets few requests in at a time; others wait their turn, and too many are refused at once."""

    def __init__(self, width: Width) -> None:
        self._width = width
        self._waiting = 0
        self._slots = asyncio.Semaphore(width.at_once)

    def before(self, handler: Handler) -> Handler:
        """Return the handler behind this gate. It raises Problem for whom it does not let in."""

        async def gated(request: web.Request) -> web.StreamResponse:
            async with self.passed():
                return await handler(request)

        return gated

    @asynccontextmanager
    async def passed(self) -> AsyncIterator[None]:
        """Let in whoever does so itself. Raises Problem."""
        await self._enter()
        try:
            yield
        finally:
            self._slots.release()

    async def _enter(self) -> None:
        if self._waiting >= self._width.waiting_max:
            raise Problem(problems.BUSY, f"{self._waiting} readings wait already. Try again.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._width.within_s):
                await self._slots.acquire()
        except TimeoutError:
            detail = f"Other readings took {self._width.within_s:g} s. Try again."
            raise Problem(problems.BUSY, detail) from None
        finally:
            self._waiting -= 1
