"""Proofs that callers ask for: few run at a time, and who asks for one that runs shares it."""

import asyncio

from coordinator.core.documents import is_of_documents
from coordinator.core.verify import Verdict
from coordinator.counters import Counters
from coordinator.shared import shielded


class Proofs:
    """The proofs that run on this node."""

    def __init__(self, counters: Counters, start: int, at_once: int) -> None:
        self._counters = counters
        self._start = start
        self._slots = asyncio.Semaphore(at_once)
        self._running: dict[str, asyncio.Task[Verdict]] = {}

    async def of(self, names: tuple[str, ...]) -> dict[str, Verdict]:
        """Return what the proof of each counter comes to. Raises StoreError or Unreadable."""
        proofs = [shielded(self._proof(name)) for name in names]
        return dict(zip(names, await asyncio.gather(*proofs), strict=True))

    def _proof(self, name: str) -> asyncio.Task[Verdict]:
        running = self._running.get(name)
        if running is None:
            running = self._running[name] = asyncio.create_task(self._prove(name))
        return running

    async def _prove(self, name: str) -> Verdict:
        # A counter of documents begins where its series began then: its first entry says it.
        start = None if is_of_documents(name) else self._start
        try:
            async with self._slots:
                return await self._counters.history(name).prove(start)
        finally:
            del self._running[name]
