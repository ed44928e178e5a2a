"""Who waits for an answer of one counter: bounded in number and in time, whatever happens."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from itertools import takewhile

from coordinator.core.requests import AcceptLoss, Ask
from coordinator.service import Answer, Bounds, Overloaded

SWEEP_S = 0.05
"""How exact deadlines are."""


class Pending:
    """A request that waits, with its caller's future and the evidence gathered for it.

    ``sent`` while it is in a transaction whose fate is not known yet, ``handed`` while it is in a
    batch handed to another node whose fate is not known yet.
    """

    __slots__ = ("ask", "deadline", "handed", "helper", "reply", "sent", "trouble")

    def __init__(self, ask: Ask, reply: asyncio.Future[Answer], deadline: float) -> None:
        self.ask = ask
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
    """Everyone without an answer, and the queue of those who are ready to be planned.

    ``what_is_certain`` says what a caller is told at its deadline.
    """

    def __init__(self, bounds: Bounds, what_is_certain: Callable[[Pending], Exception]) -> None:
        self._bounds = bounds
        self._what_is_certain = what_is_certain
        self._queue: deque[Pending] = deque()
        self._acceptances: deque[Pending] = deque()
        self._open: dict[Pending, None] = {}  # by deadline
        self._sweeper: asyncio.TimerHandle | None = None

    def __contains__(self, pending: Pending) -> bool:
        return pending in self._open

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._open))

    @property
    def has_queue(self) -> bool:
        """Tell whether anybody is ready to be planned."""
        return bool(self._queue or self._acceptances)

    @property
    def is_quiet(self) -> bool:
        """Tell whether nobody waits, and nothing of anybody's is on its way to the store."""
        return all(pending.reply.done() and not pending.in_doubt for pending in self._open)

    def check_room(self) -> None:
        """Raise Overloaded when too many wait already."""
        if len(self._open) >= self._bounds.queue_max:
            raise Overloaded(f"{self._bounds.queue_max} requests wait already")

    def admit(self, ask: Ask) -> Pending:
        """Let a request in; it is not in the queue yet."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._bounds.deadline_s
        pending = Pending(ask, loop.create_future(), deadline)
        self._open[pending] = None
        if self._sweeper is None:
            self._sweeper = loop.call_later(SWEEP_S, self._sweep)
        return pending

    def enqueue(self, pending: Pending) -> None:
        """Have a request planned when its turn comes."""
        self._queue_of(pending).append(pending)

    def take(self, limit: int) -> list[Pending]:
        """Return the requests of the next batch; an operator's acceptance is one by itself."""
        queue, limit = (self._acceptances, 1) if self._acceptances else (self._queue, limit)
        batch = [queue.popleft() for _ in range(min(limit, len(queue)))]
        self.drop_who_left(batch)
        return batch

    def put_back(self, batch: list[Pending]) -> None:
        """Have requests that were taken together planned again, before all others."""
        if batch:
            self._queue_of(batch[0]).extendleft(reversed(batch))

    def _queue_of(self, pending: Pending) -> deque[Pending]:
        request = pending.ask.request
        accepts = type(request) is AcceptLoss and request.entry > 0  # else it only asks again
        return self._acceptances if accepts else self._queue

    def drop_who_left(self, batch: list[Pending]) -> None:
        """Drop those who have been answered already, or whose caller has gone away."""
        gone = [pending for pending in batch if pending.reply.done()]
        for pending in gone:
            self._open.pop(pending, None)
        if gone:
            batch[:] = [pending for pending in batch if not pending.reply.done()]

    def settle(self, pending: Pending, answer: Answer) -> None:
        """Give an answer."""
        self._open.pop(pending, None)
        if not pending.reply.done():
            pending.reply.set_result(answer)

    def fail(self, some: list[Pending], error: Exception) -> None:
        """Tell some of them this error."""
        for pending in some:
            self._open.pop(pending, None)
            if not pending.reply.done():
                pending.reply.set_exception(error)
            if pending.helper is not None:
                pending.helper.cancel()

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
        self._sweeper = loop.call_later(SWEEP_S, self._sweep) if self._open else None

    def _expire(self, before: float) -> None:
        late = list(takewhile(lambda pending: pending.deadline <= before, self._open))
        for pending in late:
            self.fail([pending], self._what_is_certain(pending))

    def _forget_who_left(self) -> None:
        """Make room: nothing is taken out of the queue while a commit is in doubt."""
        gone = [p for p in self._open if p.reply.done() and not p.in_doubt]
        for pending in gone:
            self._open.pop(pending, None)
            if pending.helper is not None:
                pending.helper.cancel()
        if len(self._queue) + len(self._acceptances) > len(self._open):
            self._queue = deque(p for p in self._queue if not p.reply.done())
            self._acceptances = deque(p for p in self._acceptances if not p.reply.done())
