"""Find reservations that are due in counters which no node has in memory, and count the open ones.

One node at a time walks through the counters of documents in the store. It only finds: a counter
with a reservation that is due is loaded and brought up to date here, and ``jobs.expiry`` does the
rest. When that node dies, another one has its role within two minutes. Until then nothing is wrong:
who confirms too late hears that the reservation has expired, whether or not somebody noted it.
"""

import asyncio
import logging
from collections.abc import Callable

from coordinator.clock import now_ms
from coordinator.core import head as heads
from coordinator.core.catalogue import Catalogue, UnknownSeries
from coordinator.core.documents import COUNTERS, INVOICE, start_of, type_of
from coordinator.core.holds import decode_holds
from coordinator.core.keys import Keys
from coordinator.core.transaction import KeyValue, Range
from coordinator.core.unreadable import Unreadable
from coordinator.counters import Counters
from coordinator.faults import CANNOT_READ
from coordinator.jobs.expiry import GRACE_MS, series_of
from coordinator.jobs.role import Role
from coordinator.metrics import Reserved
from coordinator.registry import Registry
from coordinator.store import Store
from coordinator.store.paging import all_of

log = logging.getLogger(__name__)

LOOK_EVERY_S = 30.0
PAUSE_S = 0.005
"""After each read: at most 200 a second, and ten thousand counters in a minute or so."""

ROLE_MS = 60_000
RENEW_S = 15.0

BLOCKS_PAGE = 100
"""Blocks of open reservations in one read: some kB each."""


class Search:
    """Searches while it has the role. ``may_serve`` tells whether this node has joined.

    ``report`` takes what there is by document type, and nothing while another node has the role.
    """

    def __init__(
        self,
        store: Store,
        keys: Keys,
        node: str,
        counters: Counters,
        registry: Registry,
        may_serve: Callable[[], bool],
        report: Callable[[dict[str, Reserved]], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._role = Role(store, keys.expiry, node, ROLE_MS)
        self._counters = counters
        self._registry = registry
        self._may_serve = may_serve
        self._report = report

    async def run(self) -> None:
        """Search every half minute while this node has the role, until cancelled."""
        while True:
            try:
                if self._may_serve():
                    is_ours = await self._role.is_ours()
                    self._report(await self.search() if is_ours else {})
            except CANNOT_READ as down:
                self._report({})
                log.info("looking for expired reservations is put off: %s", down)
            except Exception:
                log.exception("the search failed on an error in this program; it goes on")
            await asyncio.sleep(LOOK_EVERY_S)

    async def search(self) -> dict[str, Reserved]:
        """Go through all counters once; have those loaded where something is due.

        Returns what was counted, by document type. Raises StoreError, Unreadable.
        """
        loop = asyncio.get_running_loop()
        catalogue = await self._registry.recent()
        rest = self._keys.counters_in(COUNTERS)._replace(limit=1, keys_only=True)
        counted: dict[str, Reserved] = {}
        renew_s = loop.time() + RENEW_S
        next_key, invoices = (
            await self._store.read(rest, Range(self._keys.counter(INVOICE).head))
        ).found
        if invoices:
            counted[INVOICE] = await self._look_at(INVOICE, invoices[0], catalogue)
        while next_key:
            name = self._keys.counter_of(next_key[0].key)
            rest = rest._replace(start=self._keys.after_counter_of(next_key[0].key))
            head = Range(self._keys.counter(name).head)
            next_key, found = (await self._store.read(rest, head)).found
            if found:
                seen = await self._look_at(name, found[0], catalogue)
                kind = type_of(name) or name
                counted[kind] = counted.get(kind, Reserved()).plus(seen)
            await asyncio.sleep(PAUSE_S)
            if loop.time() > renew_s:
                renew_s = loop.time() + RENEW_S
                if not await self._role.is_ours():
                    return {}
        return counted

    async def _look_at(self, name: str, found: KeyValue, catalogue: Catalogue) -> Reserved:
        """Have a counter loaded if something in it is due; return what its head counts."""
        try:
            head = heads.decode(found.value)
            if head.held and await self._has_due(name):
                start = start_of(series_of(name, catalogue), name)
                # Also one that is loaded may not know of what others have reserved: it learns it.
                self._counters.sequencer(name, start).probe()
        except UnknownSeries:
            log.warning("%s has reservations, and no series: its definition is lost", name)
        except Unreadable as broken:  # others go on
            log.warning("%s: its reservations cannot be read: %s", name, broken)
            return Reserved()
        return Reserved(head.held, head.void)

    async def _has_due(self, name: str) -> bool:
        due_ms = now_ms() - GRACE_MS
        held = self._keys.counter(name).all_held()
        async for page in all_of(self._store, held, page=BLOCKS_PAGE):
            for kv in page:
                if any(hold.held.until_ms <= due_ms for hold in decode_holds(kv.value)):
                    return True
            await asyncio.sleep(PAUSE_S)
        return False
