"""What a plan must know of the ledger before it can decide: read beside the running commits."""

import asyncio
import logging
from collections.abc import Callable

from coordinator.core import ledger
from coordinator.core.keys import CounterKeys
from coordinator.core.requests import NeedsEntries, NeedsHolder
from coordinator.core.transaction import Range
from coordinator.faults import CANNOT_READ
from coordinator.history import History
from coordinator.service import StoreDown
from coordinator.store import Store
from coordinator.waiting import Pending

log = logging.getLogger(__name__)

PAUSE_S = 0.5


class Evidence:
    """Gathers it for requests; ``ready`` takes each of them afterwards, ``fail`` on a bug.

    ``seen`` tells up to which entry this node would notice a store that went back.
    """

    def __init__(
        self,
        store: Store,
        keys: CounterKeys,
        seen: Callable[[], int],
        ready: Callable[[Pending], None],
        fail: Callable[[Pending, Exception], None],
    ) -> None:
        self._store = store
        self._keys = keys
        self._ready = ready
        self._fail = fail
        self._seen = seen
        self.forget()
        self.tasks: set[asyncio.Task[None]] = set()

    def forget(self) -> None:
        """Forget what was read: the store has another history now."""
        self._history = History(self._store, self._keys, lambda index: index <= self._seen())

    async def tip_of(self, index: int) -> str | None:
        """Return the hash of a ledger entry, as the one after it has it; None without one."""
        try:
            (found,) = (await self._store.read(Range(self._keys.entry(index + 1)))).found
            return ledger.decode(found[0].value).previous if found else None
        except CANNOT_READ as down:
            raise StoreDown(f"the ledger cannot be read: {down}") from None

    def gather(self, pending: Pending, needs: NeedsHolder | NeedsEntries) -> None:
        """Begin to read for a request."""
        task = asyncio.create_task(self._read(pending, needs))
        pending.helper = task
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _read(self, pending: Pending, needs: NeedsHolder | NeedsEntries) -> None:
        try:
            async with pending.line.readers:
                match needs:
                    case NeedsHolder(number):
                        holder = await self._history.holder(number)
                        pending.ask = pending.ask._replace(holder=holder)
                    case NeedsEntries(indexes):
                        earlier = await self._history.entries(indexes)
                        pending.ask = pending.ask._replace(earlier=earlier)
            pending.trouble = ""
        except CANNOT_READ as down:  # the plan will ask for it again; the deadline bounds that
            log.warning("%s: the ledger cannot be read: %s", self._keys.name, down)
            pending.trouble = f"the ledger cannot be read: {down}"
            await asyncio.sleep(PAUSE_S)
        except Exception as bug:
            log.exception("%s: a reading failed on an error in this program", self._keys.name)
            pending.helper = None
            self._fail(pending, bug)
        pending.helper = None
        self._ready(pending)
