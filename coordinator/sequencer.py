"""One queue for each counter: requests that wait while a commit is under way form the next batch.

One task serves one counter, so a batch is planned on the outcome of the one before. An idle counter
commits at once; a busy one waits only for those just answered (``coordinator.expected``). While
another node has the turn, batches are handed to it (``coordinator.turn``).
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from math import inf

from coordinator.commit import Overtaken
from coordinator.committer import Committer, Sheet
from coordinator.core.holds import Holds
from coordinator.core.keys import CounterKeys
from coordinator.core.outcomes import answered_before
from coordinator.core.plan import Rules
from coordinator.core.records import Part
from coordinator.core.requests import (
    AcceptLoss,
    Ask,
    Instant,
    NeedsEntries,
    NeedsHolder,
    Refused,
    Release,
    Reply,
    Request,
)
from coordinator.core.state import CounterState
from coordinator.evidence import Evidence
from coordinator.expected import Expected
from coordinator.faults import Rewound
from coordinator.handing import Company, Handing, Learned
from coordinator.reception import Reception
from coordinator.replica import Replica
from coordinator.service import (
    Answer,
    AnswerTimes,
    Bounds,
    Node,
    OutcomeUnknown,
    StoreDown,
    Watcher,
)
from coordinator.store import Committed, NotCommitted, Rejected, Store, StoreError, Unknown
from coordinator.trouble import Trouble
from coordinator.turn import Contact
from coordinator.unheard import Unheard
from coordinator.waiting import SWEEP_S, Pending, WaitingRoom, mark_sent
from coordinator.witness import Witness

log = logging.getLogger(__name__)

PAUSE_FIRST_S = 0.02
PAUSE_LONGEST_S = 0.5


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
        next_serial: Callable[[], int],
        company: Company,
    ) -> None:
        self._keys = keys
        self._node = node
        self._rules = rules
        self._now = now
        self._watcher = watcher
        self._next_serial = next_serial
        self._trouble = Trouble(keys.name)
        self._lanes = company.lanes
        self._served_s = -inf
        self._replica = Replica(store, keys, rules.start, witness)
        self._room = WaitingRoom(bounds, self._trouble.certain)
        seen, fail = lambda: self._replica.seen.entry, lambda p, bug: self._room.fail([p], bug)
        self._evidence = Evidence(store, keys, seen, self._enqueue, fail)
        self._committer = Committer(
            store, keys, rules, self._replica, now, self._in_doubt, company.met
        )
        self._handing = Handing(store, keys, node, company, self._replica, now)
        self._expected = Expected()
        self._work = asyncio.Event()
        self._times = AnswerTimes(watcher)
        self.reception = Reception(  # where batches of other nodes come in
            *(node.instance, self._committer.guests, self._replica, self._evidence),
            *(self._why_not_for_others, self._somebody_came),
        )
        self._unheard = Unheard(lambda ask: self._admit(ask).reply, now)
        self._task: asyncio.Task[None] | None = None
        self._stopping = False
        self._one_by_one = 0
        self._probes = False

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

    def _why_not_for_others(self) -> str:
        if self._stopping:
            return "this node is stopping"
        return self.trouble or ("another node has the turn" if self._handing.turn.holder else "")

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
    def holds(self) -> Holds:
        """Return the open reservations of the replica in memory; others may have settled some."""
        return self._replica.holds

    @property
    def is_idle(self) -> bool:
        """Tell whether all is well, and nobody waits, nor for a number to be given back."""
        busy = self._work.is_set() or self._unheard.is_busy or self.reception.is_busy
        return self._room.is_deserted and not (busy or self._handing)

    def retire(self) -> None:
        """End at once, when it is idle; it must not be used again.

        It lets go of its parts, which know it in turn: no garbage collection need find them.
        """
        self._committer.guests.retire()
        if self._task is not None:
            self._task.cancel()
        vars(self).clear()

    def _admit(self, ask: Ask) -> Pending:
        pending = self._room.admit(ask)
        if isinstance(ask.request, Release) and ask.holder is None:  # who holds it decides
            self._evidence.gather(pending, NeedsHolder(ask.request.number))
        else:
            self._room.enqueue(pending)
            self._somebody_came()
        return pending

    async def stop(self, grace_s: float) -> None:
        """Serve what waits, for so long at most; then tell the rest that it was not served."""
        self._stopping = True
        loop = asyncio.get_running_loop()
        ends = loop.time() + grace_s
        while loop.time() < ends and (
            self._unheard.is_busy or not self._room.is_quiet or self._committer.has_guests
        ):
            await asyncio.sleep(SWEEP_S)
        tasks = [task for task in (self._task, *self._evidence.tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._unheard.abandon(), return_exceptions=True)
        self._committer.guests.decline_all("this node is stopping")
        self._room.close()

    async def _run(self) -> None:
        pause_s = PAUSE_FIRST_S
        while True:
            await self._work.wait()
            await self._expected.wait()
            batch = self._take()
            try:
                # An empty batch only probes.
                if batch or self._committer.guests or self.trouble or self._probes:
                    self._probes = False
                    if await self._serve(batch):
                        self._trouble.over()
                pause_s = PAUSE_FIRST_S
            except Rejected as refusal:
                self._trouble.failed(refusal, "etcd will never take this transaction: ")
                self._room.give_up(batch)
            except StoreError as down:
                in_doubt = [pending for pending in batch if pending.sent]
                self._room.fail(in_doubt, OutcomeUnknown(f"in doubt: {down}"))
                self._committer.guests.decline_all(str(down))
                self._trouble.failed(down)
                self._refuse_who_waits()
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)
            except Exception as bug:
                log.exception("%s: a batch failed on an error in this program", self._keys.name)
                self._replica.forget()
                self._room.give_up([pending for pending in batch if pending.in_doubt])
                waiting = self._room.unserved(batch)
                if len(waiting) == 1:
                    self._room.fail(waiting, bug)
                self._one_by_one = len(waiting)  # so that only who cannot be served fails
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_LONGEST_S)
            self._put_back(batch)
            del batch  # while nobody asks, nobody's request is kept

    def _take(self) -> list[Pending]:
        """Return the requests of the next batch."""
        if self._one_by_one:
            self._one_by_one -= 1
            return self._room.take(1)
        return self._room.take(self._rules.limits.requests)

    async def _serve(self, batch: list[Pending]) -> bool:
        """Plan and commit once, or hand over; some of the batch may have no answer afterwards.

        Returns whether the store was asked. When it raises, who may be committed is in doubt.
        """
        accepted = ""
        if batch and isinstance(batch[0].ask.request, AcceptLoss) and batch[0].ask.request.entry:
            accepted = batch[0].ask.request.tip
            # What was to be given back was issued by entries that are lost.
            await asyncio.gather(*self._unheard.abandon(), return_exceptions=True)
        is_noted = False
        try:
            holder = self._handing.turn.holder
            if holder is not None and batch and not accepted:
                self._committer.guests.decline_all(f"{holder.node} has the turn")
                batch = await self._serve_by(holder, batch)
                if not batch:
                    return False
            async with self._lanes.lane(self._served_s):
                state = await self._state(accepted)
                # Who was given up meanwhile has been told: nothing is allocated.
                self._room.drop_who_left(batch)
                is_noted = await self._commit(state, batch, accepted)
                self._served_s = asyncio.get_running_loop().time()
            return True
        finally:
            if accepted and not is_noted:
                self._replica.forget()
            elif accepted:  # what was read of the lost entries is no longer so
                self._evidence.forget()

    async def _state(self, accepted: str) -> CounterState:
        """Return the counter's state; having loaded it anew, learn what was missed meanwhile."""
        was_loaded = self._replica.head is not None
        state = await self._replica.state(accepted)
        if self._handing and not was_loaded:
            self._learn(await self._handing.find_out())
        return state

    async def _commit(self, state: CounterState, batch: list[Pending], accepted: str = "") -> bool:
        """Serve own requests and guests'. True: the ledger notes now that ``accepted`` is lost."""
        part = Part(*self._node, self._next_serial(), self._times.since)
        sheet = self._committer.plan(state, [pending.ask for pending in batch], part)
        entry = sheet.planned.entry
        served = list(zip(batch, sheet.replies, strict=False))
        mark_sent(served, entry)
        try:
            fate = await self._committer.send(sheet)
        except (NotCommitted, Rejected):
            mark_sent(served, None)
            raise
        is_committed = isinstance(fate, Committed) or fate.ours
        is_noted = is_committed and sheet.notes_loss(accepted)
        try:
            if is_committed:
                self._take_over(sheet, fate, is_seen=is_noted or not accepted)
        finally:  # what is committed is answered: no trouble may put it into the queue again
            if is_committed:
                self._answer(served)
            mark_sent(served, None)
        match fate:
            case Committed():
                nodes = self._committer.nodes_back_soon(sheet)
                others = len(sheet.planned.replies) - len(served)
                self._expected.after_own_round(len(served), nodes, others)
                if entry is None and is_noted:  # by another node, or an earlier run of this one
                    self._replica.note(state.head)
            case Overtaken(found, ours):
                self._committer.overtaken(sheet, fate)
                if is_noted or not accepted:
                    self._learn(await self._handing.catch_up(found))
                if not ours:
                    self._watcher.lost_compare()
                    await self._handing.turn.lost_compare(found[2])
        return is_noted

    def _take_over(self, sheet: Sheet, fate: Committed | Overtaken, *, is_seen: bool) -> None:
        """Note what was committed, and tell other nodes: their callers are further away."""
        if sheet.planned.entry is not None:
            self._times.committed(sheet.planned.entry, 0)
            self._handing.close()
            if is_seen:  # whatever is answered now must count as seen
                self._replica.note(sheet.planned.after)
        if isinstance(fate, Committed):
            self._committer.committed(sheet, fate.revision)

    async def _serve_by(self, holder: Contact, batch: list[Pending]) -> list[Pending]:
        """Have the node with the turn serve what it can; return who must be served here."""
        for pending in batch:
            fact = answered_before(pending.ask)
            if fact is not None:
                self._answer([(pending, fact)])
        away, here = self._handing.choose(self._room.unserved(batch))
        if away:
            part = Part(*self._node, self._next_serial(), self._times.since)
            learned = await self._handing.hand_over(holder, part, away)
            if learned is not None:
                self._watcher.handed_over()
                self._learn(learned)
                self._expected.after_round_elsewhere(len(away))
        return here

    def _learn(self, learned: Learned) -> None:
        """Take over what has become of batches that were handed over."""
        for entry, part in learned.entries:
            self._times.committed(entry, part)
        self._answer(learned.answers)
        self._room.fail(list(learned.lost), OutcomeUnknown("what tells it has left the store"))

    def _answer(self, answers: Iterable[tuple[Pending, Reply]]) -> None:
        """Answer requests, or gather the evidence that they need."""
        now_us = self._now().monotonic_us
        waits: list[int] = []
        for pending, reply in answers:
            if isinstance(reply, NeedsHolder | NeedsEntries):
                self._evidence.gather(pending, reply)
                continue
            if isinstance(reply, Refused) and pending.handed:  # what is open may still be served
                self._room.fail([pending], OutcomeUnknown(f"refused since: {reply.why}"))
                continue
            if pending.reply.cancelled():
                self._unheard.add(pending.ask.request, reply)
            self._room.settle(pending, reply)
            waits.append(now_us - pending.ask.request.call.arrived_us)
        if waits:
            self._times.answered(waits)

    def _enqueue(self, pending: Pending) -> None:
        if pending in self._room:  # it may have been given up while evidence was gathered
            self._room.enqueue(pending)
            self._somebody_came()

    def _somebody_came(self) -> None:
        self._expected.came()
        self._work.set()

    def _put_back(self, batch: list[Pending]) -> None:
        self._room.put_back(batch)
        more = self._room.has_queue or self._committer.guests or self.trouble or self._probes
        if not more:
            self._work.clear()

    def _in_doubt(self, doubt: Unknown) -> None:
        self._trouble.doubt(doubt, asyncio.get_running_loop().time())
        self._refuse_who_waits()

    def _refuse_who_waits(self) -> None:
        """Let nobody wait for what a person must end."""
        if self._trouble.needs_person:
            self._room.refuse_all(StoreDown(self._trouble.why))
