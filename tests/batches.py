"""One batch as a node plans it, on a counter of its own, and what became of it in etcd."""

import asyncio
import uuid
from typing import NamedTuple

from etcd_members import held
from support import until

from coordinator.commit import Overtaken, commit
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.plan import Plan, Rules, plan
from coordinator.core.records import Origin, Part
from coordinator.core.requests import Ask, Call, Instant, Issue
from coordinator.core.state import CounterState
from coordinator.core.transaction import Guard
from coordinator.store import Committed, Store, Unknown

HERE = Origin("site-1", "partition-a", "on-cycle")


class Batch(NamedTuple):
    """The first batch of a counter."""

    keys: CounterKeys
    plan: Plan

    def times_committed(self, url: str) -> int:
        """Return how often it is in this etcd: 0 or 1, whole, and with nothing beside it."""
        found = held(url, self.keys.prefix)
        if not found:
            return 0
        writes = {write.key: write.value for write in self.plan.transaction.writes}
        assert {key: each.value for key, each in found.items()} == writes, "committed in part"
        assert {each.times for each in found.values()} == {1}, "committed more than once"
        return 1


def a_batch(keys: CounterKeys | None = None, name: str = "ours", metadata: str = "") -> Batch:
    """Plan a batch of one number, on a new counter or on a given one that is still empty."""
    if keys is None:
        keys = Keys(f"/{uuid.uuid4().hex}/".encode()).counter("invoice")
    planned = plan(
        CounterState(Head(start=1, next=1)),
        keys,
        Guard(keys.head),
        [Ask(Issue(Call(HERE, "c", 0, metadata=metadata or None)))],
        Instant(1, 1),
        (Part("node-1", name, 1),),
        Rules(),
    )
    return Batch(keys, planned)


def certain(doubt: Unknown) -> None:
    """Take what ``commit`` says of its doubts, where there may be none."""
    raise AssertionError(doubt.why)


class Sending:
    """A batch that is being sent until its fate is certain, as a node does it."""

    def __init__(self, store: Store, batch: Batch) -> None:
        self.doubts: list[str] = []
        sending = commit(store, batch.plan, lambda doubt: self.doubts.append(doubt.why))
        self._task = asyncio.ensure_future(sending)

    async def in_doubt(self) -> str:
        """Return why it is not certain yet, as soon as that is so."""
        await until(lambda: self.doubts or self._task.done(), "the first sending is over")
        if self._task.done():
            raise AssertionError(f"it was certain at once: {self._task.result()}")
        return self.doubts[0]

    async def fate(self) -> Committed | Overtaken:
        """Return how it ended."""
        async with asyncio.timeout(20):
            return await self._task
