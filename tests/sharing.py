"""Nodes in one process that share a counter, and hand batches to each other on ways of ours."""

import asyncio
import uuid
from collections import Counter, deque
from enum import Enum, auto
from itertools import count
from typing import Any

from coordinator.core import forwarding
from coordinator.core.forwarding import Forward, Report
from coordinator.core.keys import CounterKeys, Keys
from coordinator.core.plan import Rules
from coordinator.core.records import Entry, Issued, Origin
from coordinator.core.requests import Call, Done, Instant, Issue, Release
from coordinator.core.room import Limits
from coordinator.core.transaction import Transaction
from coordinator.guests import RunsMet
from coordinator.handing import Company
from coordinator.history import History
from coordinator.lanes import Lanes
from coordinator.peers import Declined, NoReply, Silent
from coordinator.sequencer import Sequencer
from coordinator.service import Answer, Bounds, Node, NotServed, OutcomeUnknown, Watcher
from coordinator.store import Outcome, Store, Unknown
from coordinator.turn import Contact, Seat
from coordinator.witness import Witness

HERE = Origin("site-1", "partition-a", "on-cycle")
_serials = count(1)


class Fault(Enum):
    """What becomes of the next batch that a node hands over."""

    REQUEST_LOST = auto()
    REPLY_LOST = auto()
    LATE = auto()  # it arrives with ``deliver_late``
    TWICE = auto()  # it arrives once more with ``deliver_late``
    SILENT = auto()
    HELD = auto()  # its reply is lost, and the sender hears of that with ``let_go``


class Way:
    """A node's way to the others; ``faults`` meet its next batches, one each."""

    def __init__(self, town: "Town") -> None:
        self._town = town
        self.faults: deque[Fault] = deque()
        self.is_bad = False
        """Nobody can be reached."""
        self.late: list[tuple[Contact, bytes]] = []
        self.let_go = asyncio.Event()
        self.counts: Counter[str] = Counter()

    async def hand_over(
        self, holder: Contact, keys: CounterKeys, forward: Forward, now: Instant
    ) -> Report:
        fault = self.faults.popleft() if self.faults else None
        content = forwarding.encode(forward, now)
        self.counts["sent"] += 1
        if fault is Fault.SILENT or self.is_bad or holder.node not in self._town.nodes:
            raise Silent("connection refused")
        if fault in {Fault.LATE, Fault.TWICE}:
            self.late.append((holder, content))
        if fault in {Fault.REQUEST_LOST, Fault.LATE}:
            raise NoReply("request lost")
        outcome = await self._deliver(holder, content)
        if fault is Fault.HELD:
            await self.let_go.wait()
        if fault in {Fault.REPLY_LOST, Fault.HELD}:
            raise NoReply("reply lost")
        return forwarding.decode_report(outcome, keys)

    async def _deliver(self, holder: Contact, content: bytes) -> bytes:
        serving = self._town.nodes[holder.node]
        forward = forwarding.decode(content, self._town.now())
        try:
            report = await serving.reception.take_in(forward)
        except NotServed as declined:
            self.counts["declined"] += 1
            raise Declined(str(declined)) from None
        except OutcomeUnknown as unknown:
            self.counts["unknown"] += 1
            raise NoReply(str(unknown)) from None
        self.counts["served"] += 1
        return forwarding.encode_report(report)

    async def deliver_late(self) -> Declined | NoReply | None:
        """Let the oldest late batch arrive; return how it was refused, None when it was served."""
        try:
            await self._deliver(*self.late.pop(0))
        except (Declined, NoReply) as refused:
            return refused
        return None


class Gate:
    """A node's own way to the store; ``outcomes`` stand for those of its next commits."""

    def __init__(self, store: Any) -> None:
        self.store = store
        self.outcomes: list[Exception | Unknown] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.store, name)

    async def commit(self, transaction: Transaction) -> Outcome:
        """Commit; an outcome that is unknown is that of a transaction which was committed."""
        chosen = self.outcomes.pop(0) if self.outcomes else None
        if isinstance(chosen, Exception):
            raise chosen
        outcome: Outcome = await self.store.commit(transaction)
        return chosen or outcome


