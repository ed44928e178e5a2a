"""Let reservations expire when their time is over, of the counters in this node's memory.

Every node does it, and none needs to know of the others: an expiry is an ordinary request that
settles a reservation, and a reservation is settled once (``core.batch``). Whoever comes second, or
after a confirm, hears how it ended, and that is no error.

A counter is not kept in memory for its open reservations: ten thousand quiet ones may have some
for a week. ``jobs.forgotten`` finds those that no node has in memory once something in them is due.
"""

import asyncio
import logging
from collections.abc import Callable

from coordinator.clock import monotonic_us, now_ms
from coordinator.core.catalogue import Catalogue, GapPolicy, Series, UnknownSeries
from coordinator.core.documents import start_of, type_of
from coordinator.core.holds import Hold
from coordinator.core.records import How, Origin
from coordinator.core.requests import Call, Settle
from coordinator.counters import Counters
from coordinator.faults import CANNOT_READ
from coordinator.registry import Registry
from coordinator.service import Answer, NotServed, OutcomeUnknown

log = logging.getLogger(__name__)

REASON = "its time was over"
USER = "expiry"

LOOK_EVERY_S = 1.0

GRACE_MS = 1_500
"""Nodes' clocks differ: one that is ahead must not be early for who confirms by the clock of
another. Who confirms within this time all the same hears that it has expired."""

AT_ONCE = 100
"""Reservations of one counter in one go: etcd's 128 operations take some forty in a transaction."""

ROUNDS_MAX = 10
"""So many goes for one counter in one pass; then the others have their turn."""

COUNTERS_AT_ONCE = 8
COUNTERS_PER_PASS = 256
TROUBLED_MAX = 8
"""After so many counters have not served, a pass ends: most often it is the store."""

REST_S = 10.0
"""For so long a counter that has not served is left alone."""


class Expiry:
    """Settles what is due. ``may_serve`` tells whether this node has joined its installation."""

    def __init__(
        self, counters: Counters, registry: Registry, may_serve: Callable[[], bool]
    ) -> None:
        self._counters = counters
        self._registry = registry
        self._may_serve = may_serve
        self._resting: dict[str, float] = {}
        self._is_troubled = False

    async def run(self) -> None:
        """Look every second, until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                if self._may_serve():
                    why = await self.expire()
                    self._note_trouble(why)
            except Exception:
                log.exception("expiry failed on an error in this program; it goes on")

    async def expire(self) -> str:
        """Settle what is due in memory; return why some of it did not go now, or nothing."""
        loop_s = asyncio.get_running_loop().time()
        self._resting = {name: s for name, s in self._resting.items() if s > loop_s}
        due_ms = now_ms() - GRACE_MS
        names = [
            name
            for name, sequencer in self._counters.of_documents()
            if name not in self._resting and sequencer.holds.due(due_ms, 1)
        ]
        if not names:
            return ""
        troubles: list[str] = []
        try:
            catalogue = await self._registry.recent()
        except CANNOT_READ as down:
            return str(down)
        gate = asyncio.Semaphore(COUNTERS_AT_ONCE)
        some = names[:COUNTERS_PER_PASS]
        await asyncio.gather(*(self._expire(name, catalogue, gate, troubles) for name in some))
        return troubles[0] if troubles else ""

    async def _expire(
        self, name: str, catalogue: Catalogue, gate: asyncio.Semaphore, troubles: list[str]
    ) -> None:
        async with gate:
            if len(troubles) >= TROUBLED_MAX:
                return
            try:
                await self._expire_of(name, series_of(name, catalogue))
            except (NotServed, OutcomeUnknown, UnknownSeries) as failed:
                troubles.append(f"{name}: {failed!r}")
                self._resting[name] = asyncio.get_running_loop().time() + REST_S

    async def _expire_of(self, name: str, series: Series) -> None:
        # One by itself first. If others were here before, the replica learns of it with that one,
        # and most of the rest is not due any more.
        await self._settle(name, series, 1)
        for _ in range(ROUNDS_MAX):
            if not await self._settle(name, series, AT_ONCE):
                return

    async def _settle(self, name: str, series: Series, limit: int) -> int:
        """Settle some that are due; return how many. Raises NotServed, OutcomeUnknown."""
        sequencer = self._counters.sequencer(name, start_of(series, name))
        due = sequencer.holds.due(now_ms() - GRACE_MS, limit)
        replies: list[asyncio.Future[Answer]] = []
        failed: BaseException | None = None
        for hold in due:
            try:
                replies.append(sequencer.submit(_request(hold, series)))
            except NotServed as refusal:  # too many wait: callers go first
                failed = refusal
                break
        told = await asyncio.gather(*replies, return_exceptions=True)
        failed = next((each for each in told if isinstance(each, BaseException)), failed)
        if failed is not None:
            raise failed
        return len(due)

    def _note_trouble(self, why: str) -> None:
        """Log when trouble begins, and not again until it is over."""
        if why and not self._is_troubled:
            log.info("some reservations expire later: %s", why)
        self._is_troubled = bool(why or self._resting)


def series_of(counter: str, catalogue: Catalogue) -> Series:
    """Return the series that a counter of documents is of. Raises UnknownSeries."""
    return catalogue.of(type_of(counter) or counter)


def _request(hold: Hold, series: Series) -> Settle:
    origin = Origin("", "", series.document_type, USER)
    call = Call(origin, f"expire-{hold.number}", monotonic_us())
    voids = series.gap_policy is GapPolicy.VOID
    return Settle(call, hold.number, hold.held.token, How.EXPIRED, voids, REASON)
