"""The network between the nodes and one true store, and what it does to messages.

A message is delivered to the true store, an in-memory one, at once and as a whole. All trouble is
around that: before, after, twice, late or never. A node sees it through its `Edge`, which is a
store like any other.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Coroutine
from contextvars import copy_context
from enum import StrEnum
from typing import Any, NamedTuple, Protocol

from coordinator.core.transaction import Put, Range, Transaction
from coordinator.store import (
    Conflict,
    NotCommitted,
    Outcome,
    Rejected,
    Snapshot,
    StoreError,
    Unavailable,
    Unknown,
)
from coordinator.store.memory import MemoryStore
from simulation.events import Event, Note, WentBack, Wrote
from simulation.schedule import Schedule
from simulation.virtual_time import Process, at_once

QUICK_S = 0.001
"""One way, when nothing goes wrong any more."""

QUIET_S = 0.5
"""The patience of the nodes with each other then."""


class Fault(StrEnum):
    """What may happen to a message, beside nothing."""

    REFUSED = "refused before it was sent"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    LATE = "delivered late"
    TWICE = "delivered twice"
    FULL = "database space exceeded"
    CUT = "cut off"


class Fate(NamedTuple):
    """What happens to one message: seconds to the store, back, and to a late delivery."""

    fault: Fault | None
    there_s: float
    back_s: float
    late_s: float
    heads: bool
    """A coin: is a loss noticed at once or only by the time, and does a full store write."""


def draw_fate(schedule: Schedule, node: str, serial: int, *, to_a_node: bool = False) -> Fate:
    """Return the fate of a node's message: it depends on nothing else."""
    settings = schedule.settings
    network = settings.between_nodes if to_a_node else settings.network
    fates = f"{schedule.seed} {schedule.variant} {node} {serial}"
    chance = random.Random(fates)  # noqa: S311 - a seed, no secret
    there_s, back_s = (chance.uniform(*network.latency_ms) / 1_000 for _ in range(2))
    late_s = chance.uniform(0, network.late_s_max)
    heads = chance.random() < 0.5  # noqa: PLR2004 - a coin
    rates = {
        Fault.REFUSED: network.refused,
        Fault.REQUEST_LOST: network.request_lost,
        Fault.REPLY_LOST: network.reply_lost,
        Fault.LATE: network.late,
        Fault.TWICE: network.twice,
    }
    drawn = {fault: chance.random() for fault in rates}
    fault = next((fault for fault, rate in rates.items() if drawn[fault] < rate), None)
    return Fate(fault, there_s, back_s, late_s, heads)