class Town:
    """The nodes by name, on one store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.keys = Keys(f"/town-{uuid.uuid4().hex[:8]}/".encode()).counter("invoice")
        self.nodes: dict[str, Sequencer] = {}
        self.ways: dict[str, Way] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.ticks = count(1)

    def now(self) -> Instant:
        return Instant(1_000 * next(self.ticks), next(self.ticks))

    async def node(
        self,
        name: str,
        store: Any = None,
        deadline_s: float = 20.0,
        limits: Limits | None = None,
        max_value: int = 2**53 - 1,
        witness: Witness | None = None,
    ) -> Sequencer:
        """Start a node, or a new run of it."""
        run = f"{name}.{next(_serials)}"
        way = self.ways.setdefault(name, Way(self))
        counts = self.counts.setdefault(name, Counter())
        lease = await self.store.grant(60)
        seat = Seat(Contact(name, run, name, run), lambda: lease)

        def committed(entry: Entry, part: int) -> None:
            own = [r for r in entry.records if isinstance(r, Issued) and r.cause.part == part]
            counts["issued"] += sum(record.quantity for record in own)

        def add(what: str) -> None:
            counts[what] += 1

        serving = Sequencer(
            store or self.store,
            self.keys,
            Node(name, run),
            Rules(max_value=max_value, limits=limits or Limits()),
            Bounds(deadline_s=deadline_s),
            self.now,
            Watcher(
                lambda _: None, committed, lambda: add("lost compares"), lambda: add("handed over")
            ),
            witness or Witness(),
            count(1).__next__,
            Company(seat, way, RunsMet(), Lanes()),
        )
        serving.start()
        self.nodes[name] = serving
        return serving

    async def pair(
        self, holder_store: Any = None, other_store: Any = None, **more: Any
    ) -> tuple[Sequencer, Sequencer]:
        """Start two nodes; ``holder`` has the turn, ``other`` knows it. Takes numbers 1 to 4."""
        holder = await self.node("holder", holder_store, **more)
        other = await self.node("other", other_store, **more)
        for serving in (holder, other, holder, other):
            await take(serving)
        assert self.counts["other"]["handed over"] == 1
        self.ways["other"].counts.clear()
        return holder, other

    async def stop(self) -> None:
        await asyncio.gather(*(serving.stop(1) for serving in self.nodes.values()))

    async def check(self, held: list[int], gaps: tuple[int, ...] = ()) -> None:
        """Hold the ledger against the numbers that callers were told, each of them once."""
        verdict = await History(self.store, self.keys).prove(start=1)
        assert verdict.valid, verdict.findings
        assert len(set(held)) == len(held)
        assert set(verdict.gaps) == set(gaps)
        assert set(held) | set(gaps) == set(range(1, verdict.highest + 1))

    async def entries(self) -> list[Entry]:
        page = await History(self.store, self.keys).newest(0, 10_000)
        return sorted((entry for entry, _ in page.entries), key=lambda entry: entry.index)


def call(name: str | None = None, key: str | None = None, payload: str | None = None) -> Call:
    return Call(HERE, name or f"call-{next(_serials)}", 0, key, payload)


async def take(serving: Sequencer, quantity: int = 1, **more: Any) -> list[int]:
    return numbers_in(await ask(serving, Issue(call(**more), quantity)))


async def ask(serving: Sequencer, request: Any) -> Answer:
    async with asyncio.timeout(30):
        return await serving.submit(request)


def numbers_in(answer: Answer) -> list[int]:
    assert isinstance(answer, Done), answer
    assert isinstance(answer.record, Issued)
    return answer.record.numbers()


def release(number: int, **more: Any) -> Release:
    return Release(call(**more), number, "not needed")
