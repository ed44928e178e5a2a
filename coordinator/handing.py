"""Whole batches handed to the node that has the turn, and what is open of them.

A batch whose reply was lost stays open: the other node may have committed it, or may still do so.
Its requests are planned again all the same, here or by way of another node, for of all batches of
this run from one place in the ledger on, one at most comes true (``core.forwarding``). The next
entry with a part of this run says which: what it did for the open requests is their answer, and
nothing else that was open will ever be.
"""

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

from coordinator.core.forwarding import ASKS_MAX, Forward, may_be_handed_over
from coordinator.core.keys import CounterKeys
from coordinator.core.records import Entry, Issued, Part, Record, Released, Settled
from coordinator.core.requests import (
    Done,
    Instant,
    NeedsEntries,
    NeedsHolder,
    Release,
    Reply,
    Settle,
)
from coordinator.core.transaction import KeyValue
from coordinator.guests import RunsMet
from coordinator.lanes import Lanes
from coordinator.peers import Declined, NoReply, Peers, Silent
from coordinator.replica import Replica
from coordinator.service import Node
from coordinator.store import Store, StoreError
from coordinator.turn import Contact, Seat, Turn
from coordinator.waiting import Pending

log = logging.getLogger(__name__)


Name = tuple[str, int]
"""What a request and its record share: the correlation, and the number released or settled."""


class Company(NamedTuple):
    """The other nodes, this one's place among them, and what its counters share.

    ``met`` are those who have handed something in for counters that are forgotten by now.
    """

    seat: Seat
    peers: Peers
    met: RunsMet
    lanes: Lanes


class Learned(NamedTuple):
    """What the ledger, or the node with the turn, has told of this run's batches.

    ``entries`` are those with a part of this run, each with the position of that part; ``answers``
    what is certain now for requests. What they lack is asked for by NeedsHolder or NeedsEntries.
    Of those who are ``lost`` it can never be known.
    """

    entries: tuple[tuple[Entry, int], ...] = ()
    answers: tuple[tuple[Pending, Reply], ...] = ()
    lost: tuple[Pending, ...] = ()