class Truth(MemoryStore):
    """The true store. It tells ``observe`` of every revision, and can be copied and put back."""

    def __init__(
        self, now: Callable[[], float], observe: Callable[[Event], None], operations_max: int
    ) -> None:
        super().__init__(now)
        self._observe = observe
        self._operations_max = operations_max
        self._changed: dict[bytes, bytes | None] = {}
        self._backup: dict[str, Any] | None = None
        self.entries = 0
        """The newest ledger entry, and the one of the backup."""
        self._entries_of_backup = 0

    async def commit(self, transaction: Transaction) -> Outcome:
        """Apply the transaction, or not; tell what it changed."""
        if len(transaction.writes) > self._operations_max:
            raise Rejected(f"too many operations in one transaction: {len(transaction.writes)}")
        outcome = await super().commit(transaction)
        self.entries += any(
            isinstance(write, Put) and b"/entry/" in write.key for write in transaction.writes
        ) and not isinstance(outcome, Conflict)
        self._tell()
        return outcome

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key under a lease; tell it."""
        await super().put_alive(key, value, lease)
        self._tell()

    async def revoke(self, lease: int) -> None:
        """End a lease; tell which keys went."""
        await super().revoke(lease)
        self._tell()

    def back_up(self) -> None:
        """Copy all there is."""
        self._entries_of_backup = self.entries
        self._backup = _copy_of(self._state())

    def restore(self, under_way: frozenset[tuple[str, int]]) -> bool:
        """Go back to the backup. False when there is none."""
        if self._backup is None:
            return False
        vars(self).update(_copy_of(self._backup))
        self.entries = self._entries_of_backup
        self._observe(WentBack(self.entries, under_way))
        return True

    def _state(self) -> dict[str, Any]:
        names = ("_revision", "_compacted", "_keys", "_history", "_leases")
        return {name: vars(self)[name] for name in names}

    def _set(self, key: bytes, value: bytes | None) -> None:
        super()._set(key, value)
        self._changed[key] = value

    def _tell(self) -> None:
        if self._changed:
            changes = tuple(sorted(self._changed.items()))  # leases keep their keys in sets
            self._changed = {}
            self._observe(Wrote(self._revision, changes))


def _copy_of(state: dict[str, Any]) -> dict[str, Any]:
    history = {key: list(versions) for key, versions in state["_history"].items()}
    return state | {"_keys": list(state["_keys"]), "_history": history, "_leases": {}}


class PeerNode(Protocol):
    """A node as the other nodes reach it."""

    name: str

    @property
    def run(self) -> str | None:
        """Return the name of its present run; None while it is down."""
        ...

    @property
    def process(self) -> Process:
        """Return the process of that run."""
        ...

    async def take_in(self, content: bytes) -> bytes:
        """Serve a batch."""
        ...


class Network:
    """Carries messages in virtual time. ``faulty`` names those that met a fault, for shrinking."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        schedule: Schedule,
        truth: Truth,
        observe: Callable[[Event], None],
    ) -> None:
        self.truth = truth
        self.counts: Counter[str] = Counter()
        self.faulty: list[tuple[str, int]] = []
        self.is_calm = False
        """No more faults: whatever is sent from now on arrives."""
        self.cut: set[str] = set()
        """Nodes that do not reach the store."""
        self.cut_between: Counter[frozenset[str]] = Counter()
        """Pairs of nodes that do not reach each other, and how often they were cut."""
        self.nodes: dict[str, PeerNode] = {}
        """Who a node reaches at which address."""
        self.guests: dict[str, list[tuple[str, int]]] = {}
        """By node the batches of others that it is serving: run and serial of each."""
        self.guest_came: Callable[[str], None] = lambda _node: None
        """Hears which node has just begun to serve another's batch."""
        self.sent: set[tuple[str, int]] = set()
        self.heard: set[tuple[str, int]] = set()
        """Batches between nodes; those of which the sender has heard that they are served."""
        self.full = 0
        self._loop = loop
        self._schedule = schedule
        self.observe = observe
        self._context = copy_context()
        self._life_of_store = 0
        self.attempt_s = schedule.settings.network.attempt_s

    @property
    def patience_s(self) -> float:
        """Return how long a node waits for another one, as things are now."""
        return QUIET_S if self.is_calm else self._schedule.settings.between_nodes.attempt_s

    def restore(self) -> None:
        """Put the backup in place of the store: all that is under way to it is lost."""
        if self.truth.restore(frozenset(self.sent)):
            self._life_of_store += 1

    def fate_of(self, node: str, serial: int, *, to_a_node: bool = False) -> Fate:
        """Return what is to happen to this message, as things are now."""
        fate = draw_fate(self._schedule, node, serial, to_a_node=to_a_node)
        if self.is_calm:
            return fate._replace(fault=None, there_s=QUICK_S, back_s=QUICK_S)
        chosen = self._schedule.faulty
        if chosen is not None and (node, serial) not in chosen:
            return fate._replace(fault=None)
        if fate.fault is not None:
            self.faulty.append((node, serial))
        return fate

    def later(self, delay_s: float, what: Callable[..., object], *args: Any) -> None:
        """Do something after a delay, whatever becomes of the node that wants it."""
        self._loop.call_later(delay_s, what, *args, context=self._context)

    def are_cut(self, *nodes: str) -> bool:
        """Tell whether two nodes do not reach each other."""
        return self.cut_between[frozenset(nodes)] > 0

    def note(self, text: str) -> None:
        """Write a line into the history."""
        self.observe(Note(text))

    def deliver(
        self,
        name: str,
        node: str,
        life: int,
        work: Callable[[], Coroutine[Any, Any, Any]],
        reply: Callable[[Any], None],
    ) -> None:
        """Hand a message to the store, and its result to ``reply``: a value or an exception."""
        if node in self.cut or life != self._life_of_store:
            self.counts[Fault.CUT] += 1
            self.note(f"{name}: does not arrive")
            return
        try:
            result = at_once(work())
        except StoreError as refusal:
            result = refusal
        self.note(f"{name}: arrives, {type(result).__name__}")
        reply(result)

    @property
    def life_of_store(self) -> int:
        """Return how often the store has been restored."""
        return self._life_of_store


