"""The counters of documents in the store: which there are, and their open reservations.

That of invoices is one of them, the last one, where all of them share one count.

Nobody keeps a list of them: they are found by skipping from the keys of one to those of the next.
"""

import asyncio
from collections.abc import AsyncIterator
from math import inf
from typing import NamedTuple

from coordinator.core import head as heads
from coordinator.core.documents import COUNTERS, INVOICE
from coordinator.core.head import Head
from coordinator.core.holds import Hold, decode_holds
from coordinator.core.keys import Keys
from coordinator.core.transaction import KeyValue, Range
from coordinator.shared import shielded
from coordinator.store import Store
from coordinator.store.paging import all_of

HEADS_PER_READ = 50
LOOKED_AT_MAX = 2_000
"""Counters that one search for reservations looks at: about two seconds."""

HOLDS_MAX = 10_000
"""Reservations that one search keeps: about 5 MB."""

BLOCKS_PER_READ = 200
BLOCKS_AT_FIRST = 4
REST_S_MIN, REST = 1.0, 2.0
"""What was found is told to all who ask within a second, or twice the time that it took."""


class CounterFound(NamedTuple):
    """A counter of documents that has given out a number, or passed one over."""

    name: str
    head: Head


class OpenHold(NamedTuple):
    """An open reservation, and whose."""

    counter: str
    hold: Hold


class OpenHolds(NamedTuple):
    """Open reservations, the soonest deadline first; not ``all_seen`` when there are too many."""

    holds: tuple[OpenHold, ...]
    all_seen: bool


class DocumentCounters:
    """Finds counters of documents. Every read may raise StoreError or Unreadable."""

    def __init__(self, store: Store, keys: Keys) -> None:
        self._store = store
        self._keys = keys
        self._readings: dict[str | None, _Reading] = {}

    async def after(
        self, name: str, limit: int, document_type: str | None = None
    ) -> list[CounterFound]:
        """Return up to so many counters whose keys come after those of this one."""
        found: list[CounterFound] = []
        async for some in self._some(name, document_type):
            found += some
            if len(found) >= limit:
                break
        return found[:limit]

    async def head_of(self, name: str) -> Head | None:
        """Return a counter's head; None before its first number."""
        (found,) = (await self._store.read(Range(self._keys.counter(name).head))).found
        return heads.decode(found[0].value) if found else None

    async def heads_of(self, names: list[str]) -> list[CounterFound]:
        """Return these counters, those of them that have given out a number."""
        found: list[CounterFound] = []
        for at in range(0, len(names), HEADS_PER_READ):
            found += await self._with_heads(names[at : at + HEADS_PER_READ])
        return found

    async def _some(
        self, after: str, document_type: str | None
    ) -> AsyncIterator[list[CounterFound]]:
        names: list[str] = []
        async for name in self._names(after, document_type):
            names.append(name)
            if len(names) == HEADS_PER_READ:
                yield await self._with_heads(names)
                names = []
        if names:
            yield await self._with_heads(names)

    async def _names(self, after: str, document_type: str | None) -> AsyncIterator[str]:
        keys = self._keys
        folder = COUNTERS if document_type is None else f"{COUNTERS}/{document_type}"
        ranges = [keys.counters_in(folder)]
        alone = [] if document_type is None else [folder]  # of a series without scopes
        if document_type in {None, INVOICE}:
            alone.append(INVOICE)
        prefixes = (keys.counter(name).prefix for name in alone)
        ranges += [Range(prefix, keys.after_counter_of(prefix)) for prefix in prefixes]
        first = keys.after_counter_of(keys.counter(after).prefix) if after else b""
        for each in ranges:
            wanted = each._replace(start=max(first, each.start), limit=1, keys_only=True)
            while wanted.start < wanted.end:
                (page,) = (await self._store.read(wanted)).found
                if not page:
                    break
                yield keys.counter_of(page[0].key)
                wanted = wanted._replace(start=keys.after_counter_of(page[0].key))

    async def _with_heads(self, names: list[str]) -> list[CounterFound]:
        snapshot = await self._store.read(*(Range(self._keys.counter(n).head) for n in names))
        return [
            CounterFound(name, heads.decode(found[0].value))
            for name, found in zip(names, snapshot.found, strict=True)
            if found
        ]

    async def open_holds(self, document_type: str | None = None) -> OpenHolds:
        """Return the open reservations, as they were a moment ago.

        Pages of countdowns ask all the time, and the deadlines themselves do not change: who asks
        while it is read, or soon after, gets the same; the longer it took, the later it is read
        again.
        """
        now_s = asyncio.get_running_loop().time()
        known = self._readings.get(document_type)
        if known is None or known.rests_until_s < now_s:
            known = self._readings[document_type] = _Reading()
            known.task = asyncio.create_task(self._read_holds(document_type, known))
        return await shielded(known.task)

    async def _read_holds(self, document_type: str | None, reading: "_Reading") -> OpenHolds:
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        try:
            found = await self._all_holds(document_type)
        except BaseException:
            reading.rests_until_s = 0.0
            raise
        ended_s = loop.time()
        reading.rests_until_s = ended_s + max(REST_S_MIN, REST * (ended_s - began_s))
        return found

    async def _all_holds(self, document_type: str | None) -> OpenHolds:
        found: list[OpenHold] = []
        looked_at, all_seen = 0, True
        async for some in self._some("", document_type):
            looked_at += len(some)
            found += await self._holds_of([name for name, head in some if head.held])
            if looked_at >= LOOKED_AT_MAX or len(found) >= HOLDS_MAX:
                all_seen = False
                break
        found.sort(key=place_in_order)
        return OpenHolds(tuple(found[:HOLDS_MAX]), all_seen)

    async def _holds_of(self, names: list[str]) -> list[OpenHold]:
        """Return the reservations of these counters: most have few, which come in one read."""
        if not names:
            return []
        blocks = [self._keys.counter(name).all_held(limit=BLOCKS_AT_FIRST) for name in names]
        snapshot = await self._store.read(*blocks)
        holds: list[OpenHold] = []
        for name, wanted, found in zip(names, blocks, snapshot.found, strict=True):
            holds += _holds_in(name, found)
            if len(found) < BLOCKS_AT_FIRST:
                continue
            rest = wanted._replace(start=found[-1].key + b"\0")
            async for page in all_of(self._store, rest, page=BLOCKS_PER_READ):
                holds += _holds_in(name, page)
                if len(holds) >= HOLDS_MAX:
                    break
        return holds


class _Reading:
    """A reading of open reservations, and how long its outcome is told to others."""

    task: asyncio.Task[OpenHolds]

    def __init__(self) -> None:
        self.rests_until_s = inf  # while it is read


def _holds_in(name: str, blocks: tuple[KeyValue, ...]) -> list[OpenHold]:
    return [OpenHold(name, hold) for kv in blocks for hold in decode_holds(kv.value)]


def place_in_order(each: OpenHold) -> tuple[int, str, int]:
    """Return what open reservations are put in order by: deadline, counter, number."""
    return each.hold.held.until_ms, each.counter, each.hold.number
