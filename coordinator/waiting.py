"""Who waits for an answer of one counter: bounded in number and in time, whatever happens.

Sites share the counter. Each has a line of its own; a batch takes from all lines alike, and a site
may hold only as many places as are still free (dynamic thresholds: Choudhury and Hahne, IEEE/ACM
Transactions on Networking 6(2), 1998). One that floods gets half of the places at most, and there
is always room for another.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile

from coordinator.core.records import Entry
from coordinator.core.requests import AcceptLoss, Ask, Done, Reply, Request
from coordinator.service import Answer, Bounds, Overloaded

SWEEP_S = 0.05
"""How exact deadlines are."""

READERS_MAX = 32
"""How many requests of one site read the ledger at once."""


class Line:
    """One site's share of a counter: who waits in it, who of them is ready to be planned."""

    __slots__ = ("queue", "readers", "waiting")

    def __init__(self) -> None:
        self.waiting = 0
        self.queue: deque[Pending] = deque()
        self.readers = asyncio.Semaphore(READERS_MAX)


class Pending:
    """A request that waits, with its caller's future and the evidence gathered for it.

    ``sent`` while it is in a transaction whose fate is not known yet, ``handed`` while it is in a
    batch handed to another node whose fate is not known yet.
    """

    __slots__ = ("ask", "deadline", "handed", "helper", "line", "reply", "sent", "trouble")

    def __init__(
        self, ask: Ask, line: Line, reply: asyncio.Future[Answer], deadline: float
    ) -> None:
        self.ask = ask
        self.line = line
        self.reply = reply
        self.deadline = deadline
        self.sent = False
        self.handed = False
        self.trouble = ""
        self.helper: asyncio.Task[None] | None = None

    @property
    def in_doubt(self) -> bool:
        """Tell whether it may have been committed, unknown to this node."""
        return self.sent or self.handed