class Edge:
    """A node's way to the store. It outlives the runs of the node, as an address does."""

    def __init__(self, node: str, network: Network) -> None:
        self._node = node
        self._network = network
        self._serial = 0

    async def commit(self, transaction: Transaction) -> Outcome:
        """Send the transaction once."""
        write = "commit" if transaction.writes else "compare"
        message = _Message(self, write, lambda: self._network.truth.commit(transaction))
        message.send(not_sent=NotCommitted, lost=_unknown)
        outcome: Outcome = await message.reply
        self._network.counts["conflicts"] += isinstance(outcome, Conflict)
        return outcome

    async def read(self, *ranges: Range, revision: int = 0) -> Snapshot:
        """Read, linearizably, at the moment when it arrives."""
        snapshot: Snapshot = await self._ask(
            "read", lambda: self._network.truth.read(*ranges, revision=revision)
        )
        return snapshot

    async def put_alive(self, key: bytes, value: bytes, lease: int) -> None:
        """Write a key under a lease."""
        await self._ask("put", lambda: self._network.truth.put_alive(key, value, lease))

    async def grant(self, ttl_s: int) -> int:
        """Return a new lease."""
        return int(await self._ask("grant", lambda: self._network.truth.grant(ttl_s)))

    async def keep_alive(self, lease: int) -> bool:
        """Renew a lease."""
        return bool(await self._ask("renew", lambda: self._network.truth.keep_alive(lease)))

    async def revoke(self, lease: int) -> None:
        """End a lease."""
        await self._ask("revoke", lambda: self._network.truth.revoke(lease))

    async def versions(self) -> dict[str, str]:
        """Return no members."""
        return {}

    async def close(self) -> None:
        """Do nothing."""

    async def _ask(self, what: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
        message = _Message(self, what, work)
        message.send(not_sent=Unavailable, lost=Unavailable)
        return await message.reply

    def next_message(self) -> tuple[str, int, Network]:
        """Return the sender of a new message, its serial and its network."""
        self._serial += 1
        return self._node, self._serial, self._network


def _unknown(why: str) -> Unknown:
    return Unknown(why, needs_operator=why == Fault.FULL)


class _Message:
    """One message on its way to the store, and its reply on the way back."""

    def __init__(self, edge: Edge, what: str, work: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self._node, serial, self._network = edge.next_message()
        self._name = f"{self._node} message {serial}, {what}"
        self._fate = self._network.fate_of(self._node, serial)
        self._life = self._network.life_of_store
        self._work = work
        self._is_commit = what in {"commit", "compare"}
        self.reply: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def send(self, not_sent: Callable[[str], Any], lost: Callable[[str], Any]) -> None:
        network, fate = self._network, self._fate
        fault = fate.fault
        if self._node in network.cut:
            fault = Fault.REFUSED if fate.heads else Fault.CUT
        elif network.full and self._is_commit and not network.is_calm:
            fault = Fault.FULL
        network.counts["messages"] += 1
        if fault is not None:
            network.counts[fault] += 1
        network.note(f"{self._name}: is sent" + (f", to be {fault}" if fault else ""))
        network.later(network.attempt_s, self._settle, lost("no reply in time"))
        if fault is Fault.REFUSED:
            network.later(fate.there_s, self._settle, not_sent("connection refused"))
            return
        if fault not in {Fault.REQUEST_LOST, Fault.LATE, Fault.CUT} and (
            fault is not Fault.FULL or fate.heads
        ):
            answers = fault in {None, Fault.TWICE}
            self._deliver_after(fate.there_s, self._send_back if answers else self._drop)
        if fault in {Fault.LATE, Fault.TWICE}:
            self._deliver_after(fate.there_s + fate.late_s, self._drop)
        if fault is Fault.FULL or (fault not in {None, Fault.TWICE} and fate.heads):
            why = str(fault) if fault is Fault.FULL else "connection reset"
            network.later(fate.there_s + fate.back_s, self._settle, lost(why))

    def _deliver_after(self, delay_s: float, reply: Callable[[Any], None]) -> None:
        deliver = self._network.deliver
        self._network.later(delay_s, deliver, self._name, self._node, self._life, self._work, reply)

    def _send_back(self, result: Any) -> None:
        self._network.later(self._fate.back_s, self._arrive, result)

    def _arrive(self, result: Any) -> None:
        if self._node not in self._network.cut:
            self._settle(result)

    def _drop(self, result: Any) -> None:
        """Lose the reply."""

    def _settle(self, result: Any) -> None:
        if self.reply.done():
            return
        if isinstance(result, Exception):
            self.reply.set_exception(result)
        else:
            self.reply.set_result(result)
