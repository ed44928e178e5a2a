"""Where batches of other nodes come in: looked at, and let wait for the next round."""

import asyncio
from collections.abc import Callable

from coordinator.core.forwarding import Forward, Report
from coordinator.evidence import Evidence
from coordinator.guests import Guests
from coordinator.replica import Replica
from coordinator.service import StoreDown


class Reception:
    """Of one counter. ``why_not`` says why none is taken in just now; ``arrived`` hears of one."""

    def __init__(
        self,
        run: str,
        guests: Guests,
        replica: Replica,
        evidence: Evidence,
        why_not: Callable[[], str],
        arrived: Callable[[], None],
    ) -> None:
        self._run = run
        self._guests = guests
        self._replica = replica
        self._evidence = evidence
        self._why_not = why_not
        self._arrived = arrived
        self._proving = 0

    @property
    def is_busy(self) -> bool:
        """Tell whether something of a batch is being read."""
        return self._proving > 0

    async def take_in(self, forward: Forward) -> Report:
        """Serve a batch. Raises NotServed when nothing was done, or OutcomeUnknown."""
        self._guests.meet(forward.part)
        self._check(forward)
        proven = None
        if self._must_read(forward):
            self._proving += 1
            try:
                proven = await self._evidence.tip_of(forward.seen)
            finally:
                self._proving -= 1
            self._check(forward)
        return await self._admit(forward, proven)

    def take_in_at_once(self, forward: Forward) -> asyncio.Future[Report] | None:
        """Do the same without a wait; None, and nothing is done, when something must be read."""
        if self._must_read(forward):
            return None
        self._guests.meet(forward.part)
        self._check(forward)
        return self._admit(forward, None)

    def _admit(self, forward: Forward, proven: str | None) -> asyncio.Future[Report]:
        reply = self._guests.admit(forward, proven)
        self._arrived()
        return reply

    def _must_read(self, forward: Forward) -> bool:
        """Tell whether the store must say what the hash of an entry is.

        It is believed where this node's own history includes that entry.
        """
        head, seen = self._replica.head, forward.seen
        return head is not None and head.index > seen and self._guests.tip_of(seen, head) is None

    def _check(self, forward: Forward) -> None:
        why_not = self._why_not()
        if forward.part.instance == self._run:
            why_not = "this is a batch of its own"
        if why_not:
            raise StoreDown(why_not)
