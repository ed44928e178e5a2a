"""Where batches of other nodes come in: looked at, and let wait for the next round."""

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
        guests, head = self._guests, self._replica.head
        guests.meet(forward.part)
        self._check(forward)
        proven = None
        # What the store says of an entry is believed where this node's own history includes it.
        if head and head.index > forward.seen and guests.tip_of(forward.seen, head) is None:
            self._proving += 1
            try:
                proven = await self._evidence.tip_of(forward.seen)
            finally:
                self._proving -= 1
            self._check(forward)
        reply = guests.admit(forward, proven)
        self._arrived()
        return await reply

    def _check(self, forward: Forward) -> None:
        why_not = self._why_not()
        if forward.part.instance == self._run:
            why_not = "this is a batch of its own"
        if why_not:
            raise StoreDown(why_not)
