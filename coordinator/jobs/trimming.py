"""Let the oldest ledger entries leave etcd, a few at a time, by the node with the role of upkeep.

What they come to stays: the head as it was after the newest of them. It is computed here from the
entries themselves, and written by an ordinary batch that deletes them in the same transaction.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from coordinator.clock import now
from coordinator.core import head as heads
from coordinator.core import ledger
from coordinator.core.head import Head
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.records import Origin
from coordinator.core.requests import Call, Refused, Trim
from coordinator.core.transaction import Range
from coordinator.counters import Counters
from coordinator.faults import CANNOT_READ, EntryMissing
from coordinator.service import NotServed, OutcomeUnknown
from coordinator.store import Store
from coordinator.store.paging import all_of

log = logging.getLogger(__name__)

ENTRIES_AT_ONCE = 500
"""Entries in one trim. etcd deletes them in some milliseconds, and this node reads them before."""

ENTRIES_PAGE = 16
"""Entries in one read: at most one MB each, usually some kB."""

TRIMS_PER_TURN = 100
PAUSE_S = 0.25
LOOK_EVERY_S = 5.0


async def checkpoint_after(store: Store, keys: CounterKeys, start: int, through: int) -> Head:
    """Return the head as it was after entry ``through``. Raises StoreError, Unreadable."""
    (found,) = (await store.read(Range(keys.checkpoint))).found
    head = heads.decode(found[0].value) if found else Head(start=start, next=start)
    entries = Range(keys.entry(head.index + 1), keys.entry(through + 1))
    async for page in all_of(store, entries, page=ENTRIES_PAGE):
        for kv in page:
            entry, tip = ledger.decode(kv.value), ledger.chain(head.tip, kv.value)
            if (entry.index, entry.previous) != (head.index + 1, head.tip):
                raise EntryMissing(f"what follows ledger entry {head.index} is not in the store")
            head = heads.advance(head, entry, tip)
            await asyncio.sleep(0)  # a busy entry takes a millisecond
    if head.index != through:
        raise EntryMissing(f"ledger entry {through} is not in the store")
    return head


class Trimming:
    """Trims the counters of this node's series to the entries that are to be kept."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        start: int,
        entries_kept: int,
        counters: Counters,
        names: tuple[str, ...],
        is_our_role: Callable[[], Awaitable[bool]],
    ) -> None:
        self._store = store
        self._keys = keys
        self._start = start
        self._kept = entries_kept
        self._counters = counters
        self._names = names
        self._is_our_role = is_our_role

    async def run(self) -> None:
        """Trim whenever there is enough, until cancelled."""
        while True:
            try:
                if await self._is_our_role():
                    for name in self._names:
                        await self._trim_some(name)
            except (*CANNOT_READ, NotServed, OutcomeUnknown) as down:
                log.info("trimming is put off: %s", down)
            except Exception:
                log.exception("trimming failed on an error in this program; it goes on")
            await asyncio.sleep(LOOK_EVERY_S)

    async def _trim_some(self, name: str) -> None:
        for _ in range(TRIMS_PER_TURN):
            if not await self.trim(name):
                return
            await asyncio.sleep(PAUSE_S)

    async def trim(self, name: str) -> bool:
        """Trim a counter once, if there is enough to trim. Raises StoreError, NotServed ..."""
        head = await self._counters.history(name).head()
        if head is None or head.index - self._kept - head.trimmed < ENTRIES_AT_ONCE:
            return False
        through = head.trimmed + ENTRIES_AT_ONCE
        keys = self._keys.counter(name)
        checkpoint = await checkpoint_after(self._store, keys, self._start, through)
        call = Call(Origin("", ""), f"trim-{through}", now().monotonic_us)
        answer = await self._counters.sequencer(name).submit(Trim(call, checkpoint))
        log.info("%s: entries up to %d have left the store", name, through)
        return not isinstance(answer, Refused)