class Handing:
    """Of one counter: the turn, and the requests that are in open batches, by their names."""

    def __init__(
        self,
        store: Store,
        keys: CounterKeys,
        node: Node,
        company: Company,
        replica: Replica,
        now: Callable[[], Instant],
    ) -> None:
        self.turn = Turn(store, keys.turn, company.seat)
        self._keys = keys
        self._node = node
        self._peers = company.peers
        self._replica = replica
        self._now = now
        self._open: dict[Name, Pending] = {}
        self._open_since = 0
        """The entry that was the newest when the first of them was handed over."""

    def __bool__(self) -> bool:
        return bool(self._open)

    async def hand_over(self, holder: Contact, part: Part, batch: list[Pending]) -> Learned | None:
        """Have another node commit this batch, and take over what has come of it.

        Returns None when it has not served: then the batch may be open. Raises StoreError.
        """
        seen = self._replica.seen
        forward = Forward(part, *seen, tuple(pending.ask for pending in batch))
        newly = self._note_open(batch, seen.entry)
        try:
            done = await self._peers.hand_over(holder, self._keys, forward, self._now())
        except (Declined, Silent, NoReply) as not_served:
            log.debug("%s: %s did not serve: %s", self._keys.name, holder.node, not_served)
            if not _may_come_true(not_served):
                self._never(newly)
            self.turn.not_served(silent=not isinstance(not_served, Declined))
            return None
        learned = self._learn(self._replica.follow(done.found, self._node.instance))
        if self._others_were_served(learned):
            self.turn.is_shared()
        self._never(newly)  # what was not done then, was not done at all
        more: list[tuple[Pending, Reply]] = [(batch[at], refused) for at, refused in done.refused]
        for at, indexes in done.unproven:
            request = batch[at].ask.request
            needs: NeedsHolder | NeedsEntries = NeedsEntries(indexes)
            if isinstance(request, Release) and not indexes:
                needs = NeedsHolder(request.number)
            more.append((batch[at], needs))
        return Learned(learned.entries, (*learned.answers, *more))

    def _others_were_served(self, learned: Learned) -> bool:
        """Tell whether the newest entry has issued fresh numbers to others than this node."""
        head = self._replica.head
        if head is None or not learned.entries:
            return False
        entry, part = learned.entries[-1]
        own = [r.fresh for r in entry.records if isinstance(r, Issued) and r.cause.part == part]
        return head.next - entry.next_before > sum(own)

    async def catch_up(self, found: tuple[tuple[KeyValue, ...], ...]) -> Learned:
        """Bring the replica up to date; say what became of open batches. Raises StoreError."""
        return self._learn(await self._replica.catch_up(found, self._node.instance))

    async def find_out(self) -> Learned:
        """Read what became of open batches, now that the counter was loaded anew.

        It is read only while somebody still waits, or has left without an answer: then what was
        issued is to be given back. Raises StoreError: nothing may be planned before it is known.
        """
        replies = [pending.reply for pending in self._open.values()]
        if all(reply.done() and not reply.cancelled() for reply in replies):
            return Learned()
        try:
            own, is_known = await self._replica.part_of(self._node.instance, self._open_since)
        except StoreError:
            self._replica.forget()
            raise
        return self._learn([] if own is None else [own], is_whole=is_known)

    def _learn(self, own: list[Entry], *, is_whole: bool = True) -> Learned:
        """Take over entries with a part of this run; others may be missing unless ``is_whole``."""
        entries: list[tuple[Entry, int]] = []
        answers: list[tuple[Pending, Reply]] = []
        for entry in own:
            at = [part.instance for part in entry.parts].index(self._node.instance)
            entries.append((entry, at))
            answers += self._answers_in(entry, at)
            if is_whole:
                self.close()
        return Learned(tuple(entries), tuple(answers), () if is_whole else tuple(self.close()))

    def choose(self, batch: list[Pending]) -> tuple[list[Pending], list[Pending]]:
        """Return who may go in one batch, and who must be served here; the others must wait.

        No two requests of the same name may be open: their answers could not be told apart.
        """
        away: dict[Name, Pending] = {}
        here: list[Pending] = []
        for pending in batch:
            name = _name(pending)
            is_another = self._open.get(name, pending) is not pending
            if is_another or not may_be_handed_over(pending.ask):
                here.append(pending)
            elif len(away) < ASKS_MAX:
                away.setdefault(name, pending)
        return list(away.values()), here

    def _note_open(self, batch: list[Pending], seen: int) -> list[Pending]:
        """Note that a batch is on its way; return those that were not in an open one before."""
        if not self._open:
            self._open_since = seen
        newly = [pending for pending in batch if not pending.handed]
        for pending in newly:
            pending.handed = True
            self._open[_name(pending)] = pending
        return newly

    def _never(self, some: list[Pending]) -> None:
        """Note that the batch of these, and every other that they were in, will never be."""
        for pending in some:
            pending.handed = False
            self._open.pop(_name(pending), None)

    def _answers_in(self, entry: Entry, part: int) -> Iterator[tuple[Pending, Done]]:
        """Return what this part of an entry did for open requests."""
        for record in entry.records:
            if record.cause.part == part:
                pending = self._open.pop(_name_in(record), None)
                if pending is not None:
                    pending.handed = False
                    yield pending, Done(entry, record)

    def close(self) -> list[Pending]:
        """Note that nothing that is still open will ever be; return those requests."""
        rest = list(self._open.values())
        self._never(rest)
        return rest


def _may_come_true(not_served: Exception) -> bool:
    return isinstance(not_served, NoReply)


def _name(pending: Pending) -> Name:
    request = pending.ask.request
    number = request.number if isinstance(request, Release | Settle) else 0
    return request.call.correlation, number


def _name_in(record: Record) -> Name:
    """Return the name of the request that a record is of."""
    number = record.number if isinstance(record, Released | Settled) else 0
    return record.cause.correlation, number