class WaitingRoom:
    """Everyone without an answer, and the queues of those who are ready to be planned.

    ``what_is_certain`` says what a caller is told at its deadline.
    """

    def __init__(self, bounds: Bounds, what_is_certain: Callable[[Pending], Exception]) -> None:
        self._bounds = bounds
        self._what_is_certain = what_is_certain
        self._acceptances: list[Pending] = []
        self._again: list[Pending] = []
        self._lines: dict[str, Line] = {}
        self._turns: deque[Line] = deque()  # whose queue is not empty, the next one first
        self._open: dict[Pending, None] = {}  # by deadline
        self._sweeper: asyncio.TimerHandle | None = None

    def __contains__(self, pending: Pending) -> bool:
        return pending in self._open

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._open))

    @property
    def has_queue(self) -> bool:
        """Tell whether anybody is ready to be planned."""
        return bool(self._turns or self._again or self._acceptances)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nobody waits, and nothing of anybody's is on its way to the store."""
        return all(pending.reply.done() and not pending.in_doubt for pending in self._open)

    @property
    def is_deserted(self) -> bool:
        """Tell whether nobody waits, and whoever was answered has had the time to hear it."""
        return self._sweeper is None

    def check_room(self, request: Request) -> None:
        """Raise Overloaded when too many of the request's site, or of all, wait already."""
        free = self._bounds.queue_max - len(self._open)
        if free > len(self._open):
            return  # no site can hold more than all together
        if free <= 0:
            raise Overloaded(f"{len(self._open)} requests wait already")
        site = request.call.origin.site
        waiting = self._line(site).waiting
        if waiting >= free:
            left = f"the {free} places left are for others"
            raise Overloaded(f"{waiting} requests of {site or 'no site'} wait already; {left}")

    def admit(self, ask: Ask) -> Pending:
        """Let a request in; it is not in a queue yet."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._bounds.deadline_s
        line = self._line(ask.request.call.origin.site)
        pending = Pending(ask, line, loop.create_future(), deadline)
        self._open[pending] = None
        line.waiting += 1
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return pending

    def _line(self, site: str) -> Line:
        line = self._lines.get(site)
        if line is None:
            line = self._lines[site] = Line()
        return line

    def enqueue(self, pending: Pending) -> None:
        """Have a request planned when its turn comes."""
        if type(pending.ask.request) is AcceptLoss and _accepts(pending):
            self._acceptances.append(pending)
            return
        queue = pending.line.queue
        if not queue:
            self._turns.append(pending.line)
        queue.append(pending)

    def take(self, limit: int) -> list[Pending]:
        """Return the requests of the next batch; an operator's acceptance is one by itself."""
        if self._acceptances:
            batch = [self._acceptances.pop(0)]
        else:
            batch, self._again = self._again[:limit], self._again[limit:]
            self._take_alike(batch, limit)
        self.drop_who_left(batch)
        return batch

    def _take_alike(self, batch: list[Pending], limit: int) -> None:
        """Fill the batch from all lines alike; a site's share stands together, so that the ledger
        can write it as one.
        """
        turns = self._turns
        while turns and (room := limit - len(batch)) > 0:
            share = max(1, room // len(turns))
            for _ in range(min(room, len(turns))):
                line = turns.popleft()
                batch += [line.queue.popleft() for _ in range(min(share, len(line.queue)))]
                if line.queue:
                    turns.append(line)

    def put_back(self, batch: list[Pending]) -> None:
        """Have those of a batch who have no answer planned again, before all others."""
        waiting = self.unserved(batch)
        if waiting:
            queue = self._acceptances if _accepts(waiting[0]) else self._again
            queue[:0] = waiting

    def unserved(self, batch: list[Pending]) -> list[Pending]:
        """Return who of a batch has no answer, and is ready to be planned."""
        return [pending for pending in batch if pending in self._open and pending.helper is None]

    def drop_who_left(self, batch: list[Pending]) -> None:
        """Drop those who have been answered already, or whose caller has gone away."""
        gone = [pending for pending in batch if pending.reply.done()]
        for pending in gone:
            self._leave(pending)
        if gone:
            batch[:] = [pending for pending in batch if not pending.reply.done()]

    def _leave(self, pending: Pending) -> None:
        if self._open.pop(pending, pending) is None:  # it was in there
            pending.line.waiting -= 1

    def settle(self, pending: Pending, answer: Answer) -> None:
        """Give an answer."""
        self._leave(pending)
        if not pending.reply.done():
            pending.reply.set_result(answer)

    def fail(self, some: list[Pending], error: Exception) -> None:
        """Tell some of them this error."""
        for pending in some:
            self._leave(pending)
            if not pending.reply.done():
                pending.reply.set_exception(error)
            if pending.helper is not None:
                pending.helper.cancel()

    def give_up(self, some: list[Pending]) -> None:
        """Tell each of them what is certain."""
        for pending in some:
            self.fail([pending], self._what_is_certain(pending))

    def refuse_all(self, error: Exception) -> None:
        """Tell all that nothing was done, but whose request is in doubt or accepts a loss."""
        others = [
            pending
            for pending in self._open
            if not pending.in_doubt and not isinstance(pending.ask.request, AcceptLoss)
        ]
        self.fail(others, error)

    def close(self) -> None:
        """Tell whoever is left what is certain about their request."""
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._expire(before=float("inf"))

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        self._expire(before=loop.time())
        self._forget_who_left()
        self._sweeper = loop.call_later(SWEEP_S, self._sweep) if self._lines else None
        if not self._open:  # the next sweep is the last one, if nobody comes
            self._lines.clear()

    def _expire(self, before: float) -> None:
        late = list(takewhile(lambda pending: pending.deadline <= before, self._open))
        self.give_up(late)

    def _forget_who_left(self) -> None:
        """Make room: nothing is taken out of the queue while a commit is in doubt."""
        gone = [p for p in self._open if p.reply.done() and not p.in_doubt]
        for pending in gone:
            self._leave(pending)
            if pending.helper is not None:
                pending.helper.cancel()
        queues = [self._acceptances, self._again, *(line.queue for line in self._lines.values())]
        if sum(map(len, queues)) > len(self._open):
            for queue in queues:
                here = [pending for pending in queue if not pending.reply.done()]
                queue.clear()
                queue.extend(here)
            self._turns = deque(line for line in self._turns if line.queue)


def _accepts(pending: Pending) -> bool:
    request = pending.ask.request
    return type(request) is AcceptLoss and request.entry > 0  # else it only asks again


def mark_sent(served: Iterable[tuple[Pending, Reply]], entry: Entry | None) -> None:
    """Note which requests are in a transaction that is under way: those that this entry serves."""
    for pending, reply in served:
        pending.sent = entry is not None and isinstance(reply, Done) and reply.entry is entry
