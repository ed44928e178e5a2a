"""A key that stands while a process is at work on something: under a lease that it keeps renewing.

It tells whom nobody has to wait for any more. Whatever follows from that has to be safe without it.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from coordinator.store import Store, StoreError, Unavailable

log = logging.getLogger(__name__)

PRESENT_S = 10
"""Whoever dies is present for so long at most."""

BEGUN_WITHIN_S = 15.0
"""Long enough for the members to choose a new leader."""

LEFT_WITHIN_S = 1.0
PAUSE_S = 0.2


@asynccontextmanager
async def present(store: Store, key: bytes) -> AsyncIterator[None]:
    """Have a key stand meanwhile. Raises StoreError when it cannot be written."""
    presence = _Presence(store, key)
    await presence.begin()
    staying = asyncio.create_task(presence.stay())
    try:
        yield
    finally:
        staying.cancel()
        await presence.leave()


class _Presence:
    def __init__(self, store: Store, key: bytes) -> None:
        self._store = store
        self._key = key
        self._lease = 0

    async def begin(self) -> None:
        try:
            async with asyncio.timeout(BEGUN_WITHIN_S):
                while not await self._is_seen():
                    await asyncio.sleep(PAUSE_S)
        except TimeoutError:
            name = self._key.decode()
            raise Unavailable(f"{name} was not written within {BEGUN_WITHIN_S:g} s") from None

    async def stay(self) -> None:
        while True:
            await asyncio.sleep(PRESENT_S / 3)
            await self._is_seen()

    async def _is_seen(self) -> bool:
        """Renew the lease, or take a new one; return whether that was done."""
        try:
            if not self._lease or not await self._store.keep_alive(self._lease):
                lease = await self._store.grant(PRESENT_S)
                await self._store.put_alive(self._key, b"{}", lease)
                self._lease = lease  # only now: a key that was not written would never be
        except StoreError as down:
            log.info("%s cannot be renewed just now: %s", self._key.decode(), down)
            return False
        return True

    async def leave(self) -> None:
        try:
            async with asyncio.timeout(LEFT_WITHIN_S):
                await self._store.revoke(self._lease)
        except (StoreError, TimeoutError) as down:
            log.info("%s will expire by itself: %r", self._key.decode(), down)
