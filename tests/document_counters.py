"""A counter of documents on a store in memory, for tests of the core."""

from typing import Any

from coordinator.core.catalogue import GapPolicy, Series
from coordinator.core.keys import Keys
from coordinator.core.ledger import decode, encode
from coordinator.core.plan import Rules, plan
from coordinator.core.records import How, Latency, Origin, Part
from coordinator.core.requests import (
    Ask,
    Call,
    Instant,
    NeedsEntries,
    NeedsHolder,
    Reserve,
    Settle,
)
from coordinator.core.starter import STARTER
from coordinator.core.templates import writing_of
from coordinator.history import History
from coordinator.replica import Replica
from coordinator.store import Committed
from coordinator.store.memory import MemoryStore
from coordinator.witness import Witness

KEYS = Keys().counter("COR/2026")
COR = STARTER.of("COR")
HERE = Origin("", "", None, "ann")
VALUES = (("YYYY", "2026"),)
PART = Part("node-1", "run-1", 1, Latency())


class Counter:
    """A counter on a store in memory, and a clock that a test turns."""

    def __init__(self, series: Series = COR) -> None:
        self.series = series
        self.store = MemoryStore()
        self.replica = Replica(self.store, KEYS, 1, Witness())
        self.now_ms = 1_000_000
        self.serial = 0

    async def ask(self, *requests: Any) -> list[Any]:
        """Commit these as one batch; evidence is read as the sequencer reads it."""
        asks = [Ask(request) for request in requests]
        for _ in range(5):
            state = await self.replica.state()
            self.serial += 1
            instant, part = Instant(self.now_ms, 0), PART._replace(serial=self.serial)
            planned = plan(state, KEYS, self.replica.guard, asks, instant, (part,), Rules())
            needs = [isinstance(reply, NeedsEntries | NeedsHolder) for reply in planned.replies]
            if not any(needs):
                break
            for at, reply in enumerate(planned.replies):
                if isinstance(reply, NeedsEntries):
                    read = [await self.entry(index) for index in reply.indexes]
                    asks[at] = asks[at]._replace(earlier=tuple(read))
                elif isinstance(reply, NeedsHolder):
                    holder = await History(self.store, KEYS).holder(reply.number)
                    asks[at] = asks[at]._replace(holder=holder)
        outcome = await self.store.commit(planned.transaction)
        assert isinstance(outcome, Committed)
        if planned.entry is not None:
            assert decode(encode(planned.entry)) == planned.entry
            self.replica.advance(planned.entry, planned.after, outcome.revision)
        return list(planned.replies)

    async def entry(self, index: int) -> Any:
        (found,) = (await self.store.read(KEYS.entries(index, 1))).found
        return decode(found[0].value)

    def reserve(self, token: str = "t") -> Reserve:
        writing, kept_s = writing_of(self.series.format, VALUES), self.series.reservation_s
        return Reserve(Call(HERE, "r", 0), writing, kept_s, token)

    def settle(self, number: int, token: str = "t", how: How = How.CONFIRMED) -> Settle:
        voids = self.series.gap_policy is GapPolicy.VOID
        return Settle(Call(HERE, "s", 0), number, token, how, voids, "why")

    async def reloaded(self) -> Any:
        return await Replica(self.store, KEYS, 1, Witness()).state()
