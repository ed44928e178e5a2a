"""One queue for each counter: requests that wait while a commit is under way form the next batch.

No timer: an idle counter commits a request at once, a busy one fills its batches by itself. One
task serves one counter, so that a batch is planned on the outcome of the one before.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from math import inf

from coordinator.commit import Overtaken, commit
from coordinator.core.keys import CounterKeys
from coordinator.core.ledger import Latency, LossAccepted
from coordinator.core.plan import Author, Plan, Rules, plan
from coordinator.core.requests import (
    AcceptLoss,
    Ask,
    Done,
    Instant,
    NeedsEntries,
    NeedsHolder,
    Release,
    Reply,
    Request,
)
from coordinator.core.state import CounterState
from coordinator.faults import CANNOT_READ, Rewound
from coordinator.history import History
from coordinator.lanes import Lanes
from coordinator.replica import Replica
from coordinator.service import (
    Answer,
    Bounds,
    Node,
    OutcomeUnknown,
    StoreDown,
    TooLate,
    Watcher,
)
from coordinator.store import (
    Committed,
    NotCommitted,
    Rejected,
    Store,
    StoreError,
    Unknown,
)
from coordinator.trouble import Trouble
from coordinator.unheard import Unheard
from coordinator.waiting import SWEEP_S, Pending, WaitingRoom
from coordinator.witness import Witness

log = logging.getLogger(__name__)

PAUSE_FIRST_S = 0.02
PAUSE_LONGEST_S = 0.5


def _not_sent(served: list[Pending]) -> None:
    for pending in served:
        pending.sent = False


class Sequencer:
    """Serves one counter, from ``start`` to ``stop``."""

    def __init__(
        self,
        store: Store,
        keys: CounterKeys,
        node: Node,
        rules: Rules,
        bounds: Bounds,
        now: Callable[[], Instant],
        watcher: Watcher,
        witness: Witness,
        new_batch: Callable[[], str] = lambda: secrets.token_hex(6),
        lanes: Lanes | None = None,
    ) -> None:
        self._store = store
        self._keys = keys
        self._node = node
        self._rules = rules
        self._now = now
        self._watcher = watcher
        self._new_batch = new_batch
        self._lanes = lanes or Lanes()
        self._replica = Replica(store, keys, rules.start, witness)
        self._history = History(store, keys)
        self._room = WaitingRoom(bounds, self._what_is_certain)
        self._work = asyncio.Event()
        self._latency = Latency()
        self._helpers: set[asyncio.Task[None]] = set()
        self._unheard = Unheard(lambda ask: self._admit(ask).reply, now)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._one_by_one = 0
        self._probes = False
        self._trouble = Trouble(keys.name)

    def start(self) -> None:
        """Begin to serve."""
        self._task = asyncio.create_task(self._run(), name=f"sequencer {self._keys.prefix!r}")

    def probe(self) -> None:
        """Find out whether the counter can be served, without a request."""
        self._probes = True
        self._work.set()

    def submit(self, request: Request) -> asyncio.Future[Answer]:
        """Queue a request; the future brings its answer, or NotServed, or OutcomeUnknown.

        Raises at once Overloaded when too many wait already, StoreDown when waiting cannot help.
        """
        if self._stopping:
            raise StoreDown("this node is stopping; ask another one")
        if self._trouble.needs_person:
            raise StoreDown(self.trouble)
        self._room.check_room(request)
        return self._admit(Ask(request)).reply

    def caller_left(self, request: Request, reply: asyncio.Future[Answer]) -> None:
        """Hear that nobody will read this reply. Numbers that it brought are given back.

        A reply that has not come yet must have been cancelled.
        """
        if reply.done() and not reply.cancelled() and reply.exception() is None:
            self._unheard.add(request, reply.result())

    def accept_loss(self, request: AcceptLoss) -> asyncio.Future[Answer]:
        """Serve again from a store that has gone back, and note in the ledger who accepted it.

        The future brings what that of ``submit`` brings. Raises Overloaded.
        """
        self._room.check_room(request)
        return self._admit(Ask(request)).reply

    @property
    def trouble(self) -> str:
        """Return why nothing can be committed just now; empty when all is well."""
        return self._trouble.why

    @property
    def rewound(self) -> Rewound | None:
        """Return how the store went back, while this node refuses to serve for that."""
        return self._trouble.rewound

    @property
    def is_idle(self) -> bool:
        """Tell whether all is done and well: nobody waits, nothing is in flight or in doubt, no
        number is to be given back, no trouble has to be remembered.
        """
        return not self._work.is_set() and self._room.is_deserted and not self._unheard.is_busy

    def retire(self) -> None:
        """End at once, when it is idle; it must not be used again.

        Its parts know it and it knows them: they are let go here, or their memory would come free
        only with a full garbage collection, minutes later.
        """
        if self._task is not None:
            self._task.cancel()
        del self._task, self._room, self._unheard

    def _admit(self, ask: Ask) -> Pending:
        pending = self._room.admit(ask)
        if isinstance(ask.request, Release) and ask.holder is None:  # who holds it decides
            self._gather(pending, NeedsHolder(ask.request.number))
        else:
            self._enqueue(pending)
        return pending

    async def stop(self, grace_s: float) -> None:
        """Serve what waits, for so long at most; then tell the rest that it was not served."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace_s
        while loop.time() < ends and (self._unheard.is_busy or not self._room.is_quiet):
            await asyncio.sleep(SWEEP_S)
        tasks = [task for task in (self._task, *self._helpers) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._unheard.abandon(), return_exceptions=True)
        self._room.close()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        pause_s, served_s = PAUSE_FIRST_S, -inf
        while True:
            await self._work.wait()
            batch: list[Pending] = []
            try:
                async with self._lanes.lane(loop.time() - served_s):  # nothing is planned before
                    batch = self._take()
                    if batch or self.trouble or self._probes:  # an empty batch only probes
                        self._probes = False
                        await self._serve(batch)
                        self._trouble.over()
                pause_s, served_s = PAUSE_FIRST_S, loop.time()
            except Rejected as refusal:
                self._trouble.failed(refusal, "etcd will never take this transaction: ")
                self._room.fail(batch, StoreDown(self.trouble))
            except StoreError as down:
                self._give_up_what_is_in_doubt(batch, str(down))
                self._trouble.failed(down)
                self._refuse_who_waits()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)
            except Exception as bug:
                log.exception("%s: a batch failed on an error in this program", self._keys.name)
                self._replica.forget()
                self._give_up_what_is_in_doubt(batch, self.trouble)
                if len(batch) == 1:
                    self._room.fail(batch, bug)
                    batch.clear()
                self._one_by_one = len(batch)  # so that only the one that cannot be served fails
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)
            self._put_back(batch)

    def _take(self) -> list[Pending]:
        """Return the requests of the next batch."""
        if self._one_by_one:
            self._one_by_one -= 1
            return self._room.take(1)
        return self._room.take(self._rules.limits.requests)

    async def _serve(self, batch: list[Pending]) -> None:
        """Plan and commit once; whoever has no answer yet is left in ``batch``.

        When it raises, those whose commit is in doubt are still marked as ``sent``.
        """
        accepted = ""
        if batch and isinstance(batch[0].ask.request, AcceptLoss) and batch[0].ask.request.entry:
            accepted = batch[0].ask.request.tip
            # What was to be given back was issued by entries that are lost.
            await asyncio.gather(*self._unheard.abandon(), return_exceptions=True)
        is_noted = False
        try:
            is_noted = await self._serve_on(await self._replica.state(accepted), batch, accepted)
        finally:
            if accepted and not is_noted:
                self._replica.forget()
            elif accepted:  # what was read of the lost entries is no longer so
                self._history = History(self._store, self._keys)

    async def _serve_on(self, state: CounterState, batch: list[Pending], accepted: str) -> bool:
        """Serve on this state; return whether the ledger notes that ``accepted`` may be lost."""
        # Whoever was given up while the state was loading has been told that nothing is allocated.
        self._room.drop_who_left(batch)
        author = Author(*self._node, self._new_batch(), self._latency)
        asks = [pending.ask for pending in batch]
        guard = self._replica.guard
        planned = plan(state, self._keys, guard, asks, self._now(), author, self._rules)
        served = batch[: len(planned.replies)]
        for pending, reply in zip(served, planned.replies, strict=True):
            pending.sent = isinstance(reply, Done) and reply.entry is planned.entry
        try:
            fate = await commit(self._store, planned, self._in_doubt)
        except (NotCommitted, Rejected):
            _not_sent(served)
            raise
        is_committed = isinstance(fate, Committed) or fate.ours
        is_noted = is_committed and bool(served) and _notes_loss(planned.replies[0], accepted)
        # What is committed is answered first: no later trouble may put it into the queue again.
        if is_committed:
            del batch[: len(served)]
            self._answer(served, planned)
        _not_sent(served)
        match fate:
            case Committed(revision):
                if planned.entry is not None:
                    self._replica.advance(planned.entry, planned.after, revision)
                elif is_noted:  # by another node, or before this one was started again
                    self._replica.note()
            case Overtaken(found):
                self._watcher.lost_compare()
                if is_noted or not accepted:
                    await self._replica.catch_up(found)
        return is_noted

    def _answer(self, served: list[Pending], planned: Plan) -> None:
        now_us = self._now().monotonic_us
        waits: list[int] = []
        for pending, reply in zip(served, planned.replies, strict=True):
            if isinstance(reply, NeedsHolder | NeedsEntries):
                self._gather(pending, reply)
                continue
            if pending.reply.cancelled():
                self._unheard.add(pending.ask.request, reply)
            self._room.settle(pending, reply)
            waits.append(now_us - pending.ask.request.call.arrived_us)
        if planned.entry is not None:
            self._latency = Latency()
            self._watcher.committed(planned.entry)
        if waits:
            before = self._latency
            self._latency = Latency(
                before.answers + len(waits),
                before.total_us + sum(waits),
                max(before.peak_us, *waits),
            )
            self._watcher.answered(waits)

    def _enqueue(self, pending: Pending) -> None:
        self._room.enqueue(pending)
        self._work.set()

    def _put_back(self, batch: list[Pending]) -> None:
        self._room.put_back(batch)
        if not (self._room.has_queue or self.trouble or self._probes):
            self._work.clear()

    def _give_up_what_is_in_doubt(self, batch: list[Pending], why: str) -> None:
        """Tell whoever is still marked as sent that it is not known: never to be planned anew."""
        in_doubt = [pending for pending in batch if pending.sent]
        self._room.fail(in_doubt, OutcomeUnknown(f"its commit is in doubt: {why}"))
        batch[:] = [pending for pending in batch if not pending.sent]

    def _gather(self, pending: Pending, needs: NeedsHolder | NeedsEntries) -> None:
        task = asyncio.create_task(self._read_first(pending, needs))
        pending.helper = task
        self._helpers.add(task)
        task.add_done_callback(self._helpers.discard)

    async def _read_first(self, pending: Pending, needs: NeedsHolder | NeedsEntries) -> None:
        """Read what the plan needs to know of the ledger, then hand the request in again."""
        try:
            async with pending.line.readers:
                match needs:
                    case NeedsHolder(number):
                        holder = await self._history.holder(number)
                        pending.ask = pending.ask._replace(holder=holder)
                    case NeedsEntries(indexes):
                        earlier = await self._history.entries(indexes)
                        pending.ask = pending.ask._replace(earlier=earlier)
            pending.trouble = ""
        except CANNOT_READ as down:  # the plan will ask for it again; the deadline bounds that
            log.warning("%s: the ledger cannot be read: %s", self._keys.name, down)
            pending.trouble = f"the ledger cannot be read: {down}"
            await asyncio.sleep(PAUSE_LONGEST_S)
        except Exception as bug:
            log.exception("%s: a reading failed on an error in this program", self._keys.name)
            pending.helper = None
            self._room.fail([pending], bug)
        pending.helper = None
        if pending in self._room:
            self._enqueue(pending)

    def _in_doubt(self, doubt: Unknown) -> None:
        self._trouble.doubt(doubt, asyncio.get_running_loop().time())
        self._refuse_who_waits()

    def _refuse_who_waits(self) -> None:
        """Let nobody wait for what a person must end; but for the one who ends it."""
        if self._trouble.needs_person:
            others = [
                pending
                for pending in self._room
                if not pending.sent and not isinstance(pending.ask.request, AcceptLoss)
            ]
            self._room.fail(others, StoreDown(self._trouble.why))

    def _what_is_certain(self, pending: Pending) -> Exception:
        """Return what to tell a caller whose deadline has passed."""
        if pending.sent:
            return OutcomeUnknown("the commit was still in doubt at the deadline")
        trouble = pending.trouble or self.trouble
        return StoreDown(trouble) if trouble else TooLate("other requests took the time")


def _notes_loss(reply: Reply, accepted: str) -> bool:
    """Tell whether this reply is from the ledger's note that the accepted entry may be lost."""
    record = reply.record if isinstance(reply, Done) else None
    return isinstance(record, LossAccepted) and record.tip == accepted
