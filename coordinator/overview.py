"""One snapshot of what statistics show: heads, lowest gaps and nodes, at one revision."""

from typing import Any, NamedTuple
from urllib.parse import unquote

import orjson

from coordinator.core import head as heads
from coordinator.core.head import Head
from coordinator.core.keys import Keys, number_in
from coordinator.core.marks import decode_mark
from coordinator.core.transaction import KeyValue, Range
from coordinator.store import Store

COUNTERS_PER_READ = 50
GAPS_SEEN = 1_000
"""Lowest gaps of a counter that are looked at for their age."""


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
    """A counter; ``head`` is None before its first number. Gaps are the lowest ones."""

    name: str
    head: Head | None
    gaps: tuple[int, ...]
    oldest_gap_ms: int | None


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

    async def overview(self) -> Overview:
        """Return everything, at one revision."""
        nodes: tuple[NodeSeen, ...] = ()
        seen: list[CounterSeen] = []
        revision = 0
        for at in range(0, len(self.counters), COUNTERS_PER_READ):
            some = self.counters[at : at + COUNTERS_PER_READ]
            ranges = [self._keys.nodes]
            for name in some:
                counter = self._keys.counter(name)
                ranges += [Range(counter.head), counter.gaps(limit=GAPS_SEEN)]
            snapshot = await self._store.read(*ranges, revision=revision)
            revision = revision or snapshot.revision
            nodes = _nodes(self._keys, snapshot.found[0])
            for position, name in enumerate(some):
                head, gaps = snapshot.found[2 * position + 1 : 2 * position + 3]
                seen.append(_counter(name, head, gaps))
        return Overview(tuple(seen), nodes)

    async def nodes(self) -> tuple[NodeSeen, ...]:
        """Return all nodes, by name."""
        return _nodes(self._keys, (await self._store.read(self._keys.nodes)).found[0])

    async def live_urls(self) -> tuple[str, ...]:
        """Return the public addresses of the nodes that live."""
        return tuple(node.url for node in await self.nodes() if node.active)


def _counter(name: str, head: tuple[KeyValue, ...], gaps: tuple[KeyValue, ...]) -> CounterSeen:
    return CounterSeen(
        name,
        heads.decode(head[0].value) if head else None,
        tuple(number_in(kv.key) for kv in gaps),
        min((decode_mark(kv.value).time_ms for kv in gaps), default=None),
    )


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
