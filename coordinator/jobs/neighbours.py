"""The other nodes as this one last knew them: also when the store cannot be read any more."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp

from coordinator.overview import NodeSeen
from coordinator.store import StoreError

FRESH_S = 1.0
READ_S_MAX, READ_FIRST_S_MAX = 0.4, 3.0
ASK_S_MAX = 3.0


class Unreachable(Exception):
    """A node does not answer, or is not known."""


class Neighbours:
    """The way to the other nodes' public addresses. ``me`` is this node's name."""

    def __init__(self, me: str, read: Callable[[], Awaitable[tuple[NodeSeen, ...]]]) -> None:
        self.me = me
        self._read = read
        self._nodes: tuple[NodeSeen, ...] = ()
        self._read_s = float("-inf")
        self._reading = asyncio.Lock()
        self._session: aiohttp.ClientSession | None = None

    async def nodes(self) -> tuple[NodeSeen, ...]:
        """Return all nodes, as of a second ago, or of when the store could last be read."""
        async with self._reading:  # who asks meanwhile waits for the same answer
            now_s = time.monotonic()
            if now_s - self._read_s > FRESH_S:
                try:
                    async with asyncio.timeout(READ_S_MAX if self._nodes else READ_FIRST_S_MAX):
                        self._nodes = await self._read()
                except (StoreError, TimeoutError):
                    pass
                self._read_s = time.monotonic()
        return self._nodes

    async def others(self) -> tuple[NodeSeen, ...]:
        """Return the nodes that live, without this one."""
        return tuple(node for node in await self.nodes() if node.active and node.node != self.me)

    async def ask(
        self, name: str, method: str, path: str, body: Any = None, within_s: float = ASK_S_MAX
    ) -> tuple[int, Any]:
        """Return status and JSON of a node's answer. Raises Unreachable."""
        url = next((node.url for node in await self.nodes() if node.node == name), None)
        if url is None:
            raise Unreachable(f"no node called {name} is known here")
        if self._session is None:
            self._session = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=within_s)
        try:
            async with self._session.request(
                method, url + path, json=body, timeout=timeout
            ) as answer:
                return answer.status, await answer.json()
        except (TimeoutError, aiohttp.ClientError, OSError, ValueError) as lost:
            raise Unreachable(
                f"{name} does not answer: {str(lost) or type(lost).__name__}"
            ) from None

    async def close(self) -> None:
        """Close the connections that are kept."""
        if self._session is not None:
            await self._session.close()
