"""A sequencer as tests need it: on any store, with a clock that ticks, and its shortest calls."""

import asyncio
from itertools import count

from coordinator.core.forwarding import Report
from coordinator.core.keys import Keys
from coordinator.core.plan import Rules
from coordinator.core.records import Issued, Origin
from coordinator.core.requests import Call, Done, Instant, Issue
from coordinator.core.transaction import Transaction
from coordinator.guests import RunsMet
from coordinator.handing import Company
from coordinator.lanes import Lanes
from coordinator.sequencer import Sequencer
from coordinator.service import Bounds, Node, Watcher
from coordinator.store import NotCommitted, Outcome, Store, Unknown
from coordinator.store.memory import MemoryStore
from coordinator.turn import Contact, Seat
from coordinator.witness import Witness

KEYS = Keys().counter("invoice")
HERE = Origin("site-1", "partition-a", "on-cycle")
CALL = Call(HERE, "c", 0)
QUIET = Watcher(lambda _: None, lambda *_: None, lambda: None, lambda: None)


class Switch:
    """A store that can be exchanged, and told to refuse or to lose replies."""

    def __init__(self, store: MemoryStore) -> None:
        self.store = store
        self.refuses = False
        self.loses_replies = False

    def __getattr__(self, name: str) -> object:
        return getattr(self.store, name)

    async def commit(self, transaction: Transaction) -> Outcome:
        if self.refuses:
            raise NotCommitted("connection refused")
        outcome = await self.store.commit(transaction)
        return Unknown("reply lost") if self.loses_replies else outcome


class NoPeers:
    """For nodes that never lose a compare."""

    async def hand_over(self, holder: Contact, *_: object) -> Report:
        raise AssertionError(f"{holder} has the turn")


def alone(name: str) -> Company:
    """Return the company of a node that never takes a turn."""
    return Company(Seat(Contact(name, name, "", ""), lambda: 0), NoPeers(), RunsMet(), Lanes())


def node(
    store: Store | Switch,
    name: str = "node-1",
    deadline_s: float = 5.0,
    witness: Witness | None = None,
    queue_max: int = 20_000,
) -> Sequencer:
    ticks = count(1)
    serving = Sequencer(
        store,  # type: ignore[arg-type]
        KEYS,
        Node(name, name),
        Rules(),
        Bounds(queue_max, deadline_s),
        lambda: Instant(1_000 * next(ticks), next(ticks)),
        QUIET,
        witness or Witness(),
        count(1).__next__,
        alone(name),
    )
    serving.start()
    return serving


async def take(serving: Sequencer, quantity: int = 1) -> list[int]:
    answer = await serving.submit(Issue(CALL, quantity))
    assert isinstance(answer, Done)
    assert isinstance(answer.record, Issued)
    return answer.record.numbers()


async def until(condition: object, what: str) -> None:
    for _ in range(500):
        if condition():  # type: ignore[operator]
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"not within 5 s: {what}")
