"""One snapshot of what statistics show: heads, lowest gaps and nodes, at one revision."""

import asyncio
from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from coordinator import turn
from coordinator.core import head as heads
from coordinator.core.head import Head
from coordinator.core.holds import decode_holds
from coordinator.core.keys import Keys, number_in
from coordinator.core.marks import decode_mark
from coordinator.core.transaction import KeyValue, Range
from coordinator.shared import shielded
from coordinator.store import Store

HEADS_PER_READ = 100
GAP_RANGES_PER_READ = 50
GAPS_SEEN = 1_000
"""Lowest gaps of a counter that are looked at for their age."""

REST = 2.0
"""After a reading nothing is read for so many times as long: with ten thousand counters it takes
about a second, which is then at most a third of the time.
"""

REST_S_MAX = 5.0


class NodeSeen(NamedTuple):
    """A node that has served once, and whether it lives now."""

    node: str
    instance: str
    url: str
    site: str
    partition: str
    started_ms: int
    active: bool


class CounterSeen(NamedTuple):
    """A counter; ``head`` is None before its first number, the others without a gap, or without
    an open reservation.
    """

    name: str
    head: Head | None
    lowest_gap: int | None = None
    oldest_gap_ms: int | None = None
    lowest_held: int | None = None

    @property
    def watermark(self) -> int | None:
        """Return the highest number up to which all are final; None before the first number."""
        if self.head is None:
            return None
        waiting = [n for n in (self.lowest_gap, self.lowest_held) if n is not None]
        return min(waiting, default=self.head.next) - 1


TURNS_SHOWN_MAX = 64


class Overview(NamedTuple):
    """All counters of the default series, and all nodes."""

    counters: tuple[CounterSeen, ...]
    nodes: tuple[NodeSeen, ...]


class Installation:
    """Reads all counters of the default series, and all nodes. Every read may raise StoreError."""

    def __init__(self, store: Store, keys: Keys, counters: tuple[str, ...]) -> None:
        self._store = store
        self._keys = keys
        self.counters = counters
        self._reading: asyncio.Task[Overview] | None = None
        self._next: asyncio.Task[Overview] | None = None
        self._rests_until_s = 0.0

    async def overview(self) -> Overview:
        """Return everything, at one revision that is not older than this call.

        One reading runs at a time; whoever asks meanwhile shares the next one.
        """
        if self._next is None:
            self._next = asyncio.create_task(self._read_after(self._reading))
        return await shielded(self._next)

    async def _read_after(self, earlier: asyncio.Task[Overview] | None) -> Overview:
        loop = asyncio.get_running_loop()
        if earlier is not None:
            await asyncio.wait({earlier})
        await asyncio.sleep(self._rests_until_s - loop.time())
        self._reading, self._next = self._next, None
        began_s = loop.time()
        seen = await self._read()
        now_s = loop.time()
        self._rests_until_s = now_s + min(REST * (now_s - began_s), REST_S_MAX)
        return seen

    async def _read(self) -> Overview:
        nodes: tuple[NodeSeen, ...] = ()
        seen: list[CounterSeen] = []
        revision = 0
        for at in range(0, len(self.counters), HEADS_PER_READ):
            names = self.counters[at : at + HEADS_PER_READ]
            heads_of_them = (Range(self._keys.counter(name).head) for name in names)
            snapshot = await self._store.read(self._keys.nodes, *heads_of_them, revision=revision)
            revision = revision or snapshot.revision
            nodes = _nodes(self._keys, snapshot.found[0])
            seen += map(_counter, names, snapshot.found[1:])
        await self._look_at_gaps(seen, revision)
        await self._look_at_holds(seen, revision)
        return Overview(tuple(seen), nodes)

    async def _look_at_gaps(self, seen: list[CounterSeen], revision: int) -> None:
        """Complete those counters that have gaps: most have none."""
        with_gaps = [at for at, each in enumerate(seen) if each.head is not None and each.head.gaps]
        for start in range(0, len(with_gaps), GAP_RANGES_PER_READ):
            some = with_gaps[start : start + GAP_RANGES_PER_READ]
            ranges = (self._keys.counter(seen[at].name).gaps(limit=GAPS_SEEN) for at in some)
            snapshot = await self._store.read(*ranges, revision=revision)
            for at, found in zip(some, snapshot.found, strict=True):
                oldest_ms = min((decode_mark(kv.value).time_ms for kv in found), default=None)
                lowest = number_in(found[0].key) if found else None
                seen[at] = seen[at]._replace(lowest_gap=lowest, oldest_gap_ms=oldest_ms)

    async def _look_at_holds(self, seen: list[CounterSeen], revision: int) -> None:
        """Complete those counters that have open reservations."""
        for at, each in enumerate(seen):
            if each.head is None or not each.head.held:
                continue
            wanted = self._keys.counter(each.name).all_held(limit=1)
            (found,) = (await self._store.read(wanted, revision=revision)).found
            numbers = [hold.number for kv in found for hold in decode_holds(kv.value)]
            seen[at] = each._replace(lowest_held=min(numbers, default=None))

    async def nodes(self) -> tuple[NodeSeen, ...]:
        """Return all nodes, by name."""
        return _nodes(self._keys, (await self._store.read(self._keys.nodes)).found[0])

    async def turns(self) -> dict[str, str]:
        """Return which node commits for the others, by counter, where one does."""
        some = self.counters[:TURNS_SHOWN_MAX]
        snapshot = await self._store.read(*(Range(self._keys.counter(name).turn) for name in some))
        holders = (turn.decode(kvs[0].value) if kvs else None for kvs in snapshot.found)
        return {name: h.node for name, h in zip(some, holders, strict=True) if h is not None}

    async def live_urls(self) -> tuple[str, ...]:
        """Return the public addresses of the nodes that live."""
        return tuple(node.url for node in await self.nodes() if node.active)


def _counter(name: str, head: tuple[KeyValue, ...]) -> CounterSeen:
    return CounterSeen(name, heads.decode(head[0].value) if head else None)


def _nodes(keys: Keys, found: tuple[KeyValue, ...]) -> tuple[NodeSeen, ...]:
    known: dict[str, dict[str, Any]] = {}
    live: dict[str, dict[str, Any]] = {}
    for kv in found:
        name = unquote(kv.key.rsplit(b"/", 1)[1].decode())
        group = live if kv.key.startswith(keys.node("")) else known
        group[name] = orjson.loads(kv.value)
    return tuple(
        _node(name, known.get(name, {}) | live.get(name, {}), name in live)
        for name in sorted({*known, *live})
    )


def _node(name: str, said: dict[str, Any], active: bool) -> NodeSeen:  # noqa: FBT001
    """Return a node from what it says of itself; a later version may say more, or less."""
    text = {field: str(said.get(field, "")) for field in ("instance", "url", "site", "partition")}
    return NodeSeen(node=name, started_ms=int(said.get("started_ms", 0)), active=active, **text)
